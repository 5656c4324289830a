import { describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../src/btf/builder.ts";
import { createTypeCopier, mergeBtf } from "../../src/btf/copy.ts";
import { decodeBtf } from "../../src/btf/decode.ts";
import { getType } from "../../src/btf/lookup.ts";
import { printC } from "../../src/btf/print-c.ts";
import { allTypes, basics, decoded, everyKind } from "./fixtures.ts";

/** Every type as C says the same, whatever the ids. */
function asC(b: Parameters<typeof printC>[0], ids: number[]): string {
  return printC(b, ids);
}

describe("mergeBtf", () => {
  test("copies every type, cycles included", () => {
    const source = decoded(everyKind());
    const b = createBtfBuilder();
    const ids = mergeBtf(b, source);
    expect(ids).toHaveLength(source.typeCount);
    const sourceIds = source
      .ids("item")
      .concat(source.ids("item_ptr"), source.ids("main"), source.ids("big"));
    expect(
      asC(
        b,
        sourceIds.map((id) => ids[id] ?? -1),
      ),
    ).toBe(asC(source, sourceIds));
    expect(b.typeCount).toBe(source.typeCount);
  });

  test("adds nothing that is there already, but for structs in a cycle", () => {
    const source = decoded(basics().b);
    const b = createBtfBuilder();
    mergeBtf(b, source);
    const count = b.typeCount;
    mergeBtf(b, source);
    expect(b.typeCount).toBe(count);
  });

  test("ids of two sources end up in one", () => {
    const first = basics();
    const second = basics();
    first.b.typedef("a", first.u32);
    second.b.typedef("b", second.u32);
    const b = createBtfBuilder();
    mergeBtf(b, first.b);
    mergeBtf(b, second.b);
    const merged = decoded(b);
    expect(merged.ids("unsigned int")).toHaveLength(1);
    const target = merged.ids("unsigned int")[0];
    expect([getType(merged, "typedef", "a").type.type, getType(merged, "typedef", "b").type.type]).toEqual([
      target,
      target,
    ]);
  });

  test("a cycle without a struct, which no compiler makes", () => {
    const source = createBtfBuilder();
    const id = source.reserve();
    source.define(id, { kind: "ptr", type: source.const(id) });
    const b = createBtfBuilder();
    mergeBtf(b, source);
    expect(allTypes(b)).toEqual([{ kind: "void" }, { kind: "ptr", type: 2 }, { kind: "const", type: 1 }]);
  });
});

describe("createTypeCopier", () => {
  test("takes what a type needs, and no more", () => {
    const source = decoded(everyKind());
    const b = createBtfBuilder();
    const copy = createTypeCopier(source, b);
    const item = getType(source, "struct", "item").id;
    const id = copy(item);
    expect(printC(b, id)).toBe(printC(source, item));
    const names = allTypes(b).map((type) => (type as { name?: string }).name);
    expect(names).toContain("color");
    expect(names).not.toContain("main");
    expect(copy(item)).toBe(id);
    expect(copy(0)).toBe(0);
  });

  test("keeps id and content through encode and decode", () => {
    const source = decoded(everyKind());
    const b = createBtfBuilder();
    const id = createTypeCopier(source, b)(getType(source, "struct", "list_head").id);
    expect(decodeBtf(b.encode()).type(id)).toEqual(b.type(id));
  });

  test("declares what is only pointed to", () => {
    const { b: source, u32 } = basics();
    const far = source.struct("far", 4, [{ name: "x", type: u32, bitOffset: 0 }]);
    const both = source.struct("both", 4, [{ name: "y", type: u32, bitOffset: 0 }]);
    const anonymous = source.struct("", 4, [{ name: "z", type: u32, bitOffset: 0 }]);
    const alias = source.typedef("far_t", source.const(far));
    const top = source.struct("top", 36, [
      { name: "far", type: source.ptr(alias), bitOffset: 0 },
      { name: "both", type: source.ptr(source.const(both)), bitOffset: 64 },
      { name: "value", type: source.const(both), bitOffset: 128 },
      { name: "anonymous", type: source.ptr(anonymous), bitOffset: 192 },
    ]);
    const b = createBtfBuilder();
    const copy = createTypeCopier(source, b, { pointedTo: "declare" });
    const copied = decoded(b);
    expect(copied.typeCount).toBe(1);
    copy(top);
    const after = decoded(b);
    expect(after.ids("far").map((id) => after.kind(id))).toEqual(["fwd"]);
    expect(after.ids("both").map((id) => after.kind(id))).toEqual(["struct"]);
    expect(printC(after, getType(after, "struct", "top").id)).toContain("unsigned int z;");
    // The struct itself, when asked for later, is not the declaration, nor is what leads to it.
    const value = copy(alias);
    expect(printC(b, value)).toContain("struct far {\n\tunsigned int x;\n};");
  });
});
