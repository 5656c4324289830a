import { describe, expect, test } from "vitest";
import { type BtfBuilder, createBtfBuilder } from "../../src/btf/builder.ts";
import { decodeBtf } from "../../src/btf/decode.ts";
import { BtfError } from "../../src/btf/error.ts";
import { allTypes, basics, decoded, everyKind } from "./fixtures.ts";

describe("the same type twice is one", () => {
  test("every kind", () => {
    const b = everyKind();
    const count = b.typeCount;
    for (const type of allTypes(b).slice(1)) b.add(type as Parameters<BtfBuilder["add"]>[0]);
    expect(b.typeCount).toBe(count);
  });

  test("types that differ in one thing are two", () => {
    const { b, u32 } = basics();
    const ids = [
      b.int("long", 8),
      b.int("long", 8, "signed"),
      b.int("long", 4),
      b.ptr(u32),
      b.const(u32),
      b.volatile(u32),
      b.typedef("a", u32),
      b.typedef("b", u32),
      b.func("f", b.funcProto(0)),
      b.func("f", b.funcProto(0), "global"),
      b.fwd("s", "struct"),
      b.fwd("s", "union"),
      b.declTag("t", u32),
      b.declTag("t", u32, 0),
      b.enum("e", { A: 1 }),
      b.enum("e", { A: 1 }, { size: 1 }),
      b.enum("e", { A: 1 }, { signed: true }),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("strings", () => {
    const { b, u32 } = basics();
    b.typedef("name", u32);
    b.struct("name", 4, [{ name: "name", type: u32, bitOffset: 0 }]);
    const text = new TextDecoder().decode(b.encode());
    expect(text.split("\0").filter((part) => part === "name")).toHaveLength(1);
    expect(b.string("name")).toBe(b.string("name"));
  });

  test("a struct that points to itself", () => {
    const { b, u32 } = basics();
    const node = (name: string, field: string): number =>
      b.struct(name, 16, (self) => [
        { name: "next", type: b.ptr(self), bitOffset: 0 },
        { name: field, type: u32, bitOffset: 64 },
      ]);
    const first = node("node", "value");
    const count = b.typeCount;
    expect(node("node", "value")).toBe(first);
    expect(b.typeCount).toBe(count);
    const other = node("node", "weight");
    expect(other).not.toBe(first);
    expect(node("node", "weight")).toBe(other);
    expect(node("node", "value")).toBe(first);
    const members = b.type(other);
    expect(members).toMatchObject({ members: [{ type: b.ptr(other) }, { name: "weight" }] });
  });

  test("two structs that point to each other", () => {
    const { b } = basics();
    const build = (): number =>
      b.struct("a", 8, (a) => [
        {
          name: "b",
          type: b.ptr(b.struct("b", 8, [{ name: "a", type: b.ptr(a), bitOffset: 0 }])),
          bitOffset: 0,
        },
      ]);
    const a = build();
    const count = b.typeCount;
    expect(build()).toBe(a);
    expect(b.typeCount).toBe(count);
  });
});

describe("reserve and define", () => {
  test("give a type its id in advance", () => {
    const { b, u32 } = basics();
    const id = b.reserve();
    const pointer = b.ptr(id);
    b.define(id, { kind: "typedef", name: "later", type: u32 });
    expect(decoded(b).type(pointer)).toEqual({ kind: "ptr", type: id });
    expect(decoded(b).type(id)).toEqual({ kind: "typedef", name: "later", type: u32 });
  });

  test("an id that was reserved and never defined does not encode", () => {
    const { b } = basics();
    const id = b.reserve();
    expect(() => b.encode()).toThrow(`type ${id} is reserved but was never defined`);
    expect(() => b.type(id)).toThrow(`type ${id} is reserved and not defined yet`);
  });

  test("an id is defined once", () => {
    const { b, u32 } = basics();
    expect(() => b.define(u32, { kind: "ptr", type: 0 })).toThrow(
      `type ${u32} is not reserved, or defined already`,
    );
  });
});

test("what was given cannot be changed afterwards", () => {
  const { b, u32 } = basics();
  const params = [{ name: "a", type: u32 }];
  const id = b.funcProto(u32, params);
  params.push({ name: "b", type: u32 });
  expect(b.type(id)).toMatchObject({ params: [{ name: "a", type: u32 }] });
  expect(() => (b.type(id) as { type: number }).type++).toThrow(TypeError);
});

test("void is id 0", () => {
  const b = createBtfBuilder();
  expect(b.type(0)).toEqual({ kind: "void" });
  expect(b.type(b.ptr())).toEqual({ kind: "ptr", type: 0 });
});

describe("split BTF", () => {
  test("goes on where its base ends", () => {
    const base = decoded(everyKind());
    const b = createBtfBuilder({ base });
    const int = base.ids("int")[0] ?? 0;
    const id = b.typedef("module_int", int);
    expect(id).toBe(base.typeCount);
    const split = decodeBtf(b.encode(), { base });
    expect(split.type(id)).toEqual({ kind: "typedef", name: "module_int", type: int });
    expect(split.type(int)).toEqual(base.type(int));
    expect(b.type(int)).toEqual(base.type(int));
    expect(split.ids("module_int")).toEqual([id]);
    expect(split.ids("int")).toEqual([int]);
    expect(split.name(int)).toBe("int");
    expect(() => decodeBtf(b.encode()).type(1)).toThrow(BtfError);
  });
});

describe("what no kernel would load is refused", () => {
  const rows: readonly (readonly [(b: BtfBuilder, u32: number) => unknown, string])[] = [
    [(b) => b.int("", 4), "BTF int: an int needs a name"],
    [(b) => b.int("int", 3), "BTF int 'int': size 3 is none of 1, 2, 4, 8, 16"],
    [
      (b) => b.int("int", 4, "signed", { bits: 30, bitOffset: 4 }),
      "30 bits from bit 4 on do not fit 4 bytes",
    ],
    [(b) => b.ptr(99), "BTF ptr: type 99 does not exist"],
    [(b) => b.ptr(-1), "BTF ptr: type -1 does not exist"],
    [(b) => b.array(0, 4), "BTF array: element type cannot be void"],
    [(b, u32) => b.typedef("", u32), `BTF typedef: name "" is no identifier`],
    [(b, u32) => b.typedef("a b", u32), `BTF typedef 'a b': name "a b" is no identifier`],
    [(b, u32) => b.typedef("a\0b", u32), "is no identifier"],
    [(b, u32) => b.typedef("x".repeat(512), u32), "is no identifier"],
    [
      (b, u32) =>
        b.struct("s", 8, [
          { name: "b", type: u32, bitOffset: 32 },
          { name: "a", type: u32, bitOffset: 0 },
        ]),
      "BTF struct 's': member 'a' at bit 0 comes after one at bit 32",
    ],
    [
      (b, u32) => b.struct("s", 4, [{ name: "a", type: u32, bitOffset: 64 }]),
      "BTF struct 's': member 'a' at bit 64 is beyond 4 bytes",
    ],
    [
      (b) => b.struct("s", 4, [{ name: "a", type: 0, bitOffset: 0 }]),
      "BTF struct 's': type of member 'a' cannot be void",
    ],
    [
      (b, u32) => b.union("u", 8, [{ name: "a", type: u32, bitOffset: 32 }]),
      "BTF union 'u': member 'a' is at bit 32, not 0",
    ],
    [(b) => b.enum("e", { "1A": 1 }), `BTF enum 'e': value name "1A" is no identifier`],
    [(b) => b.enum("e", { A: 1 }, { size: 3 }), "BTF enum 'e': size 3 is none of 1, 2, 4, 8"],
    [(b) => b.fwd("", "struct"), `BTF fwd: name "" is no identifier`],
    [(b) => b.func("f", 0), "BTF func 'f': prototype cannot be void"],
    [(b, u32) => b.func("f", u32), "BTF func 'f': its type 5 is a int, not a prototype"],
    [
      (b, u32) => b.func("f", b.funcProto(0, [{ name: "", type: u32 }])),
      "BTF func 'f': parameter 0 has no name",
    ],
    [
      (b, u32) => b.const(b.typeTag("user", u32)),
      "BTF const: type tags stand before qualifiers and typedefs, right behind the pointer",
    ],
    [(b) => b.funcProto(0, [{ name: "a", type: 0 }]), "BTF funcProto: type of parameter 'a' cannot be void"],
    [(b) => b.var("v", 0), "BTF var 'v': type cannot be void"],
    [(b) => b.datasec(".bss", 0, []), "BTF datasec '.bss': size 0"],
    [
      (b, u32) =>
        b.datasec(".bss", 8, [
          { type: b.var("a", u32), offset: 0, size: 4 },
          { type: b.var("b", u32), offset: 2, size: 4 },
        ]),
      "at 2 overlaps the one before it, which ends at 4",
    ],
    [
      (b, u32) => b.datasec(".bss", 8, [{ type: b.var("a", u32), offset: 6, size: 4 }]),
      "ends at 10, beyond 8 bytes",
    ],
    [(b, u32) => b.datasec(".bss", 8, [{ type: b.var("a", u32), offset: 6, size: 0 }]), "has size 0"],
    [(b) => b.float("half", 3), "BTF float 'half': size 3 is none of 2, 4, 8, 12, 16"],
    [(b, u32) => b.declTag("", u32), "BTF declTag: a tag needs a value"],
    [(b, u32) => b.declTag("t", u32, -2), "BTF declTag 't': component -2 is neither an index nor -1"],
    [(b, u32) => b.typeTag("", u32), "BTF typeTag: a tag needs a value"],
    [(b) => b.string("a\0b"), `BTF string "a\\u0000b" has a NUL in it`],
  ];
  test.each(rows)("%#", (build, message) => {
    const { b, u32 } = basics();
    const count = b.typeCount;
    expect(() => build(b, u32)).toThrow(message);
    expect(() => build(b, u32)).toThrow(BtfError);
    // A refused type leaves nothing behind but what was made for it.
    expect(() => b.encode()).not.toThrow();
    expect(b.typeCount).toBeLessThanOrEqual(count + 2);
  });
});
