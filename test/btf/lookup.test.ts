import { describe, expect, test } from "vitest";
import type { BtfBuilder } from "../../src/btf/builder.ts";
import { typeName } from "../../src/btf/c-declarator.ts";
import { BtfError } from "../../src/btf/error.ts";
import {
  alignOf,
  type Bitfield,
  enumValues,
  findType,
  flatMembers,
  funcProto,
  getType,
  kernelStruct,
  resolve,
  sizeOf,
  skipQualifiers,
  structInfo,
} from "../../src/btf/lookup.ts";
import type { BtfInt } from "../../src/btf/type.ts";
import { type Basics, basics, decoded, everyKind } from "./fixtures.ts";

describe("by name and kind", () => {
  const btf = decoded(everyKind());

  test("what is there", () => {
    expect(findType(btf, "struct", "item")?.type.size).toBe(40);
    expect(getType(btf, "func", "main").type.linkage).toBe("global");
    expect(findType(btf, "union", "item")).toBeUndefined();
  });

  test("what is not there", () => {
    expect(() => getType(btf, "struct", "itm")).toThrow(/^BTF has no struct 'itm'$/);
    expect(() => getType(btf, "union", "item")).toThrow(
      "BTF has no union 'item'\n  The name is there as struct.",
    );
    expect(() => kernelStruct(btf, "color")).toThrow(
      "BTF has no struct 'color'\n  The name is there as enum.",
    );
  });
});

describe("chains", () => {
  const { b, u32 } = basics();
  const inner = b.const(b.typedef("inner", b.volatile(u32)));
  const outer = b.typeTag("user", b.const(inner));

  test("qualifiers are taken off, and typedefs too", () => {
    expect(b.type(skipQualifiers(b, outer))).toMatchObject({ kind: "typedef", name: "inner" });
    expect(resolve(b, outer)).toBe(u32);
    expect(resolve(b, 0)).toBe(0);
  });

  test("a loop is found", () => {
    const { b } = basics();
    const id = b.reserve();
    b.define(id, { kind: "typedef", name: "self", type: b.const(id) });
    expect(() => resolve(b, id)).toThrow(`type ${id} is a chain of more than 64 typedefs and qualifiers`);
    expect(() => sizeOf(b, id)).toThrow(BtfError);
  });
});

