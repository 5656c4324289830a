import { BPF_CALL, BPF_JMP, BPF_PSEUDO_CALL, BPF_PSEUDO_KFUNC_CALL, BPF_X } from "../uapi/bpf.ts";
import type { Helper } from "../uapi/helper.ts";
import { type Insn, insn } from "./insn.ts";
import type { Subprogram } from "./program.ts";
import type { Register } from "./register.ts";

/** A kernel function that programs may call, by its BTF name. */
export interface Kfunc {
  readonly kind: "kfunc";
  readonly name: string;
}

/** What {@link call} can call. */
export type Callee = Helper | Subprogram | Kfunc;

/** The helpers that a call needs from the program type. */
export type UsesOf<Target> =
  Target extends Helper<infer Name> ? Name : Target extends Subprogram<infer Use> ? Use : never;

/**
 * Calls a helper, a subprogram or a kernel function: arguments in r1 to r5, the result in r0; r1 to r5 are lost, r6 to r9
 * are kept (RFC 9669, section 4.3.1).
 *
 * A helper that the program type may not call is a compile-time error of the program that the call is put into.
 */
export function call<const Target extends Callee>(callee: Target): Insn<never, UsesOf<Target>> {
  const code = BPF_JMP | BPF_CALL;
  switch (callee.kind) {
    case "helper":
      return insn({ code, imm: callee.id, ref: { kind: "helper", helper: callee } });
    case "subprogram":
      return insn({
        code,
        src_reg: BPF_PSEUDO_CALL,
        imm: -1,
        ref: { kind: "subprogram", subprogram: callee },
      });
    case "kfunc":
      return insn({ code, src_reg: BPF_PSEUDO_KFUNC_CALL, ref: { kind: "kfunc", name: callee.name } });
  }
}

/**
 * Calls the function whose address is in a register. Compilers emit it and kernels refuse it so far. The register stands
 * in `dst_reg`, as LLVM 19 and GCC have it; older LLVM put it into `imm`.
 */
export function callx(target: Register): Insn<never, never> {
  return insn({ code: BPF_JMP | BPF_CALL | BPF_X, dst_reg: target.number });
}

/**
 * Names a kernel function (kfunc) for {@link call}, of the kernel (5.13) or of a module (5.16). The loader looks its BTF id up on
 * the running kernel.
 */
export function kfunc(name: string): Kfunc {
  return Object.freeze({ kind: "kfunc", name });
}
