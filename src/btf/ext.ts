/**
 * The record arrays that go with a program's BTF: which function starts where, which source line an instruction came
 * from. `BPF_PROG_LOAD` takes them as bare arrays; an object file keeps the same records in its `.BTF.ext` section.
 *
 * ```
 * struct bpf_func_info (8 bytes)      struct bpf_line_info (16 bytes)
 *  0 u32 insn_off                      0 u32 insn_off
 *  4 u32 type_id                       4 u32 file_name_off
 *                                      8 u32 line_off        text of the line
 *                                     12 u32 line_col        31-10: line   9-0: column
 * ```
 *
 * Source: `include/uapi/linux/bpf.h`, `check_btf_func` and `check_btf_line` in the kernel.
 */

import { BtfError } from "./error.ts";
import type { BtfTypeId, ByteOrder } from "./type.ts";

/** Where a function starts (Linux 4.20). */
export interface FuncInfo {
  /** First instruction of the function, counted in 8-byte slots from the start of the program. */
  readonly insn_off: number;
  /** A `func`. */
  readonly type_id: BtfTypeId;
}

/** The source line of an instruction, and of those after it up to the next record (Linux 5.0). */
export interface LineInfo {
  /** Instruction, counted in 8-byte slots from the start of the program. */
  readonly insn_off: number;
  /** The file's name, as an offset in the string section. */
  readonly file_name_off: number;
  /** The line's text, as an offset in the string section. */
  readonly line_off: number;
  /** Line number, from 1; at most {@link MAX_LINE}. */
  readonly line: number;
  /** Column, from 1; 0 if unknown. What is beyond {@link MAX_COLUMN} is written as that. */
  readonly column: number;
}

/** `func_info_rec_size`. */
export const FUNC_INFO_SIZE = 8;
/** `line_info_rec_size`. */
export const LINE_INFO_SIZE = 16;
/** Highest line number that 22 bits hold. */
export const MAX_LINE: number = 2 ** 22 - 1;
/** Highest column that 10 bits hold. */
export const MAX_COLUMN: number = 2 ** 10 - 1;

/**
 * The `func_info` of a program: one record for each of its functions, the first at instruction 0.
 *
 * @throws BtfError if the first record is not at 0, or the offsets do not rise.
 */
export function encodeFuncInfo(records: readonly FuncInfo[], byteOrder: ByteOrder = "little"): Uint8Array {
  const words: number[] = [];
  if (records[0] !== undefined && records[0].insn_off !== 0) {
    throw new BtfError(`the first func_info record is at instruction ${records[0].insn_off}, not 0`);
  }
  checkRising("func_info", records);
  for (const { insn_off, type_id } of records) words.push(insn_off, type_id);
  return encodeWords(words, byteOrder);
}

/**
 * The `line_info` of a program. The kernel wants a record for the first instruction of each function, and none for
 * the second slot of an `lddw`.
 *
 * @throws BtfError if the offsets do not rise, or a line number is beyond {@link MAX_LINE}.
 */
export function encodeLineInfo(records: readonly LineInfo[], byteOrder: ByteOrder = "little"): Uint8Array {
  const words: number[] = [];
  checkRising("line_info", records);
  for (const [index, { insn_off, file_name_off, line_off, line, column }] of records.entries()) {
    if (!Number.isInteger(line) || line < 0 || line > MAX_LINE) {
      throw new BtfError(`line_info record ${index}: line ${line} is not within 0 and ${MAX_LINE}`);
    }
    const shown = Math.min(Math.max(0, Math.trunc(column)), MAX_COLUMN);
    words.push(insn_off, file_name_off, line_off, line * 2 ** 10 + shown);
  }
  return encodeWords(words, byteOrder);
}

/**
 * Reads a `func_info` array, as `BPF_OBJ_GET_INFO_BY_FD` gives it.
 *
 * @param recordSize bytes from one record to the next; what a newer kernel appends to a record is skipped.
 * @throws BtfError if the array is no whole number of records, or `recordSize` is too small for one.
 */
export function decodeFuncInfo(
  bytes: Uint8Array,
  { recordSize = FUNC_INFO_SIZE, byteOrder = "little" }: DecodeInfoOptions = {},
): FuncInfo[] {
  return decodeRecords("func_info", bytes, FUNC_INFO_SIZE, recordSize, byteOrder, (word) => ({
    insn_off: word(0),
    type_id: word(1),
  }));
}

/**
 * Reads a `line_info` array, as `BPF_OBJ_GET_INFO_BY_FD` gives it.
 *
 * @param recordSize bytes from one record to the next; what a newer kernel appends to a record is skipped.
 * @throws BtfError if the array is no whole number of records, or `recordSize` is too small for one.
 */
export function decodeLineInfo(
  bytes: Uint8Array,
  { recordSize = LINE_INFO_SIZE, byteOrder = "little" }: DecodeInfoOptions = {},
): LineInfo[] {
  return decodeRecords("line_info", bytes, LINE_INFO_SIZE, recordSize, byteOrder, (word) => ({
    insn_off: word(0),
    file_name_off: word(1),
    line_off: word(2),
    line: word(3) >>> 10,
    column: word(3) & MAX_COLUMN,
  }));
}

/** How an array of records is laid out. */
export interface DecodeInfoOptions {
  readonly recordSize?: number;
  readonly byteOrder?: ByteOrder;
}

function checkRising(what: string, records: readonly { readonly insn_off: number }[]): void {
  let previous = -1;
  for (const [index, { insn_off }] of records.entries()) {
    if (!Number.isInteger(insn_off) || insn_off <= previous) {
      const before = index === 0 ? "" : `, after one at ${previous}`;
      throw new BtfError(
        `${what} record ${index} is at instruction ${insn_off}${before}: offsets must rise from 0`,
      );
    }
    previous = insn_off;
  }
}

function encodeWords(words: readonly number[], byteOrder: ByteOrder): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word, byteOrder === "little");
  return bytes;
}

function decodeRecords<Record>(
  what: string,
  bytes: Uint8Array,
  minimum: number,
  recordSize: number,
  byteOrder: ByteOrder,
  read: (word: (index: number) => number) => Record,
): Record[] {
  if (recordSize < minimum) {
    throw new BtfError(`${what} records of ${recordSize} bytes: they have at least ${minimum}`);
  }
  if (bytes.length % recordSize !== 0) {
    throw new BtfError(`${what} of ${bytes.length} bytes is no whole number of ${recordSize}-byte records`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Record[] = [];
  for (let at = 0; at < bytes.length; at += recordSize) {
    records.push(read((index) => view.getUint32(at + index * 4, byteOrder === "little")));
  }
  return records;
}
