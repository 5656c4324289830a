import { describe, expect, test } from "vitest";
import {
  aligned,
  array,
  be16,
  bits,
  bool,
  bytes,
  char,
  decode,
  encode,
  enumOf,
  f64,
  kptr,
  type Layout,
  LayoutError,
  padding,
  s64,
  spinLock,
  struct,
  u8,
  u32,
  u64,
  union,
} from "../../../src/btf/layout/index.ts";

const action = enumOf("action", u32, { DROP: 1, PASS: 2 });
const peer = struct("peer", { port: be16, addr: union("addr", { v4: u32, v6: bytes(16) }) });
const event = struct("event", {
  lock: spinLock,
  cpu: u32,
  flags: bits(u32, 3),
  delta: bits(s64, 40),
  on: bits(bool, 1),
  comm: array(char, 4),
  peers: array(peer, 2),
  mac: bytes(6),
  ts: u64,
  action,
});
const good = {
  cpu: 1,
  flags: 2,
  delta: 0n,
  on: true,
  comm: "a",
  peers: [
    { port: 1, addr: { v4: 1 } },
    { port: 2, addr: { v4: 2 } },
  ],
  mac: new Uint8Array(6),
  ts: 0n,
  action: "PASS",
};
const withPeer = (peer: object): object => ({ ...good, peers: [good.peers[0], peer] });

