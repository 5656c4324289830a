import type { Misuse } from "../../asm/misuse.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import { unary } from "../arithmetic.ts";
import { LangError } from "../error.ts";
import type { IrCall, IrValue, MemoryClass } from "../ir/ir.ts";
import { type HostKind, KINDS } from "../kind.ts";
import { checkPointer, isPointer } from "../pointer.ts";
import {
  checkRegion,
  constant,
  emit,
  here,
  memoryOf,
  type OpenRecord,
  packetMoved,
  type Recorder,
} from "../recorder.ts";
import { checkOwnReference, closeReference, openReference } from "../references.ts";
import { isForeign } from "../region.ts";
import { describe, makeVal, operandValue } from "../scalar.ts";
import {
  type Addressable,
  type HostVal,
  internals,
  type Nullable,
  type Operand,
  type Pointer,
  type PointerInternals,
  type Scalar,
} from "../value.ts";
import { addressOf, pointerTo } from "../view.ts";

// Functions of the kernel that programs may call beside helpers. Their numbers, and whether they are there at all, are the
// running kernel's: the loader finds them by name in its BTF. What they take and give is declared here, for the types of
// TypeScript, and so that what they acquire is given back.

/** What one register of a call takes: a number by its layout, or one of the descriptions below. */
export type KfuncParam = Scalar<HostKind> | ObjectParam | MemoryOf | ContextParam;

/** A pointer to an object of the kernel: {@link kernelObject}, {@link nullableObject}, {@link released}. */
export interface ObjectParam<Tag extends string = string, OrNull extends boolean = boolean> {
  readonly kind: "object";
  readonly tag: Tag;
  readonly orNull: OrNull;
  /** Whether the call gives back what another one acquired. */
  readonly releases: boolean;
}

/** Memory of the program: {@link programMemory}. */
export interface MemoryOf {
  readonly kind: "memory";
  readonly layout: Layout | undefined;
}

/** The program's context: {@link programContext}. No argument of the call. */
export interface ContextParam {
  readonly kind: "context";
}

/** What a call gives: a number by its layout, nothing, or a pointer. */
export type KfuncResult = Scalar<HostKind> | undefined | ObjectResult;

/** A pointer that a call gives: {@link kernelObject}, {@link nullableObject}, {@link acquired}. */
export interface ObjectResult<Tag extends string = string, OrNull extends boolean = boolean> {
  readonly kind: "object";
  readonly tag: Tag;
  readonly orNull: OrNull;
  /** What gives it back: the name of a kernel function. */
  readonly releasedBy?: string | undefined;
}

/** A function of the kernel (kfunc), declared: made by {@link kfuncDef}. */
export interface Kfunc<
  Params extends readonly KfuncParam[] = readonly KfuncParam[],
  Result extends KfuncResult = KfuncResult,
> {
  readonly kind: "kfunc";
  /** As the kernel calls it. */
  readonly name: string;
  readonly params: Params;
  readonly result: Result;
  /** Whether packet pointers mean nothing behind the call. */
  readonly movesPacket: boolean;
}

/** Options of {@link kfuncDef}. */
export interface KfuncOptions {
  /** Whether the verifier forgets every packet pointer behind the call (`bpf_xdp_pull_data`). Default false. */
  readonly movesPacket?: boolean;
}

/** The arguments of a call, as its caller gives them. The context is handed over by itself. */
export type KfuncArguments<Params extends readonly unknown[]> = Params extends readonly [
  infer First,
  ...infer Rest,
]
  ? First extends ContextParam
    ? KfuncArguments<Rest>
    : readonly [KfuncArgument<First>, ...KfuncArguments<Rest>]
  : readonly [];

type KfuncArgument<Param> =
  Param extends ObjectParam<infer Tag, infer OrNull>
    ? OrNull extends true
      ? Pointer<Tag> | Nullable<Tag> | null
      : Pointer<Tag>
    : Param extends MemoryOf
      ? Addressable
      : Param extends Scalar<infer Kind extends HostKind>
        ? Operand<Kind>
        : never;

/** What a call gives. */
export type KfuncGives<Result> =
  Result extends ObjectResult<infer Tag, infer OrNull>
    ? OrNull extends true
      ? Nullable<Tag>
      : Pointer<Tag>
    : Result extends Scalar<infer Kind extends HostKind>
      ? HostVal<Kind>
      : undefined;

/** The calling of functions of the kernel. */
export interface Kfuncs {
  /** Calls a function of the kernel that {@link kfuncDef} declared. Kernel 5.13. */
  kfunc<const Params extends readonly KfuncParam[], Result extends KfuncResult>(
    fn: Kfunc<Params, Result>,
    ...args: KfuncArguments<Params>
  ): KfuncGives<Result>;
}

/** A compile-time error, with a sentence, for more parameters than there are registers for them. */
export type FewParams<Params extends readonly unknown[]> = Params["length"] extends 0 | 1 | 2 | 3 | 4 | 5
  ? unknown
  : Misuse<"a kernel function takes at most 5 arguments: the kernel passes them in r1 to r5">;