describe("size and alignment", () => {
  const rows: readonly (readonly [what: string, (t: Basics) => number, size: number, align: number])[] = [
    ["char", ({ char }) => char, 1, 1],
    ["int", ({ int }) => int, 4, 4],
    ["u64", ({ u64 }) => u64, 8, 8],
    ["__int128", ({ b }) => b.int("__int128", 16, "signed"), 16, 16],
    ["pointer", ({ b }) => b.ptr(), 8, 8],
    ["array", ({ b, u16 }) => b.array(u16, 5), 10, 2],
    ["array of arrays", ({ b, u16 }) => b.array(b.array(u16, 5), 3), 30, 2],
    ["flexible array", ({ b, u64 }) => b.array(u64, 0), 0, 8],
    ["enum", ({ b }) => b.enum("e", { A: 1 }), 4, 4],
    ["small enum", ({ b }) => b.enum("e", { A: 1 }, { size: 1 }), 1, 1],
    ["enum64", ({ b }) => b.enum64("e", { A: 1n }), 8, 8],
    ["double", ({ b }) => b.float("double", 8), 8, 8],
    ["typedef of const", ({ b, u64 }) => b.typedef("t", b.const(u64)), 8, 8],
    ["var", ({ b, u16 }) => b.var("v", u16), 2, 2],
    [
      "struct",
      ({ b, u8, u32 }) =>
        b.struct("s", 8, [
          { name: "a", type: u8, bitOffset: 0 },
          { name: "b", type: u32, bitOffset: 32 },
        ]),
      8,
      4,
    ],
    [
      "struct packed by an offset",
      ({ b, u8, u32 }) =>
        b.struct("s", 8, [
          { name: "a", type: u8, bitOffset: 0 },
          { name: "b", type: u32, bitOffset: 8 },
        ]),
      8,
      1,
    ],
    [
      "struct packed by its size",
      ({ b, u8, u32 }) =>
        b.struct("s", 5, [
          { name: "a", type: u32, bitOffset: 0 },
          { name: "b", type: u8, bitOffset: 32 },
        ]),
      5,
      1,
    ],
    [
      "union",
      ({ b, u8, u16 }) =>
        b.union("u", 2, [
          { name: "a", type: u16, bitOffset: 0 },
          { name: "b", type: u8, bitOffset: 0 },
        ]),
      2,
      2,
    ],
  ];
  test.each(rows)("%s", (_, make, size, align) => {
    const t = basics();
    const id = make(t);
    expect(sizeOf(t.b, id)).toBe(size);
    expect(alignOf(t.b, id)).toBe(align);
  });

  test("a pointer is as large as the machine's", () => {
    const { b } = basics({ pointerSize: 4 });
    expect(sizeOf(b, b.array(b.ptr(), 3))).toBe(12);
  });

  test("some things have none", () => {
    const { b } = basics();
    expect(() => sizeOf(b, 0)).toThrow("void has no size");
    expect(() => sizeOf(b, b.fwd("hidden", "struct"))).toThrow("struct hidden has no size");
    expect(() => sizeOf(b, b.funcProto(0))).toThrow("void (void) has no size");
    expect(() => alignOf(b, b.fwd("hidden", "struct"))).toThrow("struct hidden has no alignment");
  });

  test("a struct that contains itself has none either", () => {
    const { b } = basics();
    const id = b.struct("ouroboros", 8, (self) => [{ name: "tail", type: self, bitOffset: 0 }]);
    expect(() => alignOf(b, id)).toThrow("struct ouroboros is nested deeper than 64");
    const array = b.reserve();
    b.define(array, { kind: "array", type: array, indexType: 1, length: 2 });
    expect(() => sizeOf(b, array)).toThrow(BtfError);
  });
});

function packet(): { b: BtfBuilder; id: number } {
  const { b, u8, u16, u32, int, char } = basics();
  const address = b.struct("address", 8, [
    { name: "host", type: u32, bitOffset: 0 },
    { name: "port", type: u16, bitOffset: 32 },
  ]);
  const flags = b.struct("", 4, [
    { name: "urgent", type: u32, bitOffset: 0, bitfieldSize: 1 },
    { name: "level", type: int, bitOffset: 1, bitfieldSize: 7 },
    { name: "wide", type: u32, bitOffset: 8, bitfieldSize: 20 },
  ]);
  const either = b.union("", 4, [
    { name: "raw", type: u32, bitOffset: 0 },
    { name: "", type: flags, bitOffset: 0 },
  ]);
  const id = b.struct("packet", 56, [
    { name: "length", type: u8, bitOffset: 0 },
    { name: "", type: either, bitOffset: 32 },
    { name: "ends", type: b.typedef("ends_t", b.array(b.const(address), 2)), bitOffset: 64 },
    { name: "next", type: b.ptr(address), bitOffset: 192 },
    { name: "name", type: b.array(char, 16), bitOffset: 256 },
    { name: "rest", type: b.array(address, 0), bitOffset: 448 },
  ]);
  return { b, id };
}

