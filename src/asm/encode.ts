import { BPF_DW, BPF_IMM, BPF_LD } from "../uapi/bpf.ts";
import { AssembleError } from "./errors.ts";
import type { Insn } from "./insn.ts";

/** Byte order of the machine that runs the program. */
export type Endian = "little" | "big";

/** Bytes of one instruction word. */
export const INSN_SIZE = 8;

/** Code of the 64-bit immediate load, the only instruction of two words. */
export const LDDW: number = BPF_LD | BPF_IMM | BPF_DW;

/** Instruction words that an instruction takes: 2 for a 64-bit immediate load, else 1. */
export function wordsOf(insn: Pick<Insn, "code">): 1 | 2 {
  return insn.code === LDDW ? 2 : 1;
}

/**
 * Encodes instructions as they stand, without resolving labels or references (RFC 9669, section 3).
 *
 * @param endian - also decides which half of the second byte is `dst_reg`: the low one on little-endian machines.
 * @returns 8 bytes a word.
 * @throws AssembleError for a field that does not fit: nothing is cut off.
 */
export function encode(insns: readonly Insn[], endian: Endian = "little"): Uint8Array {
  let words = 0;
  for (const insn of insns) words += wordsOf(insn);
  const bytes = new Uint8Array(words * INSN_SIZE);
  const view = new DataView(bytes.buffer);
  const little = endian === "little";
  let at = 0;
  for (const insn of insns) {
    const { code, dst_reg, src_reg, off, imm, next_imm = 0 } = insn;
    if (!fits(insn)) throw unfit(insn, at / INSN_SIZE);
    view.setUint8(at, code);
    view.setUint8(at + 1, little ? (src_reg << 4) | dst_reg : (dst_reg << 4) | src_reg);
    view.setInt16(at + 2, off, little);
    view.setInt32(at + 4, imm, little);
    at += INSN_SIZE;
    if (code === LDDW) {
      view.setInt32(at + 4, next_imm, little); // code, registers and offset of the second word are zero
      at += INSN_SIZE;
    }
  }
  return bytes;
}

function fits({ code, dst_reg, src_reg, off, imm, next_imm = 0 }: Insn): boolean {
  return (
    (code & 0xff) === code &&
    (dst_reg & 0x0f) === dst_reg &&
    (src_reg & 0x0f) === src_reg &&
    (off << 16) >> 16 === off &&
    (imm | 0) === imm &&
    (next_imm | 0) === next_imm
  );
}

function unfit(insn: Insn, word: number): AssembleError {
  const { code, dst_reg, src_reg, off, imm, next_imm } = insn;
  return new AssembleError(
    `instruction word ${word} has a field that does not fit: ${JSON.stringify({ code, dst_reg, src_reg, off, imm, next_imm })}`,
    { source: insn.source?.position() },
  );
}