/**
 * Declares a function of the kernel (kfunc) for `$.kfunc`, as its C prototype has it. Which ones there are, and which program
 * types may call them, differs from kernel to kernel; the loader says where the running one has no such function.
 * `bpftool btf dump file /sys/kernel/btf/vmlinux` shows the prototypes.
 *
 * @param params - layouts of numbers, {@link kernelObject} and the like, {@link programMemory}, {@link programContext}.
 * @param result - a layout of a number, {@link kernelObject}, {@link nullableObject} or {@link acquired}; nothing where it gives none.
 * @throws LangError for a name that is none, and for more than 5 parameters.
 * @example
 * ```ts
 * const taskFromPid = kfuncDef("bpf_task_from_pid", [s32], acquired("task_struct", "bpf_task_release"));
 * const taskRelease = kfuncDef("bpf_task_release", [released("task_struct")]);
 * const Task = kernelLayout("task_struct", { flags: u32 });
 *
 * const flagsOfInit = tc("flags_of_init", ($) => {
 *   const flags = $.let(u32, 0);
 *   $.ifPresent($.kfunc(taskFromPid, 1), (task) => {
 *     flags.set($.view(task, Task).flags);
 *     $.kfunc(taskRelease, task);
 *   });
 *   return $.return(flags);
 * });
 * ```
 */
export function kfuncDef<const Params extends readonly KfuncParam[], Result extends KfuncResult = undefined>(
  name: string,
  params: Params & FewParams<Params>,
  result?: Result,
  options: KfuncOptions = {},
): Kfunc<Params, Result> {
  const { movesPacket = false, ...others } = options;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new LangError(`kfuncDef has no option '${unknown}'`, here());
  if (!/^[A-Za-z_]\w*$/.test(name)) {
    throw new LangError(`'${name}' is no name of a kernel function`, here(), "Write it as the kernel does.");
  }
  if (params.length > 5) {
    throw new LangError(
      `kernel function '${name}' is declared with ${params.length} parameters`,
      here(),
      "The kernel passes at most 5.",
    );
  }
  for (const param of params) {
    if (KFUNC_KINDS.has(param?.kind) || isHost(param)) continue;
    throw new LangError(
      `kernel function '${name}' is declared with ${describe(param)} as a parameter`,
      here(),
      "Give the layout of a number (u32), kernelObject(…), nullableObject(…), released(…), programMemory() or programContext.",
    );
  }
  return Object.freeze({ kind: "kfunc", name, params, result: result as Result, movesPacket });
}

const KFUNC_KINDS: ReadonlySet<string | undefined> = new Set(["object", "memory", "context"]);

function isHost(param: KfuncParam): boolean {
  return Object.hasOwn(KINDS, param.kind) && KINDS[param.kind as HostKind].order === "host";
}

/** A pointer to an object of the kernel, which is never null: `struct task_struct *` is `kernelObject("task_struct")`. */
export function kernelObject<const Tag extends string>(tag: Tag): ObjectParam<Tag, false> {
  return Object.freeze({ kind: "object", tag, orNull: false, releases: false });
}

/** A pointer that may be null: as a result it is looked at with `$.ifPresent`. */
export function nullableObject<const Tag extends string>(tag: Tag): ObjectParam<Tag, true> {
  return Object.freeze({ kind: "object", tag, orNull: true, releases: false });
}

/** A result that must be given back on each path (`KF_ACQUIRE`), and may be null. */
export function acquired<const Tag extends string>(tag: Tag, releasedBy: string): ObjectResult<Tag, true> {
  return Object.freeze({ kind: "object", tag, orNull: true, releasedBy });
}

/** A parameter for what was acquired: the call gives it back (`KF_RELEASE`). */
export function released<const Tag extends string>(tag: Tag): ObjectParam<Tag, false> {
  return Object.freeze({ kind: "object", tag, orNull: false, releases: true });
}

/**
 * A parameter for memory of the program: the stack, a map's value, a record.
 *
 * @param layout - what it must have room for; anything where left out.
 */
export function programMemory(layout?: Layout): MemoryOf {
  return Object.freeze({ kind: "memory", layout });
}

/** A parameter for the program's context, which `$.kfunc` hands over by itself. */
export const programContext: ContextParam = Object.freeze({ kind: "context" });

/** Makes the `$.kfunc` of a program or function. */
export function createKfuncs(recorder: Recorder, own: IrValue): Kfuncs {
  return { kfunc: (fn: Kfunc, ...given: readonly unknown[]) => callKfunc(recorder, own, fn, given) as never };
}

