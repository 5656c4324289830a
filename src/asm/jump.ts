import {
  BPF_EXIT,
  BPF_JA,
  BPF_JCOND,
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
  BPF_K,
  BPF_X,
} from "../uapi/bpf.ts";
import { type Insn, insn } from "./insn.ts";
import { type Fits32, imm32, type Operand } from "./operand.ts";
import type { Register } from "./register.ts";

// Jumps (RFC 9669, section 4.3): the same byte layout as arithmetic, with class JMP (64-bit comparison) or JMP32. `off`
// counts instruction words from the one behind the jump; `gotol` (class JMP32, operation JA) has its distance in `imm`.

/**
 * A conditional jump `if dst op src goto label`. The label is the name of a block of the same program.
 *
 * A constant is sign-extended to 64 bits where 64 bits are compared.
 *
 * @throws AssembleError when the constant does not fit.
 */
export type ConditionalJump = <const Source extends Operand, const Label extends string>(
  dst: Register,
  src: Source & Fits32<Source>,
  label: Label,
) => Insn<Label, never>;

/** Jumps where `dst == src`, 64 bits. */
export const jeq: ConditionalJump = conditional(BPF_JMP, BPF_JEQ);
/** Jumps where `dst != src`, 64 bits. */
export const jne: ConditionalJump = conditional(BPF_JMP, BPF_JNE);
/** Jumps where `dst > src`, unsigned 64 bits. */
export const jgt: ConditionalJump = conditional(BPF_JMP, BPF_JGT);
/** Jumps where `dst >= src`, unsigned 64 bits. */
export const jge: ConditionalJump = conditional(BPF_JMP, BPF_JGE);
/** Jumps where `dst < src`, unsigned 64 bits. Kernel 4.14. */
export const jlt: ConditionalJump = conditional(BPF_JMP, BPF_JLT);
/** Jumps where `dst <= src`, unsigned 64 bits. Kernel 4.14. */
export const jle: ConditionalJump = conditional(BPF_JMP, BPF_JLE);
/** Jumps where `dst & src` is not 0, 64 bits. */
export const jset: ConditionalJump = conditional(BPF_JMP, BPF_JSET);
/** Jumps where `dst > src`, signed 64 bits. */
export const jsgt: ConditionalJump = conditional(BPF_JMP, BPF_JSGT);
/** Jumps where `dst >= src`, signed 64 bits. */
export const jsge: ConditionalJump = conditional(BPF_JMP, BPF_JSGE);
/** Jumps where `dst < src`, signed 64 bits. Kernel 4.14. */
export const jslt: ConditionalJump = conditional(BPF_JMP, BPF_JSLT);
/** Jumps where `dst <= src`, signed 64 bits. Kernel 4.14. */
export const jsle: ConditionalJump = conditional(BPF_JMP, BPF_JSLE);

/** Jumps where `wdst == wsrc`, 32 bits. Kernel 5.1, like all 32-bit jumps. */
export const jeq32: ConditionalJump = conditional(BPF_JMP32, BPF_JEQ);
/** Jumps where `wdst != wsrc`, 32 bits. */
export const jne32: ConditionalJump = conditional(BPF_JMP32, BPF_JNE);
/** Jumps where `wdst > wsrc`, unsigned 32 bits. */
export const jgt32: ConditionalJump = conditional(BPF_JMP32, BPF_JGT);
/** Jumps where `wdst >= wsrc`, unsigned 32 bits. */
export const jge32: ConditionalJump = conditional(BPF_JMP32, BPF_JGE);
/** Jumps where `wdst < wsrc`, unsigned 32 bits. */
export const jlt32: ConditionalJump = conditional(BPF_JMP32, BPF_JLT);
/** Jumps where `wdst <= wsrc`, unsigned 32 bits. */
export const jle32: ConditionalJump = conditional(BPF_JMP32, BPF_JLE);
/** Jumps where `wdst & wsrc` is not 0, 32 bits. */
export const jset32: ConditionalJump = conditional(BPF_JMP32, BPF_JSET);
/** Jumps where `wdst > wsrc`, signed 32 bits. */
export const jsgt32: ConditionalJump = conditional(BPF_JMP32, BPF_JSGT);
/** Jumps where `wdst >= wsrc`, signed 32 bits. */
export const jsge32: ConditionalJump = conditional(BPF_JMP32, BPF_JSGE);
/** Jumps where `wdst < wsrc`, signed 32 bits. */
export const jslt32: ConditionalJump = conditional(BPF_JMP32, BPF_JSLT);
/** Jumps where `wdst <= wsrc`, signed 32 bits. */
export const jsle32: ConditionalJump = conditional(BPF_JMP32, BPF_JSLE);

/** Jumps always. Where the distance does not fit 16 bits it is assembled as {@link gotol}. */
export function ja<const Label extends string>(label: Label): Insn<Label, never> {
  return insn({ code: BPF_JMP | BPF_JA | BPF_K, ref: { kind: "label", name: label } });
}

/** Jumps always, with a 32-bit distance. Kernel 6.6. {@link ja} becomes it where the distance needs it. */
export function gotol<const Label extends string>(label: Label): Insn<Label, never> {
  return insn({ code: BPF_JMP32 | BPF_JA | BPF_K, ref: { kind: "label", name: label } });
}

/**
 * Jumps when the kernel's own loop budget (8 million iterations, or 250 ms) is used up, and goes on otherwise: put it at
 * the head of a loop that the verifier cannot bound, with the way out as label. Kernel 6.9.
 */
export function mayGoto<const Label extends string>(label: Label): Insn<Label, never> {
  return insn({ code: BPF_JMP | BPF_JCOND, ref: { kind: "label", name: label } });
}

/**
 * Jumps to the address in a register, which the program has read from a map of type `insn_array`. Kernel 6.19.
 *
 * @param labels - every block that it may go to; they are what the map has to hold.
 */
export function gotox<const Label extends string>(
  target: Register,
  labels: readonly Label[],
): Insn<Label, never> {
  return insn({
    code: BPF_JMP | BPF_JA | BPF_X,
    dst_reg: target.number,
    ref: { kind: "labels", names: [...labels] },
  });
}

/** Returns r0 from the program or subprogram. */
export function exit(): Insn<never, never> {
  return insn({ code: BPF_JMP | BPF_EXIT });
}

function conditional(opClass: number, op: number): ConditionalJump {
  return <const Label extends string>(dst: Register, src: Operand, label: Label): Insn<Label, never> => {
    const ref = { kind: "label", name: label } as const;
    if (typeof src === "object") {
      return insn({ code: opClass | op | BPF_X, dst_reg: dst.number, src_reg: src.number, ref });
    }
    const imm = imm32(Number(src), opClass === BPF_JMP32);
    return insn({ code: opClass | op | BPF_K, dst_reg: dst.number, imm, ref });
  };
}
