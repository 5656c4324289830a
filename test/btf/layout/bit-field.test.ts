import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { suggest } from "../../../src/base/suggest.ts";
import { bitFieldAccess, bitParts } from "../../../src/btf/layout/bit-field.ts";
import { bits, decode, struct, u8, u16, u32, union } from "../../../src/btf/layout/index.ts";

// What no little-endian test machine can show by its memory is shown by the parts: [byte, shift, width, valueBit].
describe("parts of a bit field, in either byte order", () => {
  const cases: readonly (readonly [
    bitOffset: number,
    width: number,
    little: readonly (readonly number[])[],
    big: readonly (readonly number[])[],
  ])[] = [
    [0, 3, [[0, 0, 3, 0]], [[0, 5, 3, 0]]],
    [3, 5, [[0, 3, 5, 0]], [[0, 0, 5, 0]]],
    [
      3,
      7,
      [
        [0, 3, 5, 0],
        [1, 0, 2, 5],
      ],
      [
        [0, 0, 5, 2],
        [1, 6, 2, 0],
      ],
    ],
    [12, 4, [[1, 4, 4, 0]], [[1, 0, 4, 0]]],
    [
      0,
      16,
      [
        [0, 0, 8, 0],
        [1, 0, 8, 8],
      ],
      [
        [0, 0, 8, 8],
        [1, 0, 8, 0],
      ],
    ],
    // A part does not go across bit 32 of the value.
    [
      4,
      36,
      [
        [0, 4, 4, 0],
        [1, 0, 8, 4],
        [2, 0, 8, 12],
        [3, 0, 8, 20],
        [4, 0, 4, 28],
        [4, 4, 4, 32],
      ],
      [
        [0, 0, 4, 32],
        [1, 0, 8, 24],
        [2, 0, 8, 16],
        [3, 0, 8, 8],
        [4, 0, 8, 0],
      ],
    ],
    [
      2,
      34,
      [
        [0, 2, 6, 0],
        [1, 0, 8, 6],
        [2, 0, 8, 14],
        [3, 0, 8, 22],
        [4, 0, 2, 30],
        [4, 2, 2, 32],
      ],
      [
        [0, 4, 2, 32],
        [0, 0, 4, 28],
        [1, 0, 8, 20],
        [2, 0, 8, 12],
        [3, 0, 8, 4],
        [4, 4, 4, 0],
      ],
    ],
  ];

  test.each(cases)("bit %i, %i wide", (bitOffset, width, little, big) => {
    const parts = (littleEndian: boolean): number[][] =>
      bitParts(bitOffset, width, littleEndian).map(({ byte, shift, width, valueBit }) => [
        byte,
        shift,
        width,
        valueBit,
      ]);
    expect(parts(true)).toEqual(little);
    expect(parts(false)).toEqual(big);
  });
});

describe("the load that contains a bit field", () => {
  const cases: readonly (readonly [
    bitOffset: number,
    width: number,
    structSize: number,
    offset: number,
    size: number,
    littleShift: number,
    bigShift: number,
  ])[] = [
    [0, 3, 4, 0, 1, 0, 5],
    [13, 3, 4, 1, 1, 5, 0],
    [5, 5, 4, 0, 2, 5, 6],
    [14, 10, 4, 0, 4, 14, 8],
    [32, 9, 8, 4, 2, 0, 7],
    [4, 40, 8, 0, 8, 4, 20],
    // In a packed struct of 3 bytes no aligned load has bits 12 to 19 and stays inside.
    [12, 8, 3, 1, 2, 4, 4],
    [60, 10, 12, 7, 2, 4, 2],
  ];

  test.each(cases)("bit %i, %i wide, in %i bytes", (bit, width, structSize, offset, size, little, big) => {
    expect(bitFieldAccess(bit, width, structSize, true)).toEqual({ offset, size, shift: little });
    expect(bitFieldAccess(bit, width, structSize, false)).toEqual({ offset, size, shift: big });
  });

  test("is where a program finds the value", () => {
    const layout = struct("s", { a: bits(u8, 3), b: bits(u32, 13), c: u16, d: bits(u32, 31) });
    const bytes = new Uint8Array(layout.size);
    const view = new DataView(bytes.buffer);
    for (const name of ["a", "b", "d"] as const) {
      const { offset, size, shift, width, write } = layout.fields[name];
      const value = 2 ** (width - 1) + 1;
      write(view, 0, value);
      const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
      const loaded = [...bytes.subarray(offset, offset + size)].reduce(
        (sum, byte, index) => sum + byte * 256 ** (little ? index : size - 1 - index),
        0,
      );
      expect(Math.floor(loaded / 2 ** shift) % 2 ** width).toBe(value);
    }
  });
});

test("Node.js shows what a union read by its members", () => {
  const value = decode(union("u", { a: u8, b: u16 }), Uint8Array.of(1, 0));
  expect(inspect({ value })).toBe("{ value: { a: 1, b: 1 } }");
});

test.each([
  ["prot", ["port", "protocol"], "Did you mean 'port'?"],
  ["PID", ["pid", "tgid"], "Did you mean 'pid'?"],
  ["counter", ["count", "total"], "Did you mean 'count'?"],
  ["x", ["saddr", "daddr"], undefined],
  ["anything", [], undefined],
])("%s among %j", (name, known, expected) => {
  expect(suggest(name, known)).toBe(expected);
});
