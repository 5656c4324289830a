import type { Insn } from "../../src/asm/index.ts";
import { wordsOf } from "../../src/asm/index.ts";

const RETURN = 0x95;

/** Instructions by their offset in words. */
export type Memory = readonly (Insn | undefined)[];

/** Lays instructions out for {@link run}. */
export function load(insns: readonly Insn[]): Memory {
  const memory: (Insn | undefined)[] = [];
  for (const insn of insns) {
    memory.push(insn);
    if (wordsOf(insn) === 2) memory.push(undefined);
  }
  return memory;
}

/** Where to begin, and with what. */
export interface Start {
  readonly at?: number;
  readonly registers?: readonly bigint[];
  /** How often `may_goto` goes on before it jumps. */
  readonly budget?: number;
}

/**
 * Runs what the control-flow tests need of the machine: moves and additions of constants, jumps, `lddw` of numbers and
 * `exit`. Gives r0 at the exit.
 */
export function run(memory: Memory, start: Start = {}): bigint {
  const registers = new Array<bigint>(11).fill(0n);
  for (const [index, value] of (start.registers ?? []).entries()) registers[index] = value;
  let left = start.budget ?? 0;
  let at = start.at ?? 0;
  for (let steps = 0; steps < 200_000; steps++) {
    const insn = memory[at];
    if (insn === undefined) throw new Error(`ran to word ${at}, where no instruction is`);
    const { code, dst_reg, src_reg, off, imm } = insn;
    at += wordsOf(insn);
    if (code === RETURN) return registers[0] ?? 0n;
    if (code === 0xb7) registers[dst_reg] = BigInt(imm);
    else if (code === 0xb4) registers[dst_reg] = BigInt.asUintN(32, BigInt(imm));
    else if (code === 0x07) registers[dst_reg] = (registers[dst_reg] ?? 0n) + BigInt(imm);
    else if (code === 0x18) registers[dst_reg] = BigInt(imm);
    else if (code === 0x05) at += off;
    else if (code === 0x06) at += imm;
    else if (code === 0xe5) at += left-- > 0 ? 0 : off;
    else {
      const bits = (code & 7) === 5 ? 64 : 32;
      const right = (code & 8) === 0 ? BigInt(imm) : (registers[src_reg] ?? 0n);
      if (holds(code & 0xf0, registers[dst_reg] ?? 0n, right, bits)) at += off;
    }
  }
  throw new Error("it does not end");
}

function holds(op: number, left: bigint, right: bigint, bits: number): boolean {
  const [a, b] = [BigInt.asUintN(bits, left), BigInt.asUintN(bits, right)];
  const [c, d] = [BigInt.asIntN(bits, left), BigInt.asIntN(bits, right)];
  const results = new Map([
    [0x10, a === b],
    [0x20, a > b],
    [0x30, a >= b],
    [0x40, (a & b) !== 0n],
    [0x50, a !== b],
    [0x60, c > d],
    [0x70, c >= d],
    [0xa0, a < b],
    [0xb0, a <= b],
    [0xc0, c < d],
    [0xd0, c <= d],
  ]);
  const result = results.get(op);
  if (result === undefined) throw new Error(`the machine does not know operation ${op}`);
  return result;
}
