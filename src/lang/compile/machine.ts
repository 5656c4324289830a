import type { InsnFields } from "../../asm/insn.ts";
import type { SourceRef } from "../../asm/source-position.ts";
import type { IrFunction, IrSlot } from "../ir/ir.ts";

/** A register: 0 to 10 are the machine's, higher numbers are still to be given one. */
export type Reg = number;

/** r10. */
export const FRAME: Reg = 10;
/** The first number that is no machine register. */
export const FIRST_VIRTUAL: Reg = 16;

/** An instruction whose registers may be virtual. */
export interface MachineInsn {
  /** Everything but the registers. */
  readonly fields: Omit<InsnFields, "dst_reg" | "src_reg">;
  /** What stands in `dst_reg` and `src_reg`; a number of a sub-code is in `fixedSrc`. */
  dst: Reg | undefined;
  src: Reg | undefined;
  readonly fixedSrc?: number;
  /** Registers whose content it uses and gives, `dst` and `src` included. */
  uses: Reg[];
  defs: Reg[];
  /** True for a plain copy of 64 bits, which goes away where both are one register. */
  readonly copy: boolean;
  /** The block that it jumps to. */
  readonly to?: MachineBlock;
  /** Where its `off` or `imm` counts from: an object of the stack frame. */
  readonly slot?: IrSlot;
  /** A function of the language that it calls or whose address it loads. */
  readonly fn?: IrFunction;
  readonly source: SourceRef | undefined;
}

/** A run of instructions. Where it goes is in its jumps, and in `next` behind its last one. */
export interface MachineBlock {
  readonly hint: string;
  insns: MachineInsn[];
  /** Where it goes on if no jump is taken. */
  next: MachineBlock | undefined;
  /** How many loops it is in. */
  readonly depth: number;
}

/** Where a block may go next. */
export function ways(block: MachineBlock): readonly MachineBlock[] {
  const to = block.insns.flatMap((insn) => insn.to ?? []);
  return block.next === undefined ? to : [...to, block.next];
}
