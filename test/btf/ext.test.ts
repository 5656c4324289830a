import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BtfError } from "../../src/btf/error.ts";
import {
  decodeFuncInfo,
  decodeLineInfo,
  encodeFuncInfo,
  encodeLineInfo,
  MAX_COLUMN,
  MAX_LINE,
} from "../../src/btf/ext.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("func_info", () => {
  const records = [
    { insn_off: 0, type_id: 7 },
    { insn_off: 0x12, type_id: 0x304 },
  ];

  test("is insn_off, type_id", () => {
    expect(hex(encodeFuncInfo(records))).toBe("00000000070000001200000004030000");
    expect(hex(encodeFuncInfo(records, "big"))).toBe("00000000000000070000001200000304");
    expect(encodeFuncInfo([])).toHaveLength(0);
  });

  test("comes back", () => {
    expect(decodeFuncInfo(encodeFuncInfo(records))).toEqual(records);
    expect(decodeFuncInfo(encodeFuncInfo(records, "big"), { byteOrder: "big" })).toEqual(records);
  });

  test("the first function is at 0, the others behind it", () => {
    expect(() => encodeFuncInfo([{ insn_off: 1, type_id: 7 }])).toThrow(
      "the first func_info record is at instruction 1, not 0",
    );
    expect(() => encodeFuncInfo([...records, { insn_off: 0x12, type_id: 7 }])).toThrow(
      "func_info record 2 is at instruction 18, after one at 18: offsets must rise from 0",
    );
  });
});

describe("line_info", () => {
  const record = { insn_off: 3, file_name_off: 5, line_off: 9, line: 12, column: 34 };

  test("is insn_off, file_name_off, line_off, line << 10 | column", () => {
    expect(hex(encodeLineInfo([record]))).toBe("03000000050000000900000022300000");
    expect(hex(encodeLineInfo([record], "big"))).toBe("00000003000000050000000900003022");
  });

  test("the highest line and column", () => {
    const last = { ...record, line: MAX_LINE, column: MAX_COLUMN };
    expect(hex(encodeLineInfo([last])).slice(-8)).toBe("ffffffff");
    expect(decodeLineInfo(encodeLineInfo([last]))).toEqual([last]);
  });

  test("a column that does not fit is cut to what does, a line is refused", () => {
    expect(decodeLineInfo(encodeLineInfo([{ ...record, column: 5000 }]))[0]?.column).toBe(1023);
    expect(decodeLineInfo(encodeLineInfo([{ ...record, column: -1 }]))[0]?.column).toBe(0);
    for (const line of [2 ** 22, -1, 1.5, Number.NaN]) {
      expect(() => encodeLineInfo([{ ...record, line }])).toThrow(
        `line_info record 0: line ${line} is not within 0 and 4194303`,
      );
    }
  });

  test("instruction offsets rise", () => {
    expect(() => encodeLineInfo([record, { ...record, insn_off: 2 }])).toThrow(BtfError);
    expect(() => encodeLineInfo([{ ...record, insn_off: -1 }])).toThrow(
      "line_info record 0 is at instruction -1: offsets must rise from 0",
    );
  });

  test("any records come back, from any alignment and byte order", () => {
    const u32 = fc.nat(0xffff_ffff);
    const records = fc
      .uniqueArray(
        fc.record({
          insn_off: fc.nat(1_000_000),
          file_name_off: u32,
          line_off: u32,
          line: fc.nat(MAX_LINE),
          column: fc.nat(MAX_COLUMN),
        }),
        { selector: ({ insn_off }) => insn_off },
      )
      .map((list) => list.sort((a, b) => a.insn_off - b.insn_off));
    const byteOrder = fc.constantFrom("little", "big");
    fc.assert(
      fc.property(records, byteOrder, fc.nat(3), (list, byteOrder, shift) => {
        const bytes = encodeLineInfo(list, byteOrder);
        const shifted = new Uint8Array(bytes.length + shift);
        shifted.set(bytes, shift);
        expect(decodeLineInfo(shifted.subarray(shift), { byteOrder })).toEqual(list);
      }),
    );
  });
});

describe("arrays from another kernel", () => {
  test("longer records are read as far as they are known", () => {
    const bytes = new Uint8Array(Uint32Array.from([1, 2, 99, 3, 4, 99]).buffer);
    expect(decodeFuncInfo(bytes, { recordSize: 12 })).toEqual([
      { insn_off: 1, type_id: 2 },
      { insn_off: 3, type_id: 4 },
    ]);
  });

  test("what is no array of records is refused", () => {
    expect(() => decodeFuncInfo(new Uint8Array(12))).toThrow(
      "func_info of 12 bytes is no whole number of 8-byte records",
    );
    expect(() => decodeLineInfo(new Uint8Array(16), { recordSize: 8 })).toThrow(
      "line_info records of 8 bytes: they have at least 16",
    );
    expect(() => decodeFuncInfo(new Uint8Array(16), { recordSize: 0 })).toThrow(BtfError);
  });
});