function callKfunc(recorder: Recorder, own: IrValue, fn: Kfunc, given: readonly unknown[]): unknown {
  if (fn?.kind !== "kfunc") {
    throw new LangError(
      `${describe(fn)} is no function of the kernel`,
      here(),
      'Declare one with kfuncDef("bpf_…", [ … ]). Functions of your own are called with $.call.',
    );
  }
  const { name, params, result, movesPacket } = fn;
  const wanted = params.filter(({ kind }) => kind !== "context").length;
  if (given.length !== wanted) {
    throw new LangError(`${name} takes ${wanted} arguments, and ${given.length} are given`, here());
  }
  const touched = new Set<MemoryClass>(["map_value", "any"]);
  const rest = [...given];
  const args = params.map((param) => {
    if (param.kind === "context") return own;
    return argument({ recorder, name, touched }, param, rest.shift());
  });
  const node: IrCall = emit(recorder, {
    kind: "call",
    callee: { kind: "kfunc", name },
    args,
    reads: [...touched],
    writes: [...touched],
    removable: false,
    pure: false,
    pointer: result?.kind === "object" ? "memory" : undefined,
    source: here(),
  });
  if (movesPacket) packetMoved(recorder, name);
  for (const [index, param] of params.filter(({ kind }) => kind !== "context").entries()) {
    if (param.kind === "object" && param.releases) release(recorder, name, given[index]);
  }
  return resultOf(recorder, fn, node);
}

interface Call {
  readonly recorder: Recorder;
  readonly name: string;
  readonly touched: Set<MemoryClass>;
}

function argument(call: Call, param: Exclude<KfuncParam, ContextParam>, value: unknown): IrValue {
  const { recorder } = call;
  if (param.kind === "object") return objectArgument(call, param, value);
  if (param.kind === "memory") return memoryArgument(call, param, value);
  return operandValue(recorder, param.kind, value);
}

function objectArgument({ recorder, name }: Call, param: ObjectParam, value: unknown): IrValue {
  const { tag, orNull } = param;
  if (value === null && orNull) return constant(0);
  if (!isPointer(value)) {
    throw new LangError(
      `${describe(value)} stands where ${name} takes a pointer to ${tag}`,
      here(),
      `$.pointer("${tag}", view) makes one of a typed view.`,
    );
  }
  if (value.tag === undefined && !orNull) {
    throw new LangError(`the pointer that ${name} takes may be null`, here(), "Use it inside $.ifPresent.");
  }
  const given = value.tag ?? value.nullable;
  if (given !== tag) throw new LangError(`${name} takes a pointer to ${tag}, not to ${given}`, here());
  checkPointer(recorder, value[internals]);
  return value[internals].value;
}

function memoryArgument({ recorder, name, touched }: Call, { layout }: MemoryOf, value: unknown): IrValue {
  const { region, offset, size } = addressOf(value);
  checkRegion(recorder, region);
  if (isForeign(region)) {
    throw new LangError(
      `${name} takes memory of the program, and ${region.name} is not`,
      here(),
      "Copy it into a $.struct first, with $.copy.",
    );
  }
  if (layout !== undefined && layout.size > size) {
    throw new LangError(
      `${name} takes ${layout.size} bytes (${layout.cName}), and ${size} are given`,
      here(),
      "Give memory of that size.",
    );
  }
  touched.add(memoryOf(region));
  return pointerTo(recorder, region, offset);
}

function release(recorder: Recorder, by: string, pointer: unknown): void {
  const reference = isPointer(pointer) ? pointer[internals].reference : undefined;
  if (reference === undefined) {
    throw new LangError(
      `${by} gives back what was acquired, and this pointer was not`,
      here(),
      "Only what a kernel function or a helper acquired is given back.",
    );
  }
  if (reference.releasedBy !== undefined && reference.releasedBy !== by) {
    throw new LangError(`${reference.name} is given back by ${reference.remedy}, not by ${by}`, here());
  }
  checkOwnReference(recorder, reference, "released");
  closeReference(recorder, reference);
}

function resultOf(recorder: Recorder, { name, result }: Kfunc, node: IrCall): unknown {
  if (result === undefined) return undefined;
  if (result.kind !== "object") return makeVal(recorder, result.kind, inItsKind(recorder, result.kind, node));
  const { tag, orNull, releasedBy } = result;
  const reference: OpenRecord | undefined =
    releasedBy === undefined
      ? undefined
      : {
          name: `the ${tag} that ${name} gave`,
          done: "released",
          undone: "not released",
          remedy: `$.kfunc(${releasedBy}, …)`,
          releasedBy,
          region: undefined,
          source: node.source,
        };
  if (reference !== undefined) openReference(recorder, reference);
  const inside: PointerInternals = { value: node, reference, scope: recorder.scope };
  return { [orNull ? "nullable" : "tag"]: tag, [internals]: inside };
}

/** The C calling convention leaves the bits above a narrow result open. */
function inItsKind(recorder: Recorder, kind: HostKind, node: IrCall): IrValue {
  const { bits, signed } = KINDS[kind];
  if (bits === 64) return node;
  if (bits === 32) return unary(recorder, "zext32", 64, node);
  if (signed) return unary(recorder, bits === 8 ? "sext8" : "sext16", 32, node);
  return emit(recorder, {
    kind: "binary",
    op: "and",
    width: 32,
    a: node,
    b: constant(bits === 8 ? 0xff : 0xffff),
    pointer: undefined,
    source: here(),
  });
}
