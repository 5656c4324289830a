import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { generatedHelpersPath, generateHelpers } from "../../scripts/generate-lang-helpers.ts";
import { helperShapes } from "../../src/lang/generated/helper-shapes.ts";
import { helpers } from "../../src/uapi/helpers.ts";

const shapes = Object.values(helperShapes);

describe("src/lang/generated is what the script generates", () => {
  const files = generateHelpers();

  test.each([...files.keys()])("%s", (path) => {
    expect(readFileSync(generatedHelpersPath(path), "utf8")).toBe(files.get(path));
  });
});

describe("the table of helpers", () => {
  test("has each helper once, in the kernel's order", () => {
    expect(shapes.map(({ helper }) => helper)).toEqual(helpers.filter((helper) => helper !== undefined));
  });

  test("has as many parameters as the prototype, and no more than registers", () => {
    for (const { helper, params, variadic } of shapes) {
      const inside = helper.signature.slice(helper.signature.indexOf("(") + 1, -1);
      const count = inside === "void" ? 0 : inside.split(",").length - (variadic ? 1 : 0);
      expect(params.length, helper.name).toBe(count);
      expect(params.length, helper.name).toBeLessThanOrEqual(5);
    }
  });

  test("has the context in r1 only", () => {
    for (const { helper, params } of shapes) {
      const at = params.findIndex(({ kind }) => kind === "ctx");
      expect([-1, 0], helper.name).toContain(at);
    }
  });

  test("gives memory a size that is a number there", () => {
    for (const { helper, params } of shapes) {
      for (const param of params) {
        if (param.kind !== "memory" || typeof param.size !== "object") continue;
        expect(params[param.size.param]?.kind, `${helper.name}.${param.name}`).toBe("scalar");
      }
    }
  });

  test("leaves out no call that does something", () => {
    for (const { helper, params, movesPacket, removable, pure, writes } of shapes) {
      if (pure) expect(removable, helper.name).toBe(true);
      if (!removable) continue;
      expect(movesPacket, helper.name).toBe(false);
      expect(writes, helper.name).toEqual([]);
      const writesMemory = params.some((param) => param.kind === "memory" && param.access !== "read");
      expect(writesMemory, helper.name).toBe(false);
    }
  });

  test("some entries", () => {
    expect(helperShapes.bpf_redirect_map).toMatchObject({
      params: [
        { kind: "map", name: "map", types: ["devmap", "devmap_hash", "cpumap", "xskmap"] },
        { kind: "scalar", name: "key", scalar: "u64" },
        { kind: "scalar", name: "flags", scalar: "u64" },
      ],
      result: { kind: "scalar", scalar: "s64" },
      reads: [],
      writes: [],
      removable: false,
    });
    expect(helperShapes.bpf_skb_load_bytes.params).toEqual([
      { kind: "ctx", name: "skb", or: undefined },
      { kind: "scalar", name: "offset", scalar: "u32" },
      { kind: "memory", name: "to", access: "write", size: { param: 3 }, nullable: false },
      { kind: "scalar", name: "len", scalar: "u32" },
    ]);
    expect(helperShapes.bpf_xdp_adjust_head).toMatchObject({ movesPacket: true, writes: ["ctx", "packet"] });
    expect(helperShapes.bpf_sk_lookup_tcp.result).toEqual({
      kind: "pointer",
      tag: "bpf_sock",
      nullable: true,
    });
    expect(helperShapes.bpf_trace_printk.variadic).toBe(true);
  });
});