describe("fields of a struct", () => {
  const { b, id } = packet();
  const info = structInfo(b, id);

  test("anonymous members are seen through", () => {
    expect(info.names).toEqual(["length", "raw", "urgent", "level", "wide", "ends", "next", "name", "rest"]);
    expect(flatMembers(b, id).map(({ name, bitOffset }) => `${name}@${bitOffset}`)).toEqual([
      "length@0",
      "raw@32",
      "urgent@32",
      "level@33",
      "wide@40",
      "ends@64",
      "next@192",
      "name@256",
      "rest@448",
    ]);
  });

  type FieldRow = readonly [path: string, offset: number, size: number, bitfield: Bitfield | undefined];
  const rows: readonly FieldRow[] = [
    ["length", 0, 1, undefined],
    ["raw", 4, 4, undefined],
    ["urgent", 4, 4, { shift: 0, width: 1, signed: false }],
    ["level", 4, 4, { shift: 1, width: 7, signed: true }],
    ["wide", 4, 4, { shift: 8, width: 20, signed: false }],
    ["ends", 8, 16, undefined],
    ["ends[1]", 16, 8, undefined],
    ["ends[1].port", 20, 2, undefined],
    ["name[15]", 47, 1, undefined],
    ["rest", 56, 0, undefined],
    ["rest[3].host", 80, 4, undefined],
  ];
  test.each(rows)("%s", (path, offset, size, bitfield) => {
    const { type, ...field } = info.field(path);
    expect(field).toEqual({ path, offset, size, ...(bitfield && { bitfield }) });
    expect(info.has(path)).toBe(true);
  });

  const wrong: readonly (readonly [path: string, message: string])[] = [
    ["lenght", "struct packet has no field 'lenght'\n  Did you mean 'length'?"],
    ["zzzzzzz", "struct packet has no field 'zzzzzzz'"],
    [
      "ends[0].prt",
      "struct packet has no field 'ends[0].prt': const struct address has no 'prt'\n  Did you mean 'port'?",
    ],
    ["ends[2]", "struct packet has no field 'ends[2]': ends has 2 elements"],
    ["ends.port", "struct packet has no field 'ends.port': ends is no struct but ends_t"],
    ["length[0]", "struct packet has no field 'length[0]': length is no array but unsigned char"],
    [
      "next.port",
      "struct packet has no field 'next.port': next is a pointer (struct address *): look into what it points to",
    ],
    ["", "'' is no path to a field: write a.b[2].c"],
    ["ends[", "'ends[' is no path to a field"],
    ["ends.[0]", "'ends.[0]' is no path to a field"],
    ["a..b", "'a..b' is no path to a field"],
  ];
  test.each(wrong)("%s is not there", (path, message) => {
    expect(() => info.field(path)).toThrow(message);
    expect(() => info.field(path)).toThrow(BtfError);
    expect(info.has(path)).toBe(false);
  });

  test("on a big-endian machine bits count from the other end", () => {
    const { b, u8 } = basics({ byteOrder: "big" });
    const id = b.struct("iphdr", 1, [
      { name: "version", type: u8, bitOffset: 0, bitfieldSize: 4 },
      { name: "ihl", type: u8, bitOffset: 4, bitfieldSize: 4 },
    ]);
    const info = structInfo(b, id);
    expect(info.field("version").bitfield).toEqual({ shift: 4, width: 4, signed: false });
    expect(info.field("ihl").bitfield).toEqual({ shift: 0, width: 4, signed: false });
  });

  test("a bitfield that straddles its type needs a larger load", () => {
    const { b, u16 } = basics();
    const id = b.struct("s", 4, [
      { name: "a", type: u16, bitOffset: 0, bitfieldSize: 12 },
      { name: "b", type: u16, bitOffset: 12, bitfieldSize: 10 },
    ]);
    expect(structInfo(b, id).field("b")).toMatchObject({
      offset: 0,
      size: 4,
      bitfield: { shift: 12, width: 10 },
    });
  });

  test("a bitfield as compilers before 2019 wrote it", () => {
    const { b } = basics();
    const bits = b.int("unsigned int", 4, "unsigned", { bits: 3 });
    const id = b.struct("s", 8, [{ name: "a", type: bits, bitOffset: 37 }]);
    expect(structInfo(b, id).field("a")).toMatchObject({
      offset: 4,
      size: 4,
      bitfield: { shift: 5, width: 3 },
    });
  });

  test("bytes that no compiler wrote", () => {
    const { b, u32, u64 } = basics();
    const odd = b.struct("odd", 8, [{ name: "a", type: u32, bitOffset: 3 }]);
    expect(() => structInfo(b, odd).field("a")).toThrow("field 'a' starts at bit 3 and is no bitfield");
    const big = b.struct("big", 16, [{ name: "a", type: b.array(u64, 3), bitOffset: 1, bitfieldSize: 3 }]);
    expect(() => structInfo(b, big).field("a")).toThrow(
      "bitfield 'a' is declared as long long unsigned int[3]",
    );
    const endless = b.union("", 0, (self) => [
      { name: "", type: self, bitOffset: 0 },
      { name: "", type: self, bitOffset: 0 },
    ]);
    expect(() => flatMembers(b, endless)).toThrow("nests anonymous structs without end");
    expect(() => structInfo(b, u32)).toThrow("unsigned int is no struct or union");
  });
});

