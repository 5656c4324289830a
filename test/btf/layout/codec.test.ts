import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  aligned,
  array,
  be16,
  be32,
  be64,
  bits,
  bool,
  bytes,
  char,
  decode,
  encode,
  enumOf,
  f32,
  f64,
  kptr,
  type Layout,
  le16,
  le32,
  le64,
  padding,
  pointer,
  s8,
  s16,
  s32,
  s64,
  spinLock,
  struct,
  timer,
  u8,
  u16,
  u32,
  u64,
  union,
  unionBytes,
} from "../../../src/btf/layout/index.ts";

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));

const action = enumOf("action", u32, { ABORTED: 0, DROP: 1, PASS: 2, ALSO_PASS: 2 });
const level = enumOf("level", s8, { LOW: -1, HIGH: 1 });
const addr = union("addr", { v4: be32, v6: bytes(8), text: array(char, 8) });

describe.skipIf(!littleEndian)("bytes on a little-endian machine", () => {
  const cases: readonly (readonly [name: string, layout: Layout, value: unknown, bytes: string])[] = [
    ["u8", u8, 0xfe, "fe"],
    ["s8", s8, -2, "fe"],
    ["u16", u16, 0x1234, "3412"],
    ["s16", s16, -2, "feff"],
    ["u32", u32, 0x12345678, "78563412"],
    ["u32 max", u32, 0xffff_ffff, "ffffffff"],
    ["s32", s32, -2, "feffffff"],
    ["u64", u64, 0x0123_4567_89ab_cdefn, "efcdab8967452301"],
    ["u64 max", u64, 2n ** 64n - 1n, "ffffffffffffffff"],
    ["s64", s64, -2n, "feffffffffffffff"],
    ["u64.asNumber", u64.asNumber, 2 ** 53 - 1, "ffffffffffff1f00"],
    ["s64.asNumber", s64.asNumber, -(2 ** 53 - 1), "010000000000e0ff"],
    ["s64.asNumber -1", s64.asNumber, -1, "ffffffffffffffff"],
    ["be16", be16, 80, "0050"],
    ["be32", be32, 0x7f00_0001, "7f000001"],
    ["be64", be64, 1n, "0000000000000001"],
    ["be64.asNumber", be64.asNumber, 0x1_0000_0002, "0000000100000002"],
    ["le16", le16, 80, "5000"],
    ["le32", le32, 1, "01000000"],
    ["le64", le64, 1n, "0100000000000000"],
    ["bool", bool, true, "01"],
    ["f32", f32, 1.5, "0000c03f"],
    ["f64", f64, -2, "00000000000000c0"],
    ["char", char, "A", "41"],
    ["text", array(char, 6), "abc", "616263000000"],
    ["text that fills its field", array(char, 4), "four", "666f7572"],
    ["text of two-byte characters", array(char, 4), "éé", "c3a9c3a9"],
    ["no text", array(char, 2), "", "0000"],
    ["array", array(u16, 3), [1, 2, 3], "010002000300"],
    [
      "array of arrays",
      array(array(u8, 2), 2),
      [
        [1, 2],
        [3, 4],
      ],
      "01020304",
    ],
    ["bytes", bytes(3), Uint8Array.of(1, 2, 3), "010203"],
    ["enum", action, "PASS", "02000000"],
    ["enum value without a name", action, "7", "07000000"],
    ["enum as number", action.asNumber, 2, "02000000"],
    ["negative enum value", level, "LOW", "ff"],
    ["pointer", pointer(), 0xffff_8000_0000_0000n, "000000000080ffff"],
    [
      "padding is zero",
      struct("s", { a: u8, b: u32, c: u16 }),
      { a: 1, b: 2, c: 3 },
      "010000000200000003000000",
    ],
    ["packed", struct("s", { a: u8, b: u32 }, { packed: true }), { a: 1, b: 2 }, "0102000000"],
    ["aligned", struct("s", { a: u8, b: aligned(u8, 4) }), { a: 1, b: 2 }, "0100000002000000"],
    ["aligned struct", struct("s", { a: u8 }, { align: 4 }), { a: 1 }, "01000000"],
    [
      "reserved members",
      struct("s", { lock: spinLock, n: u8, pad: padding(3) }),
      { n: 1 },
      "0000000001000000",
    ],
    ["bit fields", struct("s", { a: bits(u8, 4), b: bits(u8, 4) }), { a: 5, b: 4 }, "45"],
    ["signed bit fields", struct("s", { a: bits(s8, 3), b: bits(s8, 5) }), { a: -1, b: -16 }, "87"],
    [
      "a bit field over bytes",
      struct("s", { a: bits(u32, 3), b: bits(u32, 13) }),
      { a: 1, b: 0x1fff },
      "f9ff0000",
    ],
    [
      "64-bit bit fields",
      struct("s", { a: bits(u64, 4), b: bits(u64, 60) }),
      { a: 1n, b: 2n ** 59n },
      "0100000000000080",
    ],
    [
      "64-bit bit fields as numbers",
      struct("s", { a: bits(u64.asNumber, 40) }),
      { a: 2 ** 40 - 1 },
      "ffffffffff000000",
    ],
    [
      "bit fields of bool and enum",
      struct("s", { a: bits(bool, 1), b: bits(action, 2) }),
      { a: true, b: "PASS" },
      "05000000",
    ],
    ["nested", struct("o", { a: u8, i: struct("i", { b: u16 }) }), { a: 1, i: { b: 2 } }, "01000200"],
  ];

  test.each(cases)("%s", (_, layout, value, expected) => {
    expect(hex(encode(layout, value))).toBe(expected);
    expect(decode(layout, unhex(expected))).toEqual(value);
    expect(layout.size).toBe(expected.length / 2);
  });

  test("what is written and reads differently", () => {
    expect(hex(encode(u64, 5))).toBe("0500000000000000");
    expect(hex(encode(s64, -5))).toBe("fbffffffffffffff");
    expect(hex(encode(u64.asNumber, 5n))).toBe("0500000000000000");
    expect(hex(encode(action, 2))).toBe("02000000");
    expect(hex(encode(action.asNumber, "PASS"))).toBe("02000000");
    expect(hex(encode(array(u8, 2), Uint8Array.of(1, 2)))).toBe("0102");
    expect(decode(bool, Uint8Array.of(7))).toBe(true);
    expect(decode(action, encode(u32, 2))).toBe("PASS");
  });
});

