import { LangError } from "./error.ts";
import type { IrValue } from "./ir/ir.ts";
import {
  recordCounted,
  recordFunctionLoop,
  recordIterated,
  recordUnrolled,
  type Turn,
} from "./loop-forms.ts";
import { constant, here, type Recorder } from "./recorder.ts";
import { operandValue } from "./scalar.ts";

/** How a loop is made. */
export type LoopForm = "unroll" | "loop" | "iterator" | "bpf_loop";

/** How a loop is made, where the choice is not left to the language. */
export interface LoopOptions {
  /**
   * - `unroll`: the body once for each turn. Chosen up to 2 turns.
   * - `loop`: a loop in the program, which the verifier follows turn by turn: it gives up at a million instructions (kernel
   *   5.3). Chosen up to 4096 turns.
   * - `iterator`: over the kernel's number iterator, which the verifier understands: up to 8,388,608 turns (kernel 6.4).
   *   Chosen above.
   * - `bpf_loop`: the body becomes a function that the kernel calls, up to 8,388,608 times (kernel 5.17). Variables and values
   *   from outside go through the stack frame. Chosen above 4096 turns where the program's kernel has no iterators. Records
   *   that were reserved before the loop cannot be submitted inside.
   *
   * In the last two the verifier must see that a turn leaves the program as it found it: packet headers are not taken one after
   * the other there, but each turn from the start ($.packet.rewind).
   */
  readonly as?: LoopForm;
}

/** How `$.for` is bounded and made. */
export interface ForOptions extends LoopOptions {
  /** The most that it runs, for a count that only the program knows. */
  readonly max?: number;
}

/** How `$.while` is bounded and made. */
export interface WhileOptions extends LoopOptions {
  /** The most that it runs. */
  readonly max: number;
}

/** Records a loop in the form that is asked for, or else in the one that fits. */
export function recordFor(recorder: Recorder, given: unknown, body: Turn, options: ForOptions): void {
  const { count, max } = countOf(recorder, given, options.max);
  const form = options.as ?? formFor(recorder, count, max);
  checkForm(recorder, form, max);
  switch (form) {
    case "loop":
      recordCounted(recorder, count, max, body);
      return;
    case "iterator":
      recordIterated(recorder, count, max, body);
      return;
    case "bpf_loop":
      recordFunctionLoop(recorder, count, max, body);
      return;
    case "unroll":
      if (typeof given !== "number") {
        throw new LangError(
          "a loop is unrolled only for a count that is known when the program is built",
          here(),
          "Give a number as the count, or leave { as } out.",
        );
      }
      recordUnrolled(recorder, given, body);
      return;
    default:
      throw new LangError(
        `'${String(form)}' is no form of a loop`,
        here(),
        'It is { as: "unroll" }, "loop", "iterator" or "bpf_loop".',
      );
  }
}

/** Up to so many turns the body stands there once for each. */
const UNROLL = 2;
/** So many turns the verifier follows one by one. */
const FOLLOWED = 4096;
/** `BPF_MAX_LOOPS` of the kernel, for iterators and `bpf_loop`. */
const MOST = 1 << 23;

const SINCE = { iterator: [6, 4], bpf_loop: [5, 17] } as const;

function formFor({ target }: Recorder, count: IrValue, max: number): LoopForm {
  if (count.kind === "const" && max <= UNROLL) return "unroll";
  if (max <= FOLLOWED) return "loop";
  for (const form of ["iterator", "bpf_loop"] as const) if (reaches(target.kernel, SINCE[form])) return form;
  throw new LangError(
    `a loop of up to ${max} turns is too long for kernel ${target.kernel.join(".")} to follow turn by turn`,
    here(),
    'Build the program for newer kernels, { kernel: "5.17" } or { kernel: "6.4" }; or say { as: "loop" } if a turn is a few instructions only.',
  );
}

function checkForm({ target }: Recorder, form: LoopForm, max: number): void {
  if (form !== "iterator" && form !== "bpf_loop") return;
  const since = SINCE[form];
  if (!reaches(target.kernel, since)) {
    throw new LangError(
      `kernel ${target.kernel.join(".")} has no ${form === "iterator" ? "number iterator" : "bpf_loop"}, which a loop is asked to use`,
      here(),
      `It came with ${since.join(".")}: build the program with { kernel: "${since.join(".")}" }.`,
    );
  }
  if (max > MOST) {
    throw new LangError(
      `a loop of up to ${max} turns is more than the kernel runs, which is ${MOST}`,
      here(),
      "Put a loop into the loop.",
    );
  }
}

function reaches([major, minor]: readonly [number, number], since: readonly [number, number]): boolean {
  return major > since[0] || (major === since[0] && minor >= since[1]);
}

/**
 * The bound of `$.while`.
 *
 * @throws LangError if it is none.
 */
export function checkMax(max: number | undefined): number {
  if (max !== undefined && Number.isInteger(max) && max >= 1 && max <= 0x7fff_ffff) return max;
  throw new LangError(
    "a $.while needs { max: … }",
    here(),
    "The kernel must be able to prove that it ends: say how often it may run at the most.",
  );
}

/** A loop's bound, as `$.for` takes it. */
function countOf(
  recorder: Recorder,
  count: unknown,
  max: number | undefined,
): { readonly count: IrValue; readonly max: number } {
  if (typeof count === "number") {
    if (!Number.isInteger(count) || count < 0 || count > 0x7fff_ffff) {
      throw new LangError(`a loop cannot run ${count} times`, here(), "Give a whole number from 0 on.");
    }
    return { count: constant(count), max: count };
  }
  if (max === undefined || !Number.isInteger(max) || max < 1) {
    throw new LangError(
      "a loop whose count is known only when the program runs needs { max: … }",
      here(),
      "The kernel must be able to prove that it ends: say how often it may run at the most.",
    );
  }
  return { count: operandValue(recorder, "u32", count), max };
}
