import { describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../../src/btf/builder.ts";
import { decodeBtf } from "../../../src/btf/decode.ts";
import {
  aligned,
  array,
  be16,
  be32,
  bits,
  bytes,
  char,
  compareWithBtf,
  enumOf,
  padding,
  pointer,
  type StructLayout,
  s16,
  s32,
  struct,
  type UnionLayout,
  u8,
  u16,
  u32,
  u64,
  union,
} from "../../../src/btf/layout/index.ts";

type RecordLayout = StructLayout | UnionLayout;

const peer = struct("peer", { port: be16, family: s16, addr: be32 });
const event = struct("event", {
  cpu: u32,
  flags: bits(u32, 3),
  rest: bits(u32, 10),
  comm: array(char, 16),
  ts: u64,
  peer,
  verdict: enumOf("verdict", u32, { DROP: 1 }),
  next: pointer(),
  u: union("u", { a: u8, b: u32 }),
  cold: aligned(u8, 32),
});

/** Compares a layout with the BTF of another one, as if that were the kernel's. */
function differences(ours: RecordLayout, theirs: RecordLayout): string[] {
  const builder = createBtfBuilder();
  const id = theirs.btf(builder);
  return compareWithBtf(ours, builder, id).map(({ message }) => message);
}

test("a layout does not differ from its own BTF", () => {
  expect(differences(event, event)).toEqual([]);
  const builder = createBtfBuilder();
  event.btf(builder);
  expect(compareWithBtf(event, decodeBtf(builder.encode()))).toEqual([]);
});

describe("each difference", () => {
  const base = struct("s", { a: u32, b: u16, c: bits(u32, 3) });
  const cases: readonly (readonly [
    what: string,
    ours: RecordLayout,
    theirs: RecordLayout,
    messages: string[],
  ])[] = [
    [
      "size",
      base,
      struct("s", { a: u32, b: u16, c: bits(u32, 3), d: u64 }),
      ["s: it has 8 bytes, and BTF says 16"],
    ],
    [
      "offset",
      base,
      struct("s", { b: u16, a: u32, c: bits(u32, 3) }),
      [
        "s: it has 8 bytes, and BTF says 12",
        "s.a: it is at offset 0, and BTF says offset 4",
        "s.b: it is at offset 4, and BTF says offset 0",
        "s.c: it is at bit 48, and BTF says bit 64",
      ],
    ],
    [
      "a member's size",
      base,
      struct("s", { a: u32, b: u8, c: bits(u32, 3) }),
      ["s.b: it has 2 bytes, and BTF says 1 byte", "s.c: it is at bit 48, and BTF says bit 40"],
    ],
    [
      "a bit field's width",
      base,
      struct("s", { a: u32, b: u16, c: bits(u32, 4) }),
      ["s.c: it has 3 bits, and BTF says 4 bits"],
    ],
    [
      "a name",
      struct("s", { counter: u32 }),
      struct("s", { count: u32 }),
      ["s.counter: BTF has no member of this name. Did you mean 'count'?"],
    ],
    ["sign", struct("s", { a: u32 }), struct("s", { a: s32 }), ["s.a: it is unsigned, and BTF says signed"]],
    [
      "byte order",
      struct("s", { a: u32, b: be16 }),
      struct("s", { a: be32, b: be16 }),
      ["s.a: it is in host byte order, and BTF says big"],
    ],
    [
      "a member where the layout has padding",
      struct("s", { a: u8, b: u32 }),
      struct("s", { a: u8, hidden: u8, b: u32 }),
      ["s.hidden: BTF has it at offset 1, and the layout has nothing there"],
    ],
    [
      "within a nested struct",
      struct("s", { p: peer }),
      struct("s", { p: struct("peer", { prt: be16, family: s16, addr: u32 }) }),
      ["s.p.port: BTF has no member of this name. Did you mean 'prt'?"],
    ],
  ];

  test.each(cases)("%s", (_, ours, theirs, messages) => {
    expect(differences(ours, theirs)).toEqual(messages);
  });
});

describe("what is no difference", () => {
  const cases: readonly (readonly [what: string, ours: RecordLayout, theirs: RecordLayout])[] = [
    ["an integer without a byte order in the kernel", struct("s", { a: be16 }), struct("s", { a: u16 })],
    [
      "explicit padding",
      struct("s", { a: u8, p: padding(3), b: u32 }),
      struct("s", { a: u8, x: bytes(3), b: u32 }),
    ],
    ["a member read as bytes", struct("s", { a: bytes(8) }), struct("s", { a: array(u16, 4) })],
    ["a number read of 64 bits", struct("s", { a: u64.asNumber }), struct("s", { a: u64 })],
  ];

  test.each(cases)("%s", (_, ours, theirs) => {
    expect(differences(ours, theirs)).toEqual([]);
  });

  test("an anonymous union of the kernel, by a union without a C name", () => {
    const builder = createBtfBuilder();
    const int = u32.btf(builder);
    const inner = builder.union("", 4, [
      { name: "v4", type: int, bitOffset: 0 },
      { name: "mark", type: int, bitOffset: 0 },
    ]);
    const id = builder.struct("s", 8, [
      { name: "a", type: int, bitOffset: 0 },
      { name: "", type: inner, bitOffset: 32 },
    ]);
    const nameless = struct("s", { a: u32, anything: union("", { v4: u32, mark: u32 }) });
    expect(compareWithBtf(nameless, builder, id)).toEqual([]);
    const named = struct("s", { a: u32, anything: union("u", { v4: u32 }) });
    expect(compareWithBtf(named, builder, id)).toEqual([
      { path: "s.anything", what: "missing", message: "s.anything: BTF has no member of this name" },
    ]);
  });
});

test("what cannot be compared says so", () => {
  const builder = createBtfBuilder();
  u32.btf(builder);
  expect(() => compareWithBtf(peer, decodeBtf(builder.encode()))).toThrow(
    "peer: BTF has no struct of this name to compare it with",
  );
});
