import { TsbpfError } from "../base/error.ts";
import { suggest } from "../base/suggest.ts";
import type { Btf } from "../btf/decode.ts";
import { argumentsFromBtf, type BtfNames, structFromBtf } from "../btf/layout/from-btf.ts";
import type { Members } from "../btf/layout/member.ts";
import type { StructLayout } from "../btf/layout/struct.ts";
import { findType, kernelStruct } from "../btf/lookup.ts";
import type { BtfParam, BtfTypeId } from "../btf/type.ts";
import { structHolder } from "./kernel-types.ts";
import { vmlinuxBtf } from "./vmlinux.ts";

/** Options of {@link kernelLayout}. */
export interface KernelLayoutOptions<M extends Members> {
  /**
   * What members are called in the kernel, where that is not their own name: a path (`se.vruntime`), or several, of which the
   * first that this kernel has is taken.
   */
  readonly names?: BtfNames<M>;
}

/**
 * A struct (or union, or a typedef of either) of the running kernel, or of a module that is loaded, as a layout: with the
 * members that you name, each where this kernel has it. `$.view` of `tsbpf/lang` reads kernel memory through it.
 *
 * What the members are is declared, and compared with the kernel: sizes, and what pointers point to. Members of anonymous
 * structs count as the struct's own, and bit fields may be declared as plain integers.
 *
 * @throws LayoutError for a member that the kernel does not have or has as something else, BtfError if there is no such
 * struct, UnsupportedError where the kernel was built without BTF.
 * @example
 * ```ts
 * const Parent = kernelLayout("task_struct", { tgid: s32 });
 * const Task = kernelLayout(
 *   "task_struct",
 *   { comm: array(char, 16), real_parent: pointer(Parent), state: u32, vruntime: u64 },
 *   { names: { state: ["__state", "state"], vruntime: "se.vruntime" } },
 * );
 * ```
 */
export function kernelLayout<const Name extends string, M extends Members>(
  name: Name,
  members: M,
  options: KernelLayoutOptions<M> = {},
): StructLayout<Name, M> {
  const btf = structHolder(name) ?? vmlinuxBtf();
  return structFromBtf(btf, kernelStruct(btf, name).id, name, members, options.names);
}

/**
 * The arguments of a tracepoint of the running kernel, as its raw forms have them: for `tpBtf` and `rawTracepoint` of
 * `tsbpf/lang`. The arguments that you name, declared and compared as in {@link kernelLayout}. They are not stable between
 * kernels.
 *
 * @param tracepoint - without its group: `sched_switch`.
 * @throws TsbpfError if there is no such tracepoint; LayoutError for an argument that it does not have, or that is something
 * else.
 * @example
 * ```ts
 * const Exec = tracepointArguments("sched_process_exec", { p: pointer(kernelLayout("task_struct", { pid: s32 })) });
 * ```
 */
export function tracepointArguments<const Name extends string, M extends Members>(
  tracepoint: Name,
  members: M,
): StructLayout<Name, M> {
  const btf = vmlinuxBtf();
  const [id] = btf.ids(`btf_trace_${tracepoint}`, "typedef");
  if (id === undefined) {
    const known = namesOf(btf, "typedef", "btf_trace_");
    throw new TsbpfError(`the running kernel has no tracepoint '${tracepoint}'`, {
      hint:
        suggest(tracepoint, known) ??
        "Write it without its group: sched_switch. Those of modules are not found.",
    });
  }
  // The function that calls its programs has the names (kernel 5.10); the typedef has the types alone.
  const func = findType(btf, "func", `__traceiter_${tracepoint}`);
  const [, ...params] = paramsOf(btf, func?.type.type ?? id);
  return argumentsFromBtf(btf, params, tracepoint, members);
}

/**
 * The arguments of a function of the running kernel, for `fentry` and `fexit` of `tsbpf/lang`; declared and compared as in
 * {@link kernelLayout}. For `fexit` the function's own result may be named as `result`.
 *
 * @throws TsbpfError if there is no such function; LayoutError for an argument that it does not have, or that is something
 * else.
 * @example
 * ```ts
 * const Connect = functionArguments("tcp_connect", { sk: pointer(kernelLayout("sock", { sk_protocol: u16 })) });
 * ```
 */
export function functionArguments<const Name extends string, M extends Members>(
  name: Name,
  members: M,
): StructLayout<Name, M> {
  const btf = vmlinuxBtf();
  const func = findType(btf, "func", name);
  if (func === undefined) {
    throw new TsbpfError(`the running kernel has no function '${name}'`, {
      hint: "It is in a module, was inlined everywhere, or has another name in this version.",
    });
  }
  const proto = btf.type(func.type.type);
  const params = paramsOf(btf, func.type.type);
  const result = proto.kind === "funcProto" && proto.type !== 0 ? [{ name: "result", type: proto.type }] : [];
  return argumentsFromBtf(btf, [...params, ...result], name, members);
}

function paramsOf(btf: Btf, id: BtfTypeId): readonly BtfParam[] {
  const type = btf.type(id);
  if (type.kind === "typedef" || type.kind === "ptr") return paramsOf(btf, type.type);
  return type.kind === "funcProto" ? type.params : [];
}

function namesOf(btf: Btf, kind: "typedef", prefix: string): string[] {
  const names: string[] = [];
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kind(id) === kind && btf.name(id).startsWith(prefix))
      names.push(btf.name(id).slice(prefix.length));
  }
  return names;
}
