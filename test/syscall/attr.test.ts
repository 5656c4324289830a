import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import { AttrError, BpfAttr, bytesOf, cString } from "../../src/syscall/attr.ts";

const LAYOUT = { a: 0, name: 4, b: 24, c: 32, size: 40 } as const;
const VARIANT = { x: 24, size: 32 } as const;

// Addresses as a test can predict them: the first buffer is at 0x1000, the next at 0x2000, and so on.
function predictable() {
  const seen: Uint8Array[] = [];
  return {
    seen,
    addressOf: (buffer: Uint8Array): bigint => BigInt(seen.push(buffer)) * 0x1000n,
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("BpfAttr on a little-endian host", { skip: !LITTLE_ENDIAN }, () => {
  const blank = "00".repeat(40);
  const at = (offset: number, bytes: string): string =>
    blank.slice(0, offset * 2) + bytes + blank.slice(offset * 2 + bytes.length);

  test.each<[string, (attr: BpfAttr<typeof LAYOUT>) => unknown, string]>([
    ["nothing", (attr) => attr, blank],
    ["u32", (attr) => attr.u32("a", 0x01020304), at(0, "04030201")],
    ["u32, largest", (attr) => attr.u32("a", 0xffff_ffff), at(0, "ffffffff")],
    ["s32, -1", (attr) => attr.s32("a", -1), at(0, "ffffffff")],
    ["s32, smallest", (attr) => attr.s32("a", -0x8000_0000), at(0, "00000080")],
    ["u64 from a small number", (attr) => attr.u64("b", 5), at(24, "0500000000000000")],
    ["u64 from 2^32", (attr) => attr.u64("b", 2 ** 32), at(24, "0000000001000000")],
    ["u64, largest safe", (attr) => attr.u64("b", Number.MAX_SAFE_INTEGER), at(24, "ffffffffffff1f00")],
    ["u64 from a bigint", (attr) => attr.u64("b", 0xfedc_ba98_7654_3210n), at(24, "1032547698badcfe")],
    ["u64 with both halves", (attr) => attr.u64("b", 0x0001_2345_89ab_cdef), at(24, "efcdab8945230100")],
    ["a pointer", (attr) => attr.ptr("b", new Uint8Array(1)), at(24, "0010000000000000")],
    ["an empty buffer is NULL", (attr) => attr.ptr("b", new Uint8Array(0)), blank],
    ["a name", (attr) => attr.name("name", "ab_1.c"), at(4, "61625f312e63")],
    [
      "the longest name",
      (attr) => attr.name("name", "123456789012345"),
      at(4, "313233343536373839303132333435"),
    ],
    [
      "undefined stays zero",
      (attr) => attr.u32("a", undefined).s32("a", undefined).u64("b", undefined).ptr("c", undefined),
      blank,
    ],
  ])("%s", (_, write, expected) => {
    const attr = new BpfAttr(predictable(), LAYOUT);
    write(attr);
    expect(hex(attr.bytes)).toBe(expected);
  });

  test("a string is passed as the address of a NUL-terminated copy", () => {
    const sys = predictable();
    const attr = new BpfAttr(sys, LAYOUT).cstr("c", "GPL");
    expect(hex(attr.bytes)).toBe(at(32, "0010000000000000"));
    expect(sys.seen.map(hex)).toEqual(["47504c00"]);
  });

  test("a variant writes to the same bytes and shares the references", () => {
    const attr = new BpfAttr(predictable(), LAYOUT).u32("a", 1);
    attr.variant(VARIANT).ptr("x", new Uint8Array(3));
    expect(hex(attr.bytes)).toBe(at(0, "01000000").slice(0, 48) + at(24, "0010000000000000").slice(48));
  });
});

describe("BpfAttr", () => {
  test.each<[string, (attr: BpfAttr<typeof LAYOUT>) => unknown, string]>([
    ["negative u32", (attr) => attr.u32("a", -1), "a: -1 does not fit an unsigned 32-bit field"],
    [
      "u32 of 33 bits",
      (attr) => attr.u32("a", 2 ** 32),
      "a: 4294967296 does not fit an unsigned 32-bit field",
    ],
    ["fraction", (attr) => attr.u32("a", 0.5), "a: 0.5 does not fit an unsigned 32-bit field"],
    ["NaN", (attr) => attr.u32("a", Number.NaN), "a: NaN does not fit an unsigned 32-bit field"],
    ["s32 above", (attr) => attr.s32("a", 2 ** 31), "a: 2147483648 does not fit a signed 32-bit field"],
    [
      "s32 below",
      (attr) => attr.s32("a", -(2 ** 31) - 1),
      "a: -2147483649 does not fit a signed 32-bit field",
    ],
    ["negative u64", (attr) => attr.u64("b", -1), "b: -1 does not fit an unsigned 64-bit field"],
    [
      "unsafe u64",
      (attr) => attr.u64("b", 2 ** 53),
      "b: 9007199254740992 does not fit an unsigned 64-bit field",
    ],
    ["negative bigint", (attr) => attr.u64("b", -1n), "b: -1 does not fit an unsigned 64-bit field"],
    [
      "bigint of 65 bits",
      (attr) => attr.u64("b", 1n << 64n),
      "b: 18446744073709551616 does not fit an unsigned 64-bit field",
    ],
    ["a NUL in a string", (attr) => attr.cstr("c", "a\0b"), 'c: "a\\u0000b" contains a NUL character'],
    [
      "a long name",
      (attr) => attr.name("name", "1234567890123456"),
      '"1234567890123456" is not a BPF object name',
    ],
    ["a name with a space", (attr) => attr.name("name", "a b"), 'name: "a b" is not a BPF object name'],
    ["a name with a dash", (attr) => attr.name("name", "a-b"), 'name: "a-b" is not a BPF object name'],
  ])("refuses %s", (_, write, message) => {
    const attr = new BpfAttr(predictable(), LAYOUT);
    expect(() => write(attr)).toThrow(AttrError);
    expect(() => write(attr)).toThrow(message);
    expect(hex(attr.bytes)).toBe("00".repeat(40));
  });

  test("reads what the kernel has written", () => {
    const attr = new BpfAttr(predictable(), LAYOUT).u32("a", 7).u64("b", 0x1122334455667788n);
    expect(attr.getU32("a")).toBe(7);
    expect(attr.getU64("b")).toBe(0x1122334455667788n);
  });

  test("the bytes hold every buffer whose address is in them", () => {
    const attr = new BpfAttr(predictable(), LAYOUT);
    const [one, two, three] = [new Uint8Array(1), new Uint8Array(2), new Uint8Array(3)];
    attr.ptr("b", one).keepAlive([three]).variant(VARIANT).ptr("x", two);
    expect((attr.bytes as { references?: unknown }).references).toEqual([one, three, two]);
  });
});

test("cString is UTF-8 and ends with a NUL", () => {
  expect(hex(cString("aé", "x"))).toBe("61c3a900");
});

test("bytesOf is the same memory", () => {
  const words = new Uint32Array([1, 2, 3]).subarray(1, 2);
  const bytes = bytesOf(words);
  expect(bytes.byteLength).toBe(4);
  bytes.fill(0xff);
  expect(words[0]).toBe(0xffff_ffff);
});