const messageOf = (fn: () => unknown): string => {
  try {
    fn();
  } catch (error) {
    if (error instanceof LayoutError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
};

test("the value that the cases below spoil is good", () => {
  expect(decode(event, encode(event, good as never))).toMatchObject({ cpu: 1, comm: "a" });
});

describe("values that do not fit", () => {
  const cases: readonly (readonly [value: unknown, message: string])[] = [
    [{ ...good, cpu: 2 ** 32 }, "event.cpu: 4294967296 is not an integer from 0 to 4294967295"],
    [{ ...good, cpu: "1" }, 'event.cpu: "1" is not an integer from 0 to 4294967295'],
    [{ ...good, cpu: 1n }, "event.cpu: 1n is not an integer from 0 to 4294967295"],
    [{ ...good, cpu: null }, "event.cpu: null is not an integer from 0 to 4294967295"],
    [{ ...good, flags: 8 }, "event.flags: 8 does not fit 3 bits, which hold 0 to 7"],
    [{ ...good, flags: 2 ** 32 }, "event.flags: 4294967296 does not fit 3 bits, which hold 0 to 7"],
    [{ ...good, flags: -1 }, "event.flags: -1 does not fit 3 bits, which hold 0 to 7"],
    [
      { ...good, delta: 2n ** 39n },
      "event.delta: 549755813888n does not fit 40 bits, which hold -549755813888 to 549755813887",
    ],
    [{ ...good, on: 1 }, "event.on: 1 is not true or false"],
    [{ ...good, comm: "abcde" }, 'event.comm: "abcde" is 5 bytes long and does not fit 4'],
    [{ ...good, comm: "ééé" }, 'event.comm: "ééé" is 6 bytes long and does not fit 4'],
    [{ ...good, comm: "a\0b" }, 'event.comm: "a\\u0000b" has a NUL in it, where it would end'],
    [{ ...good, comm: 5 }, "event.comm: 5 is not a string"],
    [{ ...good, mac: new Uint8Array(5) }, "event.mac: 5 bytes given, and it has 6"],
    [{ ...good, mac: [1, 2, 3, 4, 5, 6] }, "event.mac: an array is not a Uint8Array"],
    [{ ...good, ts: -1n }, "event.ts: -1n is not an integer from 0 to 18446744073709551615"],
    [{ ...good, ts: -1 }, "event.ts: -1 is not an integer from 0 to 18446744073709551615"],
    [{ ...good, ts: 0.5 }, "event.ts: 0.5 is not an integer from 0 to 18446744073709551615"],
    [
      { ...good, ts: 2 ** 53 },
      "event.ts: 9007199254740992 is beyond what a number holds exactly (2^53 - 1)\n  Give it as a bigint.",
    ],
    [{ ...good, peers: [] }, "event.peers: 0 elements given, and it has 2"],
    [{ ...good, peers: {} }, "event.peers: an object (Object) is not an array of 2"],
    [
      withPeer({ port: 65536, addr: { v4: 1 } }),
      "event.peers[1].port: 65536 is not an integer from 0 to 65535",
    ],
    [withPeer({ port: 1 }), "event.peers[1]: member 'addr' is missing"],
    [withPeer({ port: 1, addr: {} }), "event.peers[1].addr: no member given: it takes one of v4, v6"],
    [
      withPeer({ port: 1, addr: { v4: 1, v6: new Uint8Array(16) } }),
      "event.peers[1].addr: 'v4' and 'v6' are given: it takes exactly one of v4, v6",
    ],
    [
      withPeer({ port: 1, addr: { v5: 1 } }),
      "event.peers[1].addr: there is no member 'v5'\n  Did you mean 'v4'?",
    ],
    [
      withPeer({ port: 1, addr: { v4: -1 } }),
      "event.peers[1].addr.v4: -1 is not an integer from 0 to 4294967295",
    ],
    [withPeer({ port: 1, addr: 4 }), "event.peers[1].addr: 4 is not an object"],
    [{ ...good, action: "PSAS" }, "event.action: \"PSAS\" is not one of its names\n  Did you mean 'PASS'?"],
    [
      { ...good, action: "toString" },
      'event.action: "toString" is not one of its names\n  It has DROP, PASS.',
    ],
    [{ ...good, action: 2 ** 32 }, "event.action: 4294967296 is not an integer from 0 to 4294967295"],
    [{ ...good, action: "4294967296" }, "event.action: 4294967296 is not an integer from 0 to 4294967295"],
    [{ ...good, cpuu: 1 }, "event: there is no member 'cpuu'\n  Did you mean 'cpu'?"],
    [
      { ...good, x: 1 },
      "event: there is no member 'x'\n  It has cpu, flags, delta, on, comm, peers, mac, ts, action.",
    ],
    [{ ...good, cpu: undefined }, "event: member 'cpu' is missing"],
    [{ ...good, lock: 0 }, "event: member 'lock' is reserved: it is no part of the value"],
    [5, "event: 5 is not an object"],
    [null, "event: null is not an object"],
  ];

  test.each(cases.map(([value, message]) => [message, value] as const))("%s", (message, value) => {
    expect(messageOf(() => encode(event as Layout, value))).toBe(message);
  });

  test("a misspelt member is called that, not the right one missing", () => {
    const { cpu, ...rest } = good;
    expect(messageOf(() => encode(event as Layout, { ...rest, cpi: cpu }))).toBe(
      "event: there is no member 'cpi'\n  Did you mean 'cpu'?",
    );
  });

  test("what stands alone goes by its kind", () => {
    expect(messageOf(() => encode(array(u8, 2), [1, 256]))).toBe(
      "array[1]: 256 is not an integer from 0 to 255",
    );
    expect(messageOf(() => encode(f64 as Layout, "1"))).toBe('f64: "1" is not a number');
    expect(messageOf(() => encode(char, "ab"))).toBe('char: "ab" is not a one-byte character');
    expect(messageOf(() => encode(bool as Layout, undefined))).toBe("bool: undefined is not true or false");
  });

  test("the path and the reason are fields", () => {
    try {
      encode(event as Layout, withPeer({ port: -1, addr: { v4: 1 } }));
    } catch (error) {
      expect(error).toMatchObject({
        name: "LayoutError",
        path: "event.peers[1].port",
        reason: "-1 is not an integer from 0 to 65535",
      });
    }
    expect.assertions(1);
  });
});

describe("bytes that do not fit", () => {
  test("too few, too many", () => {
    expect(messageOf(() => decode(peer, new Uint8Array(7)))).toBe(
      "struct peer: 7 bytes given, and it has 20\n  The two sides disagree about the layout. To read a value out of more bytes use read(view, offset).",
    );
    expect(() => decode(peer, new Uint8Array(21))).toThrow("21 bytes given");
    expect(() => peer.read(new DataView(new ArrayBuffer(20)), 1)).toThrow(RangeError);
    expect(() => bytes(4).read(new DataView(new ArrayBuffer(4)), 1)).toThrow(RangeError);
  });

  test("numbers that a number does not hold", () => {
    const counters = struct("counters", { list: array(u64.asNumber, 2) });
    const data = new Uint8Array(16).fill(0xff, 8);
    expect(messageOf(() => decode(counters, data))).toBe(
      "counters.list[1]: 18446744073709551615 is beyond what a number holds exactly (2^53 - 1)\n  Declare it as u64, without asNumber, to read a bigint.",
    );
  });
});

describe("declarations that C would not take", () => {
  const cases: readonly (readonly [name: string, declare: () => unknown, message: string])[] = [
    ["a name", () => struct("my event", { a: u8 }), 'struct: "my event" is not a C identifier'],
    ["a member's name", () => struct("s", { "a-b": u8 }), 's: member "a-b" is not a C identifier'],
    [
      "a member called __proto__",
      () => struct("s", { ["__proto__"]: u8 }),
      's: member "__proto__" is not a C identifier',
    ],
    ["no members", () => union("u", {}), "u: it has no members"],
    ["an alignment", () => struct("s", { a: u8 }, { align: 3 }), "s: alignment 3 is not a power of two"],
    ["a member's alignment", () => aligned(u32, 0), "u32: alignment 0 is not a power of two"],
    ["an array's length", () => array(u8, -1), "array: length -1 is not an integer from 0 to 4294967295"],
    ["a length", () => bytes(1.5), "bytes: length 1.5 is not an integer from 0 to 4294967295"],
    ["no padding", () => padding(0), "padding: length 0 is not a positive integer"],
    ["no bits", () => bits(u8, 0), "u8: a bit field of 0 bits: it can have 1 to 8"],
    ["too many bits", () => bits(u8, 9), "u8: a bit field of 9 bits: it can have 1 to 8"],
    ["a wide bool", () => bits(bool, 2), "bool: a bit field of 2 bits: it can have 1 to 1"],
    [
      "bits in wire order",
      () => bits(be16 as never, 2),
      "be16: only integers in host byte order, bool and enums have bit fields",
    ],
    ["an enum value", () => enumOf("e", u8, { BIG: 256 }), "e.BIG: 256 is not an integer from 0 to 255"],
    ["a kernel pointer", () => kptr("struct x"), 'kptr: "struct x" is not the name of a struct'],
  ];

  test.each(cases)("%s", (_, declare, message) => {
    expect(messageOf(declare)).toBe(message);
  });
});
