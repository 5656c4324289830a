import { createHash } from "node:crypto";
import { type AssembledInsn, assemble } from "../asm/assemble.ts";
import { encode } from "../asm/encode.ts";
import type { Insn } from "../asm/insn.ts";
import type { Program } from "../asm/program.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { createKfuncCalls, type KfuncCalls } from "./kfunc.ts";
import { ksymId } from "./vmlinux.ts";

/** The tag of one program by both of the hashes that kernels use, 16 hex digits each. */
export interface ProgramTags {
  /** From kernel 6.18 on. */
  readonly sha256: string;
  /** Before. */
  readonly sha1: string;
}

/**
 * Computes the tag that the kernel will give a program, without loading it: the first 8 bytes of a hash of its instructions,
 * with zeros for what refers to maps (`bpf_prog_calc_tag()` in kernel/bpf/core.c). Programs that differ only in their maps,
 * name or BTF have the same one. Kernel functions and variables have other numbers on each kernel: with those in it, the tag
 * is that on the running kernel.
 *
 * @throws AssembleError when it cannot be assembled; TsbpfError where the running kernel lacks a function or variable.
 * @example
 * ```ts
 * const drop = xdp("drop", { entry: [mov32(r0, XDP_DROP), exit()] });
 * const isDrop = Object.values(programTags(drop)).includes(prog.info().tag);
 * ```
 */
export function programTags(program: Program): ProgramTags {
  const endian = LITTLE_ENDIAN ? "little" : "big";
  const kfuncs = createKfuncCalls();
  const insns = assemble(program, { endian }).lines.map((line) => withoutMaps(line, kfuncs));
  const bytes = encode(insns, endian);
  const tag = (hash: string): string => createHash(hash).update(bytes).digest("hex").slice(0, 16);
  return { sha256: tag("sha256"), sha1: tag("sha1") };
}

function withoutMaps({ insn }: AssembledInsn, kfuncs: KfuncCalls): Insn {
  switch (insn.ref?.kind) {
    case "map":
      return { ...insn, imm: 0, next_imm: 0 };
    case "kfunc":
      return { ...insn, ...kfuncs.call(insn.ref.name) };
    case "ksym":
      return { ...insn, imm: ksymId(insn.ref.name) };
    default:
      return insn;
  }
}