test("a struct by the name of its typedef", () => {
  const { b, u32 } = basics();
  b.typedef("pair_t", b.struct("", 4, [{ name: "a", type: u32, bitOffset: 0 }]));
  expect(kernelStruct(decoded(b), "pair_t").field("a").size).toBe(4);
});

describe("enums", () => {
  const btf = decoded(everyKind());

  test("values by name", () => {
    expect([...enumValues(btf, "color")]).toEqual([
      ["RED", 0],
      ["GREEN", 1],
      ["NONE", -1],
    ]);
    expect([...enumValues(btf, "big")]).toEqual([["HUGE", 0xffff_ffff_ffff_ffffn]]);
  });

  test("what is no enum", () => {
    expect(() => enumValues(btf, "item")).toThrow("BTF has no enum 'item'");
  });
});

describe("functions", () => {
  const btf = decoded(everyKind());

  test("the prototype by the function's name", () => {
    const { type } = funcProto(btf, "main");
    expect(type).toMatchObject({ kind: "funcProto", params: [{ name: "ctx" }], variadic: true });
  });

  test("what is no function", () => {
    expect(() => funcProto(btf, "item")).toThrow("BTF has no func 'item'\n  The name is there as struct.");
    const { b, u32 } = basics();
    const proto = b.reserve();
    b.func("odd", proto);
    b.define(proto, b.type(u32) as BtfInt);
    expect(() => funcProto(decoded(b), "odd")).toThrow("BTF func 'odd' has a int for a prototype");
  });
});

describe("the name of a type in C", () => {
  const rows: readonly (readonly [(t: Basics) => number, string])[] = [
    [() => 0, "void"],
    [({ b }) => b.ptr(), "void *"],
    [({ b, u32 }) => b.array(u32, 4), "unsigned int[4]"],
    [({ b, char }) => b.ptr(b.const(char)), "const char *"],
    [({ b, char }) => b.const(b.ptr(char)), "char *const"],
    [({ b, char }) => b.const(b.ptr(b.const(b.ptr(b.const(char))))), "const char *const *const"],
    [({ b, char }) => b.array(b.ptr(char), 2), "char *[2]"],
    [({ b, char }) => b.ptr(b.array(char, 2)), "char (*)[2]"],
    [({ b, char }) => b.array(b.array(char, 3), 2), "char[2][3]"],
    [({ b, int }) => b.ptr(b.funcProto(int, [{ name: "a", type: b.ptr() }])), "int (*)(void *a)"],
    [({ b }) => b.ptr(b.funcProto(0)), "void (*)(void)"],
    [
      ({ b, int, char }) =>
        b.ptr(b.funcProto(b.ptr(b.funcProto(int)), [{ name: "", type: char }], { variadic: true })),
      "int (*(*)(char, ...))(void)",
    ],
    [({ b, int }) => b.array(b.ptr(b.funcProto(int)), 3), "int (*[3])(void)"],
    [({ b }) => b.ptr(b.fwd("sock", "struct")), "struct sock *"],
    [({ b }) => b.struct("", 0, []), "struct {...}"],
    [({ b }) => b.enum64("big", {}), "enum big"],
    [({ b, u32 }) => b.typedef("u32", u32), "u32"],
    [({ b, u32 }) => b.ptr(b.typeTag("user", u32)), "unsigned int *"],
    [({ b, char }) => b.restrict(b.ptr(char)), "char *__restrict"],
    [({ b, char }) => b.volatile(char), "volatile char"],
  ];
  test.each(rows)("%#", (make, name) => {
    const t = basics();
    expect(typeName(t.b, make(t))).toBe(name);
  });
});
