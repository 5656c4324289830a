import { describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../src/btf/builder.ts";
import { encodeType } from "../../src/btf/encode.ts";
import type { BtfType } from "../../src/btf/type.ts";

// Strings get offsets 1, 2, 3, ... in order of appearance, so that they stand out in the words below.
function words(type: BtfType): string {
  const seen: string[] = [""];
  const offset = (text: string): number => {
    if (!seen.includes(text)) seen.push(text);
    return seen.indexOf(text);
  };
  return encodeType(type, offset)
    .map((word) => word.toString(16).padStart(8, "0"))
    .join(" ");
}

// Source: include/uapi/linux/btf.h. info = kind_flag << 31 | kind << 24 | vlen.
const ROWS: readonly (readonly [what: string, type: BtfType, words: string])[] = [
  [
    "unsigned int",
    { kind: "int", name: "u", size: 4, encoding: "unsigned", bits: 32, bitOffset: 0 },
    "00000001 01000000 00000004 00000020",
  ],
  [
    "signed int",
    { kind: "int", name: "i", size: 4, encoding: "signed", bits: 32, bitOffset: 0 },
    "00000001 01000000 00000004 01000020",
  ],
  [
    "char",
    { kind: "int", name: "c", size: 1, encoding: "char", bits: 8, bitOffset: 0 },
    "00000001 01000000 00000001 02000008",
  ],
  [
    "bool",
    { kind: "int", name: "b", size: 1, encoding: "bool", bits: 8, bitOffset: 0 },
    "00000001 01000000 00000001 04000008",
  ],
  [
    "an old compiler's bitfield",
    { kind: "int", name: "f", size: 4, encoding: "unsigned", bits: 3, bitOffset: 5 },
    "00000001 01000000 00000004 00050003",
  ],
  ["ptr", { kind: "ptr", type: 7 }, "00000000 02000000 00000007"],
  [
    "array",
    { kind: "array", type: 7, indexType: 8, length: 16 },
    "00000000 03000000 00000000 00000007 00000008 00000010",
  ],
  [
    "struct",
    {
      kind: "struct",
      name: "s",
      size: 8,
      members: [
        { name: "a", type: 7, bitOffset: 0, bitfieldSize: 0 },
        { name: "b", type: 8, bitOffset: 32, bitfieldSize: 0 },
      ],
    },
    "00000001 04000002 00000008 00000002 00000007 00000000 00000003 00000008 00000020",
  ],
  [
    "struct with a bitfield",
    {
      kind: "struct",
      name: "s",
      size: 8,
      members: [
        { name: "a", type: 7, bitOffset: 0, bitfieldSize: 0 },
        { name: "b", type: 8, bitOffset: 33, bitfieldSize: 5 },
      ],
    },
    "00000001 84000002 00000008 00000002 00000007 00000000 00000003 00000008 05000021",
  ],
  [
    "anonymous union",
    {
      kind: "union",
      name: "",
      size: 4,
      members: [{ name: "a", type: 7, bitOffset: 0, bitfieldSize: 0 }],
    },
    "00000000 05000001 00000004 00000001 00000007 00000000",
  ],
  [
    "unsigned enum",
    { kind: "enum", name: "e", size: 4, signed: false, values: [{ name: "A", value: 0xffff_ffff }] },
    "00000001 06000001 00000004 00000002 ffffffff",
  ],
  [
    "signed enum",
    { kind: "enum", name: "e", size: 4, signed: true, values: [{ name: "A", value: -2 }] },
    "00000001 86000001 00000004 00000002 fffffffe",
  ],
  ["fwd of a struct", { kind: "fwd", name: "s", of: "struct" }, "00000001 07000000 00000000"],
  ["fwd of a union", { kind: "fwd", name: "u", of: "union" }, "00000001 87000000 00000000"],
  ["typedef", { kind: "typedef", name: "t", type: 7 }, "00000001 08000000 00000007"],
  ["volatile", { kind: "volatile", type: 7 }, "00000000 09000000 00000007"],
  ["const", { kind: "const", type: 7 }, "00000000 0a000000 00000007"],
  ["restrict", { kind: "restrict", type: 7 }, "00000000 0b000000 00000007"],
  ["static func", { kind: "func", name: "f", type: 7, linkage: "static" }, "00000001 0c000000 00000007"],
  ["global func", { kind: "func", name: "f", type: 7, linkage: "global" }, "00000001 0c000001 00000007"],
  ["extern func", { kind: "func", name: "f", type: 7, linkage: "extern" }, "00000001 0c000002 00000007"],
  [
    "func_proto",
    { kind: "funcProto", type: 7, params: [{ name: "a", type: 8 }], variadic: false },
    "00000000 0d000001 00000007 00000001 00000008",
  ],
  [
    "variadic func_proto",
    { kind: "funcProto", type: 0, params: [{ name: "a", type: 8 }], variadic: true },
    "00000000 0d000002 00000000 00000001 00000008 00000000 00000000",
  ],
  [
    "static var",
    { kind: "var", name: "v", type: 7, linkage: "static" },
    "00000001 0e000000 00000007 00000000",
  ],
  [
    "global var",
    { kind: "var", name: "v", type: 7, linkage: "global" },
    "00000001 0e000000 00000007 00000001",
  ],
  [
    "datasec",
    { kind: "datasec", name: ".bss", size: 16, entries: [{ type: 7, offset: 8, size: 4 }] },
    "00000001 0f000001 00000010 00000007 00000008 00000004",
  ],
  ["float", { kind: "float", name: "double", size: 8 }, "00000001 10000000 00000008"],
  [
    "decl_tag",
    { kind: "declTag", value: "t", type: 7, component: -1, attribute: false },
    "00000001 11000000 00000007 ffffffff",
  ],
  [
    "decl_tag on a member, an attribute",
    { kind: "declTag", value: "t", type: 7, component: 2, attribute: true },
    "00000001 91000000 00000007 00000002",
  ],
  ["type_tag", { kind: "typeTag", value: "user", type: 7, attribute: false }, "00000001 12000000 00000007"],
  [
    "type_tag, an attribute",
    { kind: "typeTag", value: "a", type: 7, attribute: true },
    "00000001 92000000 00000007",
  ],
  [
    "unsigned enum64",
    {
      kind: "enum64",
      name: "e",
      size: 8,
      signed: false,
      values: [{ name: "A", value: 0x1122_3344_5566_7788n }],
    },
    "00000001 13000001 00000008 00000002 55667788 11223344",
  ],
  [
    "signed enum64",
    { kind: "enum64", name: "e", size: 8, signed: true, values: [{ name: "A", value: -2n }] },
    "00000001 93000001 00000008 00000002 fffffffe ffffffff",
  ],
];

describe("a record of each kind", () => {
  test.each(ROWS)("%s", (_, type, expected) => {
    expect(words(type)).toBe(expected);
  });
});

describe("values that do not fit their field", () => {
  const int = { kind: "int", name: "i", size: 4, encoding: "unsigned", bits: 32, bitOffset: 0 } as const;
  const rows: readonly (readonly [BtfType, string])[] = [
    [{ ...int, bits: 256 }, "bits 256 is no whole number of 8 bits"],
    [{ ...int, bitOffset: -1 }, "bit offset -1 is no whole number of 8 bits"],
    [
      { kind: "array", type: 1, indexType: 1, length: 2 ** 32 },
      "length 4294967296 is no whole number of 32 bits",
    ],
    [
      { kind: "enum", name: "e", size: 4, signed: false, values: [{ name: "A", value: -1 }] },
      "enum value A = -1 is no unsigned 32-bit number",
    ],
    [
      { kind: "enum", name: "e", size: 4, signed: true, values: [{ name: "A", value: 2 ** 31 }] },
      "enum value A = 2147483648 is no signed 32-bit number",
    ],
    [
      { kind: "enum64", name: "e", size: 8, signed: true, values: [{ name: "A", value: 2n ** 63n }] },
      "enum value A = 9223372036854775808 is no signed 64-bit number",
    ],
    [
      {
        kind: "struct",
        name: "s",
        size: 2 ** 24,
        members: [
          { name: "a", type: 1, bitOffset: 0, bitfieldSize: 1 },
          { name: "far", type: 1, bitOffset: 2 ** 24, bitfieldSize: 0 },
        ],
      },
      "bit offset in a struct with bitfields of member 'far' 16777216 is no whole number of 24 bits",
    ],
    [
      {
        kind: "funcProto",
        type: 0,
        params: Array.from({ length: 0x10000 }, () => ({ name: "", type: 1 })),
        variadic: false,
      },
      "funcProto with 65536 elements: BTF has room for 65535",
    ],
  ];
  test.each(rows)("%#", (type, message) => {
    expect(() => words(type)).toThrow(message);
  });
});

describe("the blob", () => {
  const build = (byteOrder: "little" | "big"): string => {
    const b = createBtfBuilder({ byteOrder });
    b.typedef("u32", b.int("int", 4, "signed"));
    return Buffer.from(b.encode()).toString("hex");
  };

  test("little-endian: header, types, strings", () => {
    expect(build("little")).toBe(
      "9feb0100 18000000 00000000 1c000000 1c000000 09000000".replaceAll(" ", "") +
        "01000000 00000001 04000000 20000001".replaceAll(" ", "") +
        "05000000 00000008 01000000".replaceAll(" ", "") +
        Buffer.from("\0int\0u32\0").toString("hex"),
    );
  });

  test("big-endian", () => {
    expect(build("big")).toBe(
      "eb9f0100 00000018 00000000 0000001c 0000001c 00000009".replaceAll(" ", "") +
        "00000001 01000000 00000004 01000020".replaceAll(" ", "") +
        "00000005 08000000 00000001".replaceAll(" ", "") +
        Buffer.from("\0int\0u32\0").toString("hex"),
    );
  });
});
