import type { Helper } from "../uapi/helper.ts";
import { AssembleError } from "./errors.ts";
import type { MapDef } from "./map-def.ts";
import type { Subprogram } from "./program.ts";
import { captureSource, type SourceRef } from "./source-position.ts";

declare const label: unique symbol;
declare const use: unique symbol;

/**
 * One instruction, as an immutable value with the kernel's field names (`struct bpf_insn`).
 *
 * ```text
 *   63            32 31          16 15     12 11      8 7             0     little-endian word
 *  +----------------+--------------+---------+---------+---------------+
 *  |      imm       |     off      | src_reg | dst_reg |     code      |
 *  +----------------+--------------+---------+---------+---------------+
 * ```
 *
 * A 64-bit immediate load (`lddw`) takes two such words; the `imm` of the second one is `next_imm`.
 *
 * @typeParam Label - names of the blocks it jumps to.
 * @typeParam Use - names of the helpers it calls, checked against the program type that it is put into.
 */
export interface Insn<Label extends string = string, Use extends string = string> {
  /** Operation code: class, and source or size, and operation or mode. */
  readonly code: number;
  /** Destination register number, 0 to 10. */
  readonly dst_reg: number;
  /** Source register number, or a sub-code of calls and 64-bit loads. */
  readonly src_reg: number;
  /** Signed 16-bit offset: bytes for memory, instructions for jumps, sub-code of some ALU operations. */
  readonly off: number;
  /** Signed 32-bit immediate. */
  readonly imm: number;
  /** Signed 32-bit immediate of the second word; only for 64-bit immediate loads. */
  readonly next_imm?: number;
  /** What `off` or `imm` stands for until assembly or loading fills it in. */
  readonly ref?: InsnRef;
  /** The line of TypeScript that wrote it. */
  readonly source?: SourceRef | undefined;
  readonly [label]?: Label;
  readonly [use]?: Use;
}

/** What an instruction refers to by name or by value. */
export type InsnRef =
  /** A block of the same program; `off` (or the `imm` of `gotol`) becomes its distance in instructions. */
  | { readonly kind: "label"; readonly name: string }
  /** The blocks that an indirect jump may go to. */
  | { readonly kind: "labels"; readonly names: readonly string[] }
  /** `imm` is what puts these 4 bytes into memory; the assembler orders them for the target machine. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** A helper; its id is already in `imm`. */
  | { readonly kind: "helper"; readonly helper: Helper }
  /** A kernel function by its BTF name; the loader fills in the BTF id. */
  | { readonly kind: "kfunc"; readonly name: string }
  /** A call of another function of the program. */
  | { readonly kind: "subprogram"; readonly subprogram: Subprogram }
  /** The address of another function of the program, for helpers that take a callback. */
  | { readonly kind: "callback"; readonly subprogram: Subprogram }
  /** A map, or the address `offset` bytes into the value of a map's only entry; the loader fills in the fd. */
  | { readonly kind: "map"; readonly map: MapDef; readonly value: boolean }
  /** A kernel variable or per-CPU variable by its BTF name; the loader fills in the BTF id. */
  | { readonly kind: "ksym"; readonly name: string };

/** The numbers of an instruction. */
export type InsnFields = Pick<Insn, "code"> &
  Partial<Omit<Insn, "code" | "source" | typeof label | typeof use>>;

/**
 * Builds an instruction from its raw fields, range-checked. The mnemonics are built on it; use it to write an
 * instruction that has none.
 *
 * @throws AssembleError when a field does not fit.
 */
export function insn<Label extends string = never, Use extends string = never>(
  fields: InsnFields,
): Insn<Label, Use> {
  const { code, dst_reg = 0, src_reg = 0, off = 0, imm = 0, next_imm, ref } = fields;
  checkRange("code", code, 0, 0xff);
  checkRange("dst_reg", dst_reg, 0, 15);
  checkRange("src_reg", src_reg, 0, 15);
  checkRange("off", off, -0x8000, 0x7fff);
  checkRange("imm", imm, -0x8000_0000, 0x7fff_ffff);
  const source = captureSource(4); // this function, a mnemonic, and whoever used it: a macro of ours uses withSource
  if (next_imm === undefined && ref === undefined) return { code, dst_reg, src_reg, off, imm, source };
  if (next_imm === undefined) return { code, dst_reg, src_reg, off, imm, ref: ref as InsnRef, source };
  checkRange("next_imm", next_imm, -0x8000_0000, 0x7fff_ffff);
  if (ref === undefined) return { code, dst_reg, src_reg, off, imm, next_imm, source };
  return { code, dst_reg, src_reg, off, imm, next_imm, ref, source };
}

/**
 * Refuses a number that is not an integer in `min..max`.
 *
 * @throws AssembleError naming the field, the number, the range and the line that called.
 */
export function checkRange(field: string, value: number, min: number, max: number, hint?: string): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  const source = captureSource()?.position();
  throw new AssembleError(
    `${field} is ${value}, which is not an integer from ${min} to ${max}`,
    { source },
    hint,
  );
}
