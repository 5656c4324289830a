import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError, type DecodeOptions, decode, encode } from "../../src/asm/index.ts";
import { TsbpfError } from "../../src/base/error.ts";
import { fromHex, instructionVectors } from "./vectors.ts";

/** What decode says of bytes that it refuses. */
function refusal(hex: string, options?: DecodeOptions): string {
  try {
    decode(hex === "" ? new Uint8Array() : fromHex(hex), options);
  } catch (error) {
    if (error instanceof DecodeError) return error.message.split("\n")[0] ?? "";
    throw error;
  }
  throw new Error(`${hex} was decoded`);
}

describe("what decode refuses, and where", () => {
  const word0 = "byte 0 (instruction word 0): ";
  const cases: readonly (readonly [hex: string, message: string])[] = [
    // the bytes as a whole
    ["95", `${word0}1 bytes are left, and an instruction takes 8`],
    [
      "95 00 00 00 00 00 00 00 95 00 00",
      "byte 8 (instruction word 1): 3 bytes are left, and an instruction takes 8",
    ],
    // lddw
    ["18 01 00 00 05 00 00 00", `${word0}lddw takes two words, and the bytes end inside it`],
    [
      "95 00 00 00 00 00 00 00 18 01 00 00 05 00 00 00 00 00 00",
      "byte 8 (instruction word 1): lddw takes two words, and the bytes end inside it",
    ],
    [
      "18 01 00 00 05 00 00 00 18 00 00 00 00 00 00 00",
      "byte 8 (instruction word 1): the second word of lddw holds more than its imm",
    ],
    [
      "18 01 00 00 05 00 00 00 00 01 00 00 00 00 00 00",
      "byte 8 (instruction word 1): the second word of lddw holds more than its imm",
    ],
    [
      "18 01 00 00 05 00 00 00 00 00 01 00 00 00 00 00",
      "byte 8 (instruction word 1): the second word of lddw holds more than its imm",
    ],
    [
      "18 11 00 00 05 00 00 00 00 00 00 00 01 00 00 00",
      "byte 8 (instruction word 1): the imm of the second word of lddw with src_reg 1 is reserved, and it is 1",
    ],
    [
      "18 71 00 00 05 00 00 00 00 00 00 00 00 00 00 00",
      `${word0}src_reg is 7: the sources of lddw are 0 to 6`,
    ],
    [
      "18 01 01 00 05 00 00 00 00 00 00 00 00 00 00 00",
      `${word0}code 0x18 has off reserved: it must be 0, and it is 1`,
    ],
    [
      "18 0b 00 00 05 00 00 00 00 00 00 00 00 00 00 00",
      `${word0}dst_reg is 11, and there is no register r11`,
    ],
    // arithmetic
    ["e7 01 00 00 00 00 00 00", `${word0}code 0xe7 is no instruction: unknown operation`],
    ["f4 01 00 00 00 00 00 00", `${word0}code 0xf4 is no instruction: unknown operation`],
    ["07 0c 00 00 00 00 00 00", `${word0}dst_reg is 12, and there is no register r12`],
    ["0f f1 00 00 00 00 00 00", `${word0}src_reg is 15, and there is no register r15`],
    ["07 21 00 00 05 00 00 00", `${word0}code 0x07 has src_reg reserved: it must be 0, and it is 2`],
    ["0f 21 00 00 05 00 00 00", `${word0}code 0x0f has imm reserved: it must be 0, and it is 5`],
    ["07 01 01 00 05 00 00 00", `${word0}code 0x07 has off reserved: it must be 0, and it is 1`],
    ["37 01 02 00 05 00 00 00", `${word0}off is 2: a division is unsigned (0) or signed (1)`],
    ["bf 21 18 00 00 00 00 00", `${word0}off is 24: a 64-bit move extends the sign of 8, 16 or 32 bits`],
    ["bc 21 20 00 00 00 00 00", `${word0}off is 32: a 32-bit move extends the sign of 8 or 16 bits`],
    ["b7 01 08 00 05 00 00 00", `${word0}code 0xb7 has off reserved: it must be 0, and it is 8`],
    ["bf 21 08 00 01 00 00 00", `${word0}code 0xbf has imm reserved: it must be 0, and it is 1`],
    ["bf 21 ff ff 00 00 00 00", `${word0}off is -1: a 64-bit move extends the sign of 8, 16 or 32 bits`],
    ["8f 01 00 00 00 00 00 00", `${word0}code 0x8f is no instruction: unknown operation`],
    ["87 01 00 00 01 00 00 00", `${word0}code 0x87 has imm reserved: it must be 0, and it is 1`],
    ["d4 01 00 00 08 00 00 00", `${word0}a byte swap of 8 bits: it is 16, 32 or 64`],
    ["d7 01 00 00 00 00 00 00", `${word0}a byte swap of 0 bits: it is 16, 32 or 64`],
    ["df 01 00 00 10 00 00 00", `${word0}code 0xdf is no instruction: unknown operation of class ALU64`],
    ["dc 21 00 00 10 00 00 00", `${word0}code 0xdc has src_reg reserved: it must be 0, and it is 2`],
    // jumps and calls
    ["05 01 00 00 00 00 00 00", `${word0}code 0x05 has dst_reg reserved: it must be 0, and it is 1`],
    ["05 00 00 00 01 00 00 00", `${word0}code 0x05 has imm reserved: it must be 0, and it is 1`],
    ["06 00 01 00 00 00 00 00", `${word0}code 0x06 has off reserved: it must be 0, and it is 1`],
    ["0e 00 00 00 00 00 00 00", `${word0}code 0x0e is no instruction: unknown operation of class JMP32`],
    ["0d 01 01 00 00 00 00 00", `${word0}code 0x0d has off reserved: it must be 0, and it is 1`],
    ["15 21 00 00 00 00 00 00", `${word0}code 0x15 has src_reg reserved: it must be 0, and it is 2`],
    ["1d 21 00 00 01 00 00 00", `${word0}code 0x1d has imm reserved: it must be 0, and it is 1`],
    ["1e b1 00 00 00 00 00 00", `${word0}src_reg is 11, and there is no register r11`],
    ["85 01 00 00 01 00 00 00", `${word0}code 0x85 has dst_reg reserved: it must be 0, and it is 1`],
    ["85 00 01 00 01 00 00 00", `${word0}code 0x85 has off reserved: it must be 0, and it is 1`],
    ["85 10 01 00 01 00 00 00", `${word0}code 0x85 has off reserved: it must be 0, and it is 1`],
    [
      "85 30 00 00 01 00 00 00",
      `${word0}src_reg is 3: a call is of a helper (0), a function of the program (1) or a kernel function (2)`,
    ],
    ["86 00 00 00 01 00 00 00", `${word0}code 0x86 is no instruction: unknown operation of class JMP32`],
    ["8d 01 00 00 01 00 00 00", `${word0}code 0x8d has imm reserved: it must be 0, and it is 1`],
    ["95 01 00 00 00 00 00 00", `${word0}code 0x95 has dst_reg reserved: it must be 0, and it is 1`],
    ["96 00 00 00 00 00 00 00", `${word0}code 0x96 is no instruction: unknown operation`],
    ["9d 00 00 00 00 00 00 00", `${word0}code 0x9d is no instruction: unknown operation`],
    ["e5 10 00 00 00 00 00 00", `${word0}src_reg is 1: the only jump of this kind is may_goto (0)`],
    ["e6 00 00 00 00 00 00 00", `${word0}code 0xe6 is no instruction: unknown operation`],
    ["f5 00 00 00 00 00 00 00", `${word0}code 0xf5 is no instruction: unknown operation`],
    // loads and stores
    [
      "00 00 00 00 00 00 00 00",
      `${word0}code 0x00 is no instruction: unknown size of a 64-bit immediate load`,
    ],
    ["38 00 00 00 00 00 00 00", `${word0}code 0x38 is no instruction: unknown size of a packet load`],
    ["30 01 00 00 00 00 00 00", `${word0}code 0x30 has dst_reg reserved: it must be 0, and it is 1`],
    ["50 b0 00 00 00 00 00 00", `${word0}src_reg is 11, and there is no register r11`],
    ["80 00 00 00 00 00 00 00", `${word0}code 0x80 is no instruction: unknown mode of class LD`],
    ["61 21 00 00 01 00 00 00", `${word0}code 0x61 has imm reserved: it must be 0, and it is 1`],
    ["99 21 00 00 00 00 00 00", `${word0}code 0x99 is no instruction: unknown size of a sign-extending load`],
    ["21 21 00 00 00 00 00 00", `${word0}code 0x21 is no instruction: unknown mode of class LDX`],
    ["62 21 00 00 01 00 00 00", `${word0}code 0x62 has src_reg reserved: it must be 0, and it is 2`],
    ["c2 00 00 00 00 00 00 00", `${word0}code 0xc2 is no instruction: unknown mode of class ST`],
    ["63 21 00 00 01 00 00 00", `${word0}code 0x63 has imm reserved: it must be 0, and it is 1`],
    ["03 21 00 00 00 00 00 00", `${word0}code 0x03 is no instruction: unknown mode of class STX`],
    ["db 21 00 00 10 00 00 00", `${word0}imm is 0x10, which is not an atomic operation`],
    ["db 21 00 00 e0 00 00 00", `${word0}imm is 0xe0, which is not an atomic operation`],
    ["db 21 00 00 ff ff ff ff", `${word0}imm is 0xffffffff, which is not an atomic operation`],
    [
      "d3 21 00 00 00 00 00 00",
      `${word0}an atomic operation on 1 or 2 bytes: only load-acquire and store-release can do that`,
    ],
    ["db b1 00 00 00 01 00 00", `${word0}src_reg is 11, and there is no register r11`],
  ];

  it.each(cases)("%s", (hex, message) => {
    expect(refusal(hex)).toBe(message);
  });

  it("names the bytes, and is a TsbpfError with the place and the reason as fields", () => {
    const bytes = fromHex("95 00 00 00 00 00 00 00 ff 01 00 00 00 00 00 00 95 00");
    const error = (() => {
      try {
        decode(bytes);
      } catch (error) {
        return error as DecodeError;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(TsbpfError);
    expect(error?.message).toBe(
      "byte 8 (instruction word 1): code 0xff is no instruction: unknown operation\n  bytes ff 01 00 00 00 00 00 00",
    );
    expect(error).toMatchObject({
      name: "DecodeError",
      offset: 8,
      reason: "code 0xff is no instruction: unknown operation",
    });
  });

  it("reads registers from the other halves on big-endian machines", () => {
    expect(refusal("07 c0 00 00 00 00 00 00", { endian: "big" })).toContain("no register r12");
    expect(decode(fromHex("07 10 00 00 00 00 00 05"), { endian: "big" })).toEqual([
      { code: 7, dst_reg: 1, src_reg: 0, off: 0, imm: 5 },
    ]);
  });
});

describe("instructions that only the kernel makes", () => {
  it.each([
    ["71 21 00 00 00 00 00 00", "plain loads are in both forms", true],
    ["31 21 00 00 00 00 00 00", "PROBE_MEM", false],
    ["41 21 00 00 00 00 00 00", "PROBE_MEMSX", false],
    ["a1 21 00 00 00 00 00 00", "PROBE_MEM32 load", false],
    ["c1 21 00 00 00 00 00 00", "PROBE_MEM32SX", false],
    ["a3 21 00 00 00 00 00 00", "PROBE_MEM32 store", false],
    ["a2 01 00 00 05 00 00 00", "PROBE_MEM32 store of a constant", false],
    ["fb 21 00 00 00 00 00 00", "PROBE_ATOMIC", false],
    ["c2 00 00 00 00 00 00 00", "NOSPEC", false],
    ["bf 21 ff ff 00 00 00 00", "ADDR_PERCPU", false],
    ["f5 00 00 00 00 00 00 00", "TAIL_CALL", false],
    ["e5 10 05 00 07 00 00 00", "CALL_ARGS", false],
    ["07 0b 00 00 05 00 00 00", "r11", false],
    ["18 41 00 00 05 00 00 00 00 00 00 00 02 00 00 00", "the address of a function with its index", false],
    ["85 10 05 00 07 00 00 00", "a call with its distance in off", false],
  ])("%s: %s", (hex, _name, uapi) => {
    const bytes = fromHex(hex);
    expect(encode(decode(bytes, { form: "xlated" }))).toEqual(bytes);
    if (uapi) expect(encode(decode(bytes))).toEqual(bytes);
    else expect(() => decode(bytes)).toThrow(DecodeError);
  });
});

describe("any bytes at all", () => {
  const options = fc.record({
    endian: fc.constantFrom("little" as const, "big" as const),
    form: fc.constantFrom("uapi" as const, "xlated" as const),
  });

  it("are decoded and encoded again to the same, or refused with a DecodeError inside them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), options, (bytes, options) => {
        decodeOrRefuse(bytes, options);
      }),
      { numRuns: 5_000 },
    );
  });

  it("that are nearly instructions, too", () => {
    const vector = fc.constantFrom(...instructionVectors.map(({ little }) => little));
    const flip = fc.record({ at: fc.nat(15), bit: fc.nat(7), times: fc.nat(2) });
    let decoded = 0;
    fc.assert(
      fc.property(fc.array(vector, { minLength: 1, maxLength: 4 }), flip, options, (words, flip, options) => {
        const bytes = Uint8Array.from(words.flatMap((word) => [...word]));
        const at = flip.at % bytes.length;
        for (let n = 0; n < flip.times; n++) {
          bytes[(at + n) % bytes.length] = (bytes[(at + n) % bytes.length] ?? 0) ^ (1 << flip.bit);
        }
        if (decodeOrRefuse(bytes, options)) decoded++;
      }),
      { numRuns: 5_000 },
    );
    expect(decoded).toBeGreaterThan(500);
  });

  it("from inside a larger buffer", () => {
    const buffer = new Uint8Array(32).fill(0xff);
    buffer.set(fromHex("95 00 00 00 00 00 00 00"), 9);
    expect(decode(buffer.subarray(9, 17))).toEqual([{ code: 0x95, dst_reg: 0, src_reg: 0, off: 0, imm: 0 }]);
  });

  it("a megabyte, in the time that a test has", () => {
    const bytes = new Uint8Array(1 << 20);
    for (let at = 0; at < bytes.length; at += 8) bytes.set(fromHex("0f 21 00 00 00 00 00 00"), at);
    expect(decode(bytes).length).toBe(bytes.length / 8);
  });

  function decodeOrRefuse(bytes: Uint8Array, options: DecodeOptions): boolean {
    const before = bytes.slice();
    try {
      const insns = decode(bytes, options);
      expect(encode(insns, options.endian)).toEqual(before);
      expect(decode(encode(insns, options.endian), options)).toEqual(insns);
      return true;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      expect(error.offset % 8).toBe(0);
      expect(error.offset).toBeLessThan(bytes.length);
      return false;
    }
  }
});
