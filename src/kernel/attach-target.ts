import type { Program } from "../asm/program.ts";
import { TsbpfError } from "../base/error.ts";
import { suggest } from "../base/suggest.ts";
import type { Btf } from "../btf/decode.ts";
import type { BtfKind } from "../btf/kind.ts";
import type { ProgLoadAttr } from "../syscall/bpf-prog.ts";
import { SyscallError } from "../syscall/errno.ts";
import type { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { readBtfById } from "./btf-read.ts";
import { findKernelSymbol, type KernelSymbol, openModuleBtf } from "./module-btf.ts";
import { diagnosePermission } from "./privileges.ts";
import type { BpfProgram } from "./program.ts";
import { UnsupportedError } from "./unsupported.ts";
import { VerifierError } from "./verifier-error.ts";
import { vmlinuxBtf } from "./vmlinux.ts";

/**
 * What a program that is checked against its target at load will be attached to, by attach type:
 *
 * | attach type | name |
 * | --- | --- |
 * | `trace_fentry`, `trace_fexit`, `modify_return` | a kernel function: `tcp_connect` |
 * | `trace_raw_tp` | a tracepoint without its group: `sched_switch` |
 * | `trace_iter` | what to walk: `task`, `bpf_map_elem` |
 * | `lsm_mac`, `lsm_cgroup` | a security hook: `file_open` |
 * | (type `struct_ops`) | a struct and its member: `tcp_congestion_ops.ssthresh` |
 *
 * A function of another BPF program, to trace it or (type `ext`) to replace it, is named together with that program.
 */
export type AttachTo =
  | string
  | {
      /** The program, which must have BTF and stay open until the load. */
      readonly program: Pick<BpfProgram, "fd" | "name" | "info">;
      /** Its function; default the program itself. */
      readonly function?: string;
    };

/** What a load says of its target, for as long as the load takes. */
export interface ResolvedTarget extends Disposable {
  readonly attr: Pick<
    ProgLoadAttr,
    "attach_btf_id" | "attach_prog_fd" | "attach_btf_obj_fd" | "expected_attach_type"
  >;
}

/**
 * Finds the BTF id that a program is loaded for, in the kernel, in a module that is loaded, or in another program.
 *
 * @throws TsbpfError where the program needs a target and none is given, or the running kernel has none of that name.
 */
export function resolveAttachTo(
  sys: Syscalls,
  program: Program,
  target: AttachTo | undefined,
): ResolvedTarget {
  const rule = ruleOf(program);
  if (target === undefined) {
    if (rule === undefined) return held({});
    throw new TsbpfError(`program '${program.name}' is loaded for one target, and none is given`, {
      hint: `Give load the option attachTo: ${rule.what}.`,
    });
  }
  if (typeof target === "object") return held(functionOf(sys, program, target));
  if (rule === undefined || program.type === "ext") {
    throw new TsbpfError(`program '${program.name}' of type ${program.type} is not loaded for '${target}'`, {
      hint:
        program.type === "ext"
          ? "A program of type ext replaces a function of another program: attachTo: { program, function }."
          : "Its target is given when it is attached.",
    });
  }
  if (program.type === "struct_ops") return held(memberOf(program, target));
  const { id, module } = symbolOf(program, rule, target);
  if (module === undefined) return held({ attach_btf_id: id });
  const fd = openModuleBtf(sys, module);
  return held({ attach_btf_id: id, attach_btf_obj_fd: fd.number }, fd);
}

/** @param fd - what has to stay open until the program is loaded. */
function held(attr: ResolvedTarget["attr"], fd?: Fd): ResolvedTarget {
  return { attr, [Symbol.dispose]: () => fd?.close() };
}

/**
 * What EPERM without a word from the verifier means for a program that is loaded for a target, where this process has all
 * that the kernel asks for; `undefined` for another refusal.
 */
export function explainTarget(
  program: Program,
  target: AttachTo | undefined,
  cause: unknown,
): UnsupportedError | undefined {
  const rule = ruleOf(program);
  if (rule === undefined || !isBareRefusal(cause)) return undefined;
  if (diagnosePermission(["CAP_BPF", "CAP_PERFMON"]).cause !== "unexplained") return undefined;
  if (rule.trampoline !== undefined) {
    return new UnsupportedError(
      `cannot load '${program.name}': this kernel takes no ${rule.trampoline.feature}`,
      {
        ...rule.trampoline,
        needs: "permission to patch kernel code (a trampoline at the function's entry)",
        hint:
          "This process has the capabilities for it, and the kernel refuses it before the verifier runs: it was built or is " +
          "confined so (seen in virtual machines with a read-only kernel text). Tracepoints, tp_btf and iterators need no trampoline.",
        cause,
      },
    );
  }
  if (program.attachType !== "trace_iter" || typeof target !== "string") return undefined;
  return new UnsupportedError(
    `cannot load '${program.name}': this kernel takes no programs for the iterator ${target}`,
    {
      feature: `programs for the iterator ${target}`,
      hint:
        "This process has the capabilities for it, and the verifier stops before the first instruction without a word: the " +
        "kernel was built or is confined so (seen in a virtual machine, for the iterators that let a program write to the " +
        "values of maps: bpf_map_elem, bpf_sk_storage_map, sockmap). To read a map, walk its keys from user space.",
      cause,
    },
  );
}

/** EPERM for which the verifier gives no reason: it did not run, or stopped before the first instruction. */
function isBareRefusal(error: unknown): boolean {
  if (error instanceof SyscallError) return error.call === "bpf(BPF_PROG_LOAD)" && error.code === "EPERM";
  return error instanceof VerifierError && error.code === "EPERM" && error.unexplained;
}

interface Rule {
  /** What to name, for people. */
  readonly what: string;
  readonly kind: BtfKind;
  /** Put before the name to find it in BTF. */
  readonly prefix: string;
  readonly trampoline?: { readonly feature: string; readonly since: string };
}

const A_FUNCTION = { what: "the name of a kernel function", kind: "func", prefix: "" } as const;

const RULES: Readonly<Record<string, Rule>> = {
  trace_fentry: { ...A_FUNCTION, trampoline: { feature: "fentry programs", since: "5.5" } },
  trace_fexit: { ...A_FUNCTION, trampoline: { feature: "fexit programs", since: "5.5" } },
  trace_fsession: { ...A_FUNCTION, trampoline: { feature: "fsession programs", since: "7.0" } },
  modify_return: { ...A_FUNCTION, trampoline: { feature: "fmod_ret programs", since: "5.7" } },
  trace_raw_tp: {
    what: "the name of a tracepoint, without its group",
    kind: "typedef",
    prefix: "btf_trace_",
  },
  trace_iter: { what: "the name of an iterator, such as task", kind: "func", prefix: "bpf_iter_" },
  lsm_mac: {
    what: "the name of a security hook",
    kind: "func",
    prefix: "bpf_lsm_",
    trampoline: { feature: "LSM programs", since: "5.7" },
  },
  lsm_cgroup: {
    what: "the name of a security hook",
    kind: "func",
    prefix: "bpf_lsm_",
    trampoline: { feature: "LSM programs of cgroups", since: "6.0" },
  },
};

const EXT: Rule = {
  what: "{ program, function }, the function to replace",
  kind: "func",
  prefix: "",
  trampoline: { feature: "programs that replace a function of another one (freplace)", since: "5.6" },
};

const STRUCT_OPS: Rule = {
  what: "a struct of operations and its member, such as tcp_congestion_ops.ssthresh",
  kind: "struct",
  prefix: "",
};

function ruleOf({ type, attachType }: Program): Rule | undefined {
  if (type === "ext") return EXT;
  if (type === "struct_ops") return STRUCT_OPS;
  if (type !== "tracing" && type !== "lsm") return undefined;
  return RULES[attachType ?? ""];
}

function symbolOf(program: Program, { kind, prefix }: Rule, name: string): KernelSymbol {
  const found = findKernelSymbol(`${prefix}${name}`, kind);
  if (found !== undefined) return found;
  const known = namesOf(vmlinuxBtf(), kind, prefix);
  throw new TsbpfError(`program '${program.name}': the running kernel has no ${labelOf(program)} '${name}'`, {
    hint:
      suggest(name, similarTo(name, known)) ??
      "What is in a module that is not loaded, or was inlined everywhere, is not found.",
  });
}

function labelOf({ type, attachType }: Program): string {
  if (type === "struct_ops") return "struct";
  if (attachType === "trace_raw_tp") return "tracepoint";
  if (attachType === "trace_iter") return "iterator";
  return attachType?.startsWith("lsm") === true ? "security hook" : "function";
}

function memberOf(program: Program, target: string): ResolvedTarget["attr"] {
  const [struct = "", member = ""] = target.split(".");
  const btf = vmlinuxBtf();
  const { id, module } = symbolOf(program, STRUCT_OPS, struct);
  if (module !== undefined) {
    throw new UnsupportedError(
      `cannot load '${program.name}': struct ${struct} is one of module ${module}, not of the kernel`,
      { feature: "structs of operations of modules", hint: "tsbpf implements those of the kernel itself." },
    );
  }
  const type = btf.type(id);
  const members = type.kind === "struct" ? type.members.map(({ name }) => name) : [];
  const index = members.indexOf(member);
  if (index >= 0) return { attach_btf_id: id, expected_attach_type: index };
  throw new TsbpfError(`program '${program.name}': struct ${struct} has no member '${member}'`, {
    hint:
      suggest(member, members) ?? `Write attachTo as 'struct.member'; its members: ${members.join(", ")}.`,
  });
}

function functionOf(
  sys: Syscalls,
  program: Program,
  { program: target, function: name = target.name }: Exclude<AttachTo, string>,
): ResolvedTarget["attr"] {
  const { btfId } = target.info();
  const btf = btfId === 0 ? undefined : readBtfById(sys, btfId);
  if (btf === undefined) {
    throw new TsbpfError(`program '${program.name}': its target '${target.name}' has no BTF`, {
      hint: "Functions of a program are found by their BTF: load the target with it.",
    });
  }
  const [id] = btf.ids(name, "func");
  if (id !== undefined) return { attach_btf_id: id, attach_prog_fd: target.fd };
  const known = namesOf(btf, "func", "");
  throw new TsbpfError(`program '${program.name}': '${target.name}' has no function '${name}'`, {
    hint: suggest(name, known) ?? `It has ${known.join(", ")}.`,
  });
}

function namesOf(btf: Btf, kind: BtfKind, prefix: string): string[] {
  const names: string[] = [];
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kind(id) !== kind) continue;
    const name = btf.name(id);
    if (name.startsWith(prefix)) names.push(name.slice(prefix.length));
  }
  return names;
}

/** Comparing a name with each of fifty thousand takes seconds; one that is meant begins like it. */
function similarTo(name: string, known: readonly string[]): readonly string[] {
  if (known.length < 2000) return known;
  return known.filter((candidate) => candidate.startsWith(name.slice(0, 2)));
}
