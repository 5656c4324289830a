import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import {
  attrBytes,
  attrNested,
  attrS32,
  attrString,
  attrU32,
  concatBytes,
  decodeAttrs,
  decodeMessages,
  encodeMessage,
  NetlinkFormatError,
  NlAttrs,
} from "../../src/syscall/netlink-message.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

describe("encoding on a little-endian host", { skip: !LITTLE_ENDIAN }, () => {
  test.each<[string, Uint8Array, string]>([
    ["u32", attrU32(3, 0x01020304), "0800 0300 04030201"],
    ["s32", attrS32(1, -1), "0800 0100 ffffffff"],
    ["string, padded", attrString(1, "clsact"), "0b00 0100 636c73616374 00 00"],
    ["string without padding", attrString(1, "bpf"), "0800 0100 62706600"],
    ["no bytes", attrBytes(9, new Uint8Array(0)), "0400 0900"],
    ["one byte, padded", attrBytes(9, Uint8Array.of(0xaa)), "0500 0900 aa000000"],
    [
      "nested",
      attrNested(43, attrS32(1, 5), attrU32(3, 2)),
      "1400 2b80 0800 0100 05000000 0800 0300 02000000",
    ],
    ["nested, empty", attrNested(2), "0400 0280"],
    [
      "a message",
      encodeMessage({ type: 19, flags: 5, seq: 7, portId: 0, payload: Uint8Array.of(1, 2, 3, 4) }),
      "14000000 1300 0500 07000000 00000000 01020304",
    ],
    [
      "a message, padded",
      encodeMessage({ type: 16, flags: 1, seq: 1, portId: 2, payload: Uint8Array.of(1) }),
      "11000000 1000 0100 01000000 02000000 01000000",
    ],
  ])("%s", (_, bytes, expected) => {
    expect(hex(bytes)).toBe(hex(unhex(expected)));
  });

  test("several messages in one datagram, the last without padding", () => {
    const datagram = unhex(
      "11000000 1000 0200 01000000 05000000 aa000000 12000000 0300 0200 01000000 05000000 bbcc",
    );
    expect(decodeMessages(datagram)).toEqual([
      { type: 16, flags: 2, seq: 1, portId: 5, payload: Uint8Array.of(0xaa) },
      { type: 3, flags: 2, seq: 1, portId: 5, payload: Uint8Array.of(0xbb, 0xcc) },
    ]);
  });

  test.each([
    ["length 0", "00000000 1000 0000 00000000 00000000"],
    ["length below a header", "0f000000 1000 0000 00000000 00000000"],
    ["length beyond the datagram", "11000000 1000 0000 00000000 00000000"],
    ["a huge length", "ffffffff 1000 0000 00000000 00000000"],
    ["a cut header", "10000000 1000"],
  ])("a datagram with %s is refused", (_, text) => {
    expect(() => decodeMessages(unhex(text))).toThrow(NetlinkFormatError);
    expect(() => decodeMessages(unhex(text))).toThrow(
      /^Netlink message at byte 0: length \d+ with \d+ bytes left/,
    );
  });

  test.each([
    ["length 0", "0000 0100"],
    ["length 3", "0300 0100 00000000"],
    ["length beyond the end", "0900 0100 00000000"],
  ])("an attribute with %s is refused", (_, text) => {
    expect(() => decodeAttrs(unhex(text))).toThrow(
      /^Netlink attribute at byte 0: length \d+ with \d+ bytes left/,
    );
  });
});

describe("reading attributes", () => {
  const attrs = new NlAttrs(
    concatBytes(
      attrBytes(1, Uint8Array.of(7)),
      attrU32(2, 0xfffffffe),
      attrString(3, "veth"),
      attrNested(4, attrU32(1, 1), attrString(2, "x")),
      attrBytes(5, new Uint8Array(new BigUint64Array([2n ** 63n]).buffer)),
      attrBytes(6, Uint8Array.of(0x61, 0x62)),
      attrU32(7, 1),
      attrU32(7, 2),
      attrBytes(8, new Uint8Array(new Uint16Array([513]).buffer)),
    ),
  );

  test("by type and width", () => {
    expect(attrs.u8(1)).toBe(7);
    expect(attrs.u32(2)).toBe(0xfffffffe);
    expect(attrs.s32(2)).toBe(-2);
    expect(attrs.u16(8)).toBe(513);
    expect(attrs.string(3)).toBe("veth");
    expect(attrs.nested(4).u32(1)).toBe(1);
    expect(attrs.nested(4).string(2)).toBe("x");
    expect(attrs.u64(5)).toBe(2n ** 63n);
    // The kernel's `uint` type is 4 or 8 bytes long.
    expect(attrs.u64(2)).toBe(0xfffffffen);
  });

  test("text without its NUL", () => expect(attrs.string(6)).toBe("ab"));
  test("the last of several wins", () => expect(attrs.u32(7)).toBe(2));
  test("absent ones are undefined", () => {
    expect(attrs.u32(99)).toBeUndefined();
    expect(attrs.string(99)).toBeUndefined();
    expect(attrs.nested(99).u32(1)).toBeUndefined();
  });
  test("a value that is too short is refused", () => {
    expect(() => attrs.u32(1)).toThrow("Netlink attribute 1: 1 bytes where 4 are needed");
    expect(() => attrs.u64(1)).toThrow("Netlink attribute 1: 1 bytes where 8 are needed");
  });
});

describe("what cannot be encoded", () => {
  test.each<[string, () => unknown, string]>([
    ["a u32 below 0", () => attrU32(1, -1), "Attribute 1: -1 does not fit u32"],
    ["a u32 of 33 bits", () => attrU32(1, 2 ** 32), "Attribute 1: 4294967296 does not fit u32"],
    ["an s32 of 33 bits", () => attrS32(1, 2 ** 31), "Attribute 1: 2147483648 does not fit s32"],
    ["64 KiB", () => attrBytes(1, new Uint8Array(65536)), "Attribute 1: 65536 bytes are too many"],
    ["a NUL in a string", () => attrString(1, "a\0b"), "contains a NUL character"],
  ])("%s", (_, encode, message) => expect(encode).toThrow(message));
});

describe("properties", () => {
  test("messages survive a round trip", () => {
    const message = fc.record({
      type: fc.nat(0xffff),
      flags: fc.nat(0xffff),
      seq: fc.nat(0xffff_ffff),
      portId: fc.nat(0xffff_ffff),
      payload: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        expect(decodeMessages(concatBytes(...messages.map(encodeMessage)))).toEqual(messages);
      }),
    );
  });

  test("attributes survive a round trip", () => {
    const attr = fc.record({ type: fc.nat(0x3fff), payload: fc.uint8Array({ maxLength: 40 }) });
    fc.assert(
      fc.property(fc.array(attr, { maxLength: 8 }), (attrs) => {
        const bytes = concatBytes(...attrs.map(({ type, payload }) => attrBytes(type, payload)));
        expect(decodeAttrs(bytes)).toEqual(attrs);
      }),
    );
  });

  // Small numbers make plausible lengths, so that more than the first check is reached.
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(fc.nat(24), { maxLength: 200 }).map((bytes) => Uint8Array.from(bytes)),
  );

  test.each([
    ["decodeMessages", decodeMessages],
    ["decodeAttrs", decodeAttrs],
  ] as const)("%s reads any bytes to their end, or refuses them", (_, decode) => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          let total = 0;
          for (const { payload } of decode(bytes)) total += payload.byteLength;
          expect(total).toBeLessThanOrEqual(bytes.byteLength);
        } catch (error) {
          expect(error).toBeInstanceOf(NetlinkFormatError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