test("text ends at the first NUL, and what is no UTF-8 reads as U+FFFD", () => {
  expect(decode(array(char, 6), unhex("616200636400"))).toBe("ab");
  expect(decode(array(char, 6), unhex("c3a900ffff00"))).toBe("é");
  expect(decode(array(char, 3), unhex("61ff62"))).toBe("a\ufffdb");
});

test("writing leaves nothing of what was there", () => {
  const layout = struct("s", {
    a: u8,
    b: u64,
    c: bits(u32, 3),
    t: timer,
    k: kptr("task_struct"),
    name: array(char, 3),
  });
  const dirty = new DataView(new ArrayBuffer(layout.size + 2));
  for (let at = 0; at < dirty.byteLength; at++) dirty.setUint8(at, 0xee);
  const value = { a: 1, b: 2n, c: 3, name: "x" };
  layout.write(dirty, 1, value);
  expect(new Uint8Array(dirty.buffer, 1, layout.size)).toEqual(encode(layout, value));
  expect([dirty.getUint8(0), dirty.getUint8(layout.size + 1)]).toEqual([0xee, 0xee]);
  expect(layout.read(dirty, 1)).toEqual(value);
});

test("bytes read are a copy", () => {
  const data = Uint8Array.of(1, 2);
  const read = decode(bytes(2), data);
  data[0] = 9;
  expect(read).toEqual(Uint8Array.of(1, 2));
});

test("layouts read from the middle of a larger buffer", () => {
  const data = unhex("ffff00500061620000ff");
  expect(decode(be16, data.subarray(2, 4))).toBe(80);
  expect(decode(array(char, 4), data.subarray(5, 9))).toBe("ab");
  expect(decode(bytes(2), data.subarray(5, 7))).toEqual(unhex("6162"));
  expect(decode(addr, data.subarray(2, 10)).v6).toEqual(data.subarray(2, 10));
});

describe("fields", () => {
  const inner = struct("inner", { x: u16, y: be32 });
  const outer = struct("outer", { a: u8, inner, few: bits(u32, 5), more: bits(u32, 20), addr });

  test("say where they are", () => {
    expect(outer.offset).toEqual({
      a: 0,
      inner: 4,
      "inner.x": 4,
      "inner.y": 8,
      addr: 16,
      "addr.v4": 16,
      "addr.v6": 16,
      "addr.text": 16,
    });
    expect(outer.fields.inner).toMatchObject({ name: "inner", offset: 4, size: 8, layout: inner });
    // The smallest aligned load: bits 5 to 24 of the unit need all 4 bytes of it, bits 0 to 4 only one.
    if (littleEndian) {
      expect(outer.fields.few).toMatchObject({ offset: 12, size: 1, shift: 0, width: 5 });
      expect(outer.fields.more).toMatchObject({ offset: 12, size: 4, shift: 5, width: 20 });
    }
  });

  test("read and write alone", () => {
    const view = new DataView(new ArrayBuffer(outer.size + 8));
    outer.fields.more.write(view, 8, 0xabcde);
    outer.fields.few.write(view, 8, 0x15);
    outer.fields.inner.write(view, 8, { x: 1, y: 2 });
    expect(outer.fields.more.read(view, 8)).toBe(0xabcde);
    expect(outer.read(view, 8)).toMatchObject({ a: 0, inner: { x: 1, y: 2 }, few: 0x15, more: 0xabcde });
  });
});

