import type { Misuse } from "../../asm/misuse.ts";
import type { ProgTypeName } from "../../asm/program.ts";
import { type HelperProgType, helperProgTypes } from "../../uapi/helpers.ts";
import { endOperands, operands } from "../compile/operands.ts";
import { LangError } from "../error.ts";
import type { HelperMethods } from "../generated/helper-methods.ts";
import { effectsOf } from "../ir/effects.ts";
import type { IrCall, IrFunction, IrParam, IrValue } from "../ir/ir.ts";
import { KINDS, type ScalarKind } from "../kind.ts";
import { recordReturn } from "../loop/body.ts";
import { createOutputs, type Outputs } from "../map/output.ts";
import { createTimers, type Timers } from "../map/timers.ts";
import {
  type Build,
  type BuiltFunction,
  createRecorder,
  emit,
  here,
  packetMoved,
  type Recorder,
} from "../recorder.ts";
import { makeVal, operandValue } from "../scalar.ts";
import { createStatements, type Statements } from "../scope.ts";
import type { Exit, Operand, Scalar, Takes, Val } from "../value.ts";
import { functionHelperMethods } from "./helper-call.ts";
import { createKfuncs, type Kfuncs } from "./kfunc.ts";

/**
 * A function of one's own, for `$.call`: data, like a map's definition. It becomes a BPF function of each program that calls
 * it, whatever the program's type.
 */
export interface LangFunction<
  Params extends readonly Scalar[] = readonly Scalar[],
  Result extends ScalarKind = ScalarKind,
> {
  readonly kind: "function";
  /** A C identifier; the kernel shows it in listings and stack traces. */
  readonly name: string;
  readonly params: Params;
  readonly result: Scalar<Result>;
  /** Records it; runs once for each program that calls it. */
  readonly body: ($: never, ...args: never) => unknown;
}

/** A compile-time error, with a sentence, for a function of more arguments than there are registers for them. */
export type FewEnough<Params extends readonly unknown[]> = Params["length"] extends 0 | 1 | 2 | 3 | 4 | 5
  ? unknown
  : Misuse<"a function takes at most 5 arguments: the kernel passes them in r1 to r5">;

/** A compile-time error, with a sentence, for a function that may run off its end. */
export type MustReturn<B> = [B] extends [Exit]
  ? unknown
  : Misuse<"this function may run off its end: end each path of it with return $.return(...)">;

/** A function's arguments, as its body sees them. */
export type ArgumentsIn<Params extends readonly Scalar[]> = {
  readonly [Index in keyof Params]: Params[Index] extends Scalar<infer Kind> ? Val<Kind> : never;
};

/** A function's arguments, as its caller gives them: a compile-time error, with a sentence, for each that does not fit. */
export type ArgumentsOf<Params extends readonly Scalar[], Given> = {
  readonly [Index in keyof Params]: Params[Index] extends Scalar<infer Kind>
    ? Index extends keyof Given
      ? Takes<Kind, Given[Index]>
      : never
    : never;
};

/** What the body of a function is given: all statements, and every helper. */
export type FunctionScope<Result extends ScalarKind = ScalarKind> = Statements &
  Calls &
  Kfuncs &
  Outputs &
  Timers &
  HelperMethods & {
    /** Ends the path, and the function, with a result. */
    return(result: Operand<Result>): Exit;
  };

/** The calling of functions of one's own. */
export interface Calls {
  /** Calls a function made with `func`; gives what it returns. */
  call<
    Params extends readonly Scalar[],
    Result extends ScalarKind,
    const Given extends { readonly [Index in keyof Params]: unknown },
  >(fn: LangFunction<Params, Result>, ...args: Given & ArgumentsOf<Params, Given>): Val<Result>;
}

/**
 * A function of one's own: at most five numbers in, one out, compiled once for each program that calls it with
 * `$.call(fn, ...)`, to a BPF function behind the program's own code. Kernel 4.16.
 *
 * It sees its arguments, maps and helpers. Its stack frame counts with those of its callers: 512 bytes together. A helper in
 * it must be one that the calling program's type may call, which is checked when the program is built. Functions that want
 * views, the packet or the context are ordinary functions of TypeScript that take `$`: what they record stands where they are
 * called, once for each call (inlined). Take `func` where that would make a program too long, or the verifier's work.
 *
 * @param name - a C identifier.
 * @throws LangError for a name that is none, and for more than 5 arguments.
 * @example
 * ```ts
 * const mix = func("mix", [u32, u64], u32, ($, a, b) => $.return(a.xor(b.to(u32)).mul(0x9e3779b1)));
 * const spread = xdp("spread", ($) => $.return($.call(mix, $.ctx.rx_queue_index, $.bpf_ktime_get_ns())));
 * ```
 */
export function func<const Params extends readonly Scalar[], Result extends ScalarKind, B>(
  name: string,
  params: Params & FewEnough<Params>,
  result: Scalar<Result>,
  body: ($: FunctionScope<Result>, ...args: ArgumentsIn<Params>) => B & MustReturn<B>,
): LangFunction<Params, Result> {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
    throw new LangError(`'${name}' is no name for a function`, here(), "Write it as a C identifier.");
  }
  checkParams(name, params);
  return Object.freeze({ kind: "function", name, params, result, body: body as LangFunction["body"] });
}

/** Makes the `$.call` of a program or function. */
export function createCalls(recorder: Recorder, context: IrValue): Calls {
  return {
    call: (fn: LangFunction, ...given: readonly unknown[]) =>
      recordCall(recorder, context, fn, given) as never,
  };
}

