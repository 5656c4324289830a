import {
  BPF_ADD,
  BPF_AND,
  BPF_ARSH,
  BPF_B,
  BPF_CALL,
  BPF_DIV,
  BPF_DW,
  BPF_EXIT,
  BPF_H,
  BPF_JA,
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JMP,
  BPF_JMP32,
  BPF_JNE,
  BPF_JSET,
  BPF_JSGE,
  BPF_JSGT,
  BPF_JSLE,
  BPF_JSLT,
  BPF_LSH,
  BPF_MOD,
  BPF_MOV,
  BPF_MUL,
  BPF_OR,
  BPF_RSH,
  BPF_SUB,
  BPF_W,
  BPF_X,
  BPF_XOR,
} from "../uapi/bpf.ts";

/**
 * Where instructions come from: `uapi` are those that a program may consist of; `xlated` adds the ones that only the
 * kernel makes, as a dump of a loaded program shows them (`bpftool prog dump xlated`).
 */
export type InsnForm = "uapi" | "xlated";

// Instructions that only the kernel makes (include/linux/filter.h); no UAPI header has them.

/** Mode of loads that yield 0 where the address is bad. */
export const BPF_PROBE_MEM = 0x20;
/** {@link BPF_PROBE_MEM} that extends the sign. */
export const BPF_PROBE_MEMSX = 0x40;
/** Mode of loads and stores through a 32-bit arena pointer. */
export const BPF_PROBE_MEM32 = 0xa0;
/** {@link BPF_PROBE_MEM32} that extends the sign. */
export const BPF_PROBE_MEM32SX = 0xc0;
/** Mode of atomic operations through a 32-bit arena pointer. */
export const BPF_PROBE_ATOMIC = 0xe0;
/** Mode, in class ST, of the barrier against speculation. */
export const BPF_NOSPEC = 0xc0;
/** Jump operation of `bpf_tail_call`. */
export const BPF_TAIL_CALL = 0xf0;
/** `off` of the move that adds the base of this CPU's variables. */
export const BPF_ADDR_PERCPU = -1;

/** The operation of an arithmetic or jump code. */
export function opOf(code: number): number {
  return code & 0xf0;
}

/** The mode of a load or store code. */
export function modeOf(code: number): number {
  return code & 0xe0;
}

/** The size of a load or store code: `BPF_W`, `BPF_H`, `BPF_B` or `BPF_DW`. */
export function sizeOf(code: number): number {
  return code & 0x18;
}

/** Whether `off` of an instruction with this code is the distance of a jump. */
export function isShortJump(code: number): boolean {
  const op = opOf(code);
  const isJump = (code & 0x07) === BPF_JMP || ((code & 0x07) === BPF_JMP32 && op !== BPF_JA);
  return (
    isJump &&
    op !== BPF_CALL &&
    op !== BPF_EXIT &&
    op !== BPF_TAIL_CALL &&
    code !== (BPF_JMP | BPF_JA | BPF_X)
  );
}

/** Bits that a load or store moves, by {@link sizeOf}. */
export const SIZE_BITS: ReadonlyMap<number, number> = new Map([
  [BPF_B, 8],
  [BPF_H, 16],
  [BPF_W, 32],
  [BPF_DW, 64],
]);

/** Assignment operators as disassemblers write them, by operation. */
export const ALU_OPERATORS: ReadonlyMap<number, string> = new Map([
  [BPF_ADD, "+="],
  [BPF_SUB, "-="],
  [BPF_MUL, "*="],
  [BPF_DIV, "/="],
  [BPF_OR, "|="],
  [BPF_AND, "&="],
  [BPF_LSH, "<<="],
  [BPF_RSH, ">>="],
  [BPF_MOD, "%="],
  [BPF_XOR, "^="],
  [BPF_MOV, "="],
  [BPF_ARSH, "s>>="],
]);

/** Comparison operators as disassemblers write them, by jump operation. */
export const JUMP_OPERATORS: ReadonlyMap<number, string> = new Map([
  [BPF_JEQ, "=="],
  [BPF_JGT, ">"],
  [BPF_JLT, "<"],
  [BPF_JGE, ">="],
  [BPF_JLE, "<="],
  [BPF_JSET, "&"],
  [BPF_JNE, "!="],
  [BPF_JSGT, "s>"],
  [BPF_JSLT, "s<"],
  [BPF_JSGE, "s>="],
  [BPF_JSLE, "s<="],
]);

/** Names of the atomic operations that can fetch, by operation. */
export const ATOMIC_NAMES: ReadonlyMap<number, string> = new Map([
  [BPF_ADD, "add"],
  [BPF_OR, "or"],
  [BPF_AND, "and"],
  [BPF_XOR, "xor"],
]);