describe("unions", () => {
  test("read as every member, each when it is looked at", () => {
    const value = decode(addr, unhex("3132333435363738"));
    expect(value.v4).toBe(0x31323334);
    expect(value.text).toBe("12345678");
    expect(value.v6).toEqual(value[unionBytes]);
    expect(JSON.parse(JSON.stringify(value))).toMatchObject({ v4: 0x31323334, text: "12345678" });
  });

  test("write one member and zeros, or what was read", () => {
    expect(hex(encode(addr, { v4: 1 }))).toBe("0000000100000000");
    const data = unhex("3132333435363738");
    expect(encode(addr, decode(addr, data))).toEqual(data);
    const holder = struct("holder", { addr, n: u8 });
    const held = decode(holder, encode(holder, { addr: { text: "abcdefgh" }, n: 1 }));
    expect(hex(encode(holder, { ...held, n: 2 })).slice(0, 18)).toBe("616263646566676802");
  });

  test("a member that the bytes make no sense as does not stop the others", () => {
    const either = union("either", { big: u64, n: u64.asNumber });
    const value = decode(either, new Uint8Array(8).fill(0xff));
    expect(value.big).toBe(2n ** 64n - 1n);
    expect(() => value.n).toThrow("either.n: 18446744073709551615 is beyond what a number holds exactly");
    expect((value as unknown as { toJSON(): object }).toJSON()).toEqual({ big: 2n ** 64n - 1n });
  });
});

describe("what is written is read", () => {
  const integer = (bits: number, signed: boolean): fc.Arbitrary<number> =>
    signed
      ? fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
      : fc.integer({ min: 0, max: 2 ** bits - 1 });
  const any = {
    u8: integer(8, false),
    u16: integer(16, false),
    u32: integer(32, false),
    s8: integer(8, true),
    s16: integer(16, true),
    s32: integer(32, true),
    u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    s64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    safe: fc.maxSafeInteger(),
    nat: fc.maxSafeNat(),
  };
  const text = (length: number): fc.Arbitrary<string> =>
    fc
      .string({ unit: "grapheme", maxLength: length })
      .filter((value) => !value.includes("\0") && new TextEncoder().encode(value).length <= length);

  test("by every layout at once", () => {
    const layout = struct("all", {
      a: u8,
      b: u16,
      c: u32,
      d: s8,
      e: s16,
      f: s32,
      g: u64,
      h: s64,
      i: u64.asNumber,
      j: s64.asNumber,
      k: be16,
      l: be32,
      m: be64,
      n: le16,
      o: le32,
      p: le64,
      q: bool,
      r: f64,
      s: array(char, 12),
      t: bytes(5),
      u: array(be16, 3),
      v: action,
      w: struct("deep", { x: bits(u32, 7), y: bits(s32, 25), z: bits(u64, 33) }),
      y: struct("tight", { x: bits(u8, 7), y: bits(s64, 64), z: bits(s32, 31) }, { packed: true }),
    });
    const value = fc.record({
      a: any.u8,
      b: any.u16,
      c: any.u32,
      d: any.s8,
      e: any.s16,
      f: any.s32,
      g: any.u64,
      h: any.s64,
      i: any.nat,
      j: any.safe,
      k: any.u16,
      l: any.u32,
      m: any.u64,
      n: any.u16,
      o: any.u32,
      p: any.u64,
      q: fc.boolean(),
      r: fc.double(),
      s: text(12),
      t: fc.uint8Array({ minLength: 5, maxLength: 5 }),
      u: fc.array(any.u16, { minLength: 3, maxLength: 3 }),
      v: fc.constantFrom("ABORTED", "DROP", "PASS", "3", "4294967295"),
      w: fc.record({
        x: integer(7, false),
        y: integer(25, true),
        z: fc.bigInt({ min: 0n, max: 2n ** 33n - 1n }),
      }),
      y: fc.record({ x: integer(7, false), y: any.s64, z: integer(31, true) }),
    });
    fc.assert(
      fc.property(value, (value) => {
        expect(decode(layout, encode(layout, value as never))).toEqual(value);
      }),
    );
  });

  test("integers reject what is out of range, and only that", () => {
    for (const layout of [u8, s8, u16, s16, u32, s32, be16, be32, le16, le32]) {
      const size = layout.size * 8;
      const [min, max] = layout.signed ? [-(2 ** (size - 1)), 2 ** (size - 1) - 1] : [0, 2 ** size - 1];
      expect(decode(layout, encode(layout, min))).toBe(min);
      expect(decode(layout, encode(layout, max))).toBe(max);
      for (const bad of [min - 1, max + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(() => encode(layout, bad)).toThrow(
          `${layout.kind}: ${bad} is not an integer from ${min} to ${max}`,
        );
      }
    }
  });
});