/** The kernel passes five values in registers, and has no other way. */
const MAX_ARGUMENTS = 5;

function checkParams(name: string, params: readonly Scalar[]): void {
  if (params.length > MAX_ARGUMENTS) {
    throw new LangError(
      `function '${name}' takes ${params.length} arguments`,
      here(),
      "The kernel passes at most 5: put more into a map's value, or into fewer numbers.",
    );
  }
  const other = params.find((param) => !Object.hasOwn(KINDS, param?.kind));
  if (other !== undefined) {
    throw new LangError(
      `function '${name}' takes an argument that is no number`,
      here(),
      "Arguments are u8 to s64, or be16 to le64. A function that takes views is one of TypeScript, which takes $.",
    );
  }
}

function recordCall(
  recorder: Recorder,
  context: IrValue,
  made: LangFunction,
  given: readonly unknown[],
): Val {
  if (made?.kind !== "function") {
    throw new LangError("this is no function of the language", here(), 'Make one with func("name", …).');
  }
  const { name, params, result } = made;
  if (given.length !== params.length) {
    throw new LangError(`'${name}' takes ${params.length} arguments, and ${given.length} are given`, here());
  }
  const args = params.map(({ kind }, index) => operandValue(recorder, kind, given[index]));
  const { fn, takesContext, movesPacket, reads, writes, removable } = builtFunction(recorder, made);
  const node: IrCall = emit(recorder, {
    kind: "call",
    callee: { kind: "function", fn },
    args: takesContext ? [...args, context] : args,
    reads,
    writes,
    removable,
    pure: false,
    pointer: undefined,
    source: here(),
  });
  if (movesPacket !== undefined) packetMoved(recorder, `${movesPacket} in '${name}'`);
  return makeVal(recorder, result.kind, node);
}

/** The function as the program being built has it; records it when the first call asks. */
function builtFunction(recorder: Recorder, made: LangFunction): BuiltFunction {
  const { build } = recorder;
  const known = build.functions.get(made);
  if (known !== undefined) return known;
  const again = build.active.findIndex((one) => one.made === made);
  if (again >= 0) {
    const others = build.active.slice(again + 1).map(({ name }) => `'${name}'`);
    throw new LangError(
      `function '${made.name}' calls itself${others.length > 0 ? `, by way of ${others.join(" and ")}` : ""}`,
      here(),
      "The kernel has no recursion: write a loop.",
    );
  }
  build.active.push({ made, name: made.name });
  recorder.suspendedFor = made.name;
  try {
    const built = recordFunction(recorder, made, build);
    build.functions.set(made, built);
    return built;
  } finally {
    recorder.suspendedFor = undefined;
    build.active.pop();
  }
}

function recordFunction({ target }: Recorder, made: LangFunction, build: Build): BuiltFunction {
  const { name, params, result, body } = made;
  const declared = params.map(
    (_, index): IrParam => ({ kind: "param", index, pointer: undefined, source: undefined }),
  );
  // Helpers that want the context get it as one more argument, if any is called.
  const context: IrParam = { kind: "param", index: params.length, pointer: "ctx", source: undefined };
  const fn: IrFunction = { name, params: [...declared, context], blocks: [], slots: [] };
  const recorder = createRecorder(fn, target, `function '${name}'`, build);
  const scope = Object.assign(
    functionScope(recorder, build.type, context),
    createTimers(recorder, functionScope),
    createCalls(recorder, context),
    createKfuncs(recorder, context),
    createOutputs(recorder, context),
    { return: (value: unknown): Exit => recordReturn(recorder, operandValue(recorder, result.kind, value)) },
  );
  const args = declared.map((param, index) => makeVal(recorder, (params[index] as Scalar).kind, param));
  (body as ($: unknown, ...args: readonly unknown[]) => unknown)(scope, ...args);
  recorder.scope.inside = false;
  if (recorder.block !== undefined) {
    throw new LangError(
      `function '${name}' may run off its end`,
      here(),
      "End each path of it with return $.return(…).",
    );
  }
  return factsOf(recorder, context, made);
}

/** Statements and helpers of a function, whose helpers take the context that it is given, if it is. */
export function functionScope(recorder: Recorder, type: ProgTypeName, context: IrParam): object {
  return Object.assign(
    createStatements(recorder, undefined),
    type in helperProgTypes
      ? functionHelperMethods(recorder, type as ProgTypeName & HelperProgType, context)
      : {},
  );
}

/** What a caller must know of a recorded function. */
function factsOf({ fn, movedBy }: Recorder, context: IrParam, { name, params }: LangFunction): BuiltFunction {
  const nodes = fn.blocks.flatMap((block) => block.nodes);
  const used = [...nodes.flatMap(operands), ...fn.blocks.flatMap(endOperands)];
  const takesContext = used.includes(context);
  if (!takesContext) (fn.params as IrParam[]).pop();
  else if (params.length === MAX_ARGUMENTS) {
    const source = nodes.find((node) => operands(node).includes(context))?.source;
    throw new LangError(
      `function '${name}' takes 5 arguments, and calls a helper that takes the context`,
      source,
      "The context is handed over as one more argument: such a function takes at most 4 of its own.",
    );
  }
  return {
    fn,
    takesContext,
    movesPacket: movedBy === "" ? undefined : movedBy,
    ...effectsOf(fn),
  };
}
