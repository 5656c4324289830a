import { LangError } from "../error.ts";
import type { IrValue } from "../ir/ir.ts";
import { constant, here, type Recorder } from "../recorder.ts";
import { operandValue } from "../scalar.ts";
import { type LoopCost, type Measured, measureLoop } from "./cost.ts";
import {
  makeCounted,
  makeFunctionLoop,
  makeIterated,
  recordTurns,
  recordUnrolled,
  type Turn,
  type Turns,
} from "./forms.ts";

/** How a loop is made. */
export type LoopForm = "unroll" | "loop" | "iterator" | "bpf_loop";

/** How a loop is made, where the choice is not left to the language. */
export interface LoopOptions {
  /**
   * - `unroll`: the body once for each turn. Chosen up to 2 turns.
   * - `loop`: a loop in the program, which the verifier follows turn by turn: it gives up at a million instructions (kernel
   *   5.3). Chosen up to 8 turns, and for more where the verifier is done with it quickly: up to 4096 turns of a few
   *   instructions, fewer of more; few where the body has branches that come together again, since each turn doubles the ways
   *   that it has to look at.
   * - `iterator`: over the kernel's number iterator, which the verifier understands: up to 8,388,608 turns (kernel 6.4).
   *   Chosen for what is too much for a `loop`, unless a turn has many branches that come together again.
   * - `bpf_loop`: the body becomes a function that the kernel calls, up to 8,388,608 times (kernel 5.17). Variables and values
   *   from outside go through the stack frame. Chosen where the program's kernel has no iterators. Records that were reserved
   *   before the loop cannot be submitted inside.
   *
   * In the last two the verifier must see that a turn leaves the program as it found it: packet headers are not taken one after
   * the other there, but each turn from the start ($.packet.rewind). Up to 4096 turns a loop that does not stays a `loop`.
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
  const as = options.as ?? formByCount(recorder, count, max);
  if (as !== undefined) checkForm(recorder, as, max);
  if (as === "unroll") {
    if (typeof given !== "number") {
      throw new LangError(
        "a loop is unrolled only for a count that is known when the program is built",
        here(),
        "Give a number as the count, or leave { as } out.",
      );
    }
    recordUnrolled(recorder, given, body);
    return;
  }
  const turns = recordTurns(recorder, as === "bpf_loop", (number) => body(number()));
  const cost = costOf(recorder, turns);
  const form = as ?? formByCost(recorder, turns, cost, max);
  FORMS[form](recorder, turns, count, max);
  if (recorder.loop === undefined) return;
  const { inner } = recorder.loop;
  // Iterators and bpf_loop are looked at about twice. What stands there once is counted with the outer body.
  const more = form === "loop" ? max - 1 : form === "iterator" ? 1 : 2;
  inner.insns += more * cost.insns;
  inner.forks += more * cost.forks;
}

const FORMS = { loop: makeCounted, iterator: makeIterated, bpf_loop: makeFunctionLoop } as const;

/** Up to so many turns the body stands there once for each. */
const UNROLL = 2;
/** Up to so many turns a loop stays one, whatever is in it. */
const FEW = 8;
/** So many turns the verifier follows one by one at the most, where there is another way. */
const FOLLOWED = 4096;
/**
 * What the verifier follows quickly, over all turns, as measured with kernel 6.18: instructions of a loop without forks, of one
 * with forks, forks, and ways out (8192 of which are too many for it). It gives up at a million instructions, and a fork in
 * a long loop of few instructions can cost a hundred times what stands there.
 */
const QUICK = { straight: 200_000, forking: 16_384, forks: 32, exits: 4096 } as const;
/**
 * With so many forks in a turn, `bpf_loop` is surer than an iterator: what goes from turn to turn is in memory, of which the
 * verifier forgets more than of registers. A call for each turn is little beside such a body.
 */
const MANY_FORKS = 8;
/** `BPF_MAX_LOOPS` of the kernel, for iterators and `bpf_loop`. */
const MOST = 1 << 23;

const SINCE = { iterator: [6, 4], bpf_loop: [5, 17] } as const;

function costOf({ fn }: Recorder, { blocks, next, loop }: Turns): Measured {
  const measured = measureLoop(fn.blocks, fn.blocks.slice(blocks), next);
  return {
    ...measured,
    insns: measured.insns + loop.inner.insns,
    forks: measured.forks + loop.inner.forks,
  };
}

/** The form of a loop whose number of turns leaves no choice. */
function formByCount(recorder: Recorder, count: IrValue, max: number): LoopForm | undefined {
  if (count.kind === "const" && max <= UNROLL) return "unroll";
  return max > FOLLOWED ? longForm(recorder, max) : undefined;
}

/** The form of another loop, once its body is known. */
function formByCost(
  recorder: Recorder,
  { loop }: Turns,
  cost: Measured,
  max: number,
): Exclude<LoopForm, "unroll"> {
  if (max <= FEW || isQuick(cost, max) || !cost.settles) return "loop";
  const { kernel } = recorder.target;
  const callable = reaches(kernel, SINCE.bpf_loop) && !loop.releases;
  if (callable && cost.forks >= MANY_FORKS) return "bpf_loop";
  if (reaches(kernel, SINCE.iterator)) return "iterator";
  return callable ? "bpf_loop" : "loop";
}

function isQuick({ insns, forks, exits }: LoopCost, max: number): boolean {
  const limit = forks > 0 ? QUICK.forking : QUICK.straight;
  return max * insns <= limit && max * forks <= QUICK.forks && max * exits <= QUICK.exits;
}

function longForm({ target }: Recorder, max: number): "iterator" | "bpf_loop" {
  for (const form of ["iterator", "bpf_loop"] as const) if (reaches(target.kernel, SINCE[form])) return form;
  throw new LangError(
    `a loop of up to ${max} turns is too long for kernel ${target.kernel.join(".")} to follow turn by turn`,
    here(),
    'Build the program for newer kernels, { kernel: "5.17" } or { kernel: "6.4" }; or say { as: "loop" } if a turn is a few instructions only.',
  );
}

function checkForm({ target }: Recorder, form: LoopForm, max: number): void {
  if (form !== "unroll" && !Object.hasOwn(FORMS, form)) {
    throw new LangError(
      `'${String(form)}' is no form of a loop`,
      here(),
      'It is { as: "unroll" }, "loop", "iterator" or "bpf_loop".',
    );
  }
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

/** Whether a kernel is that old or newer. */
export function reaches(
  [major, minor]: readonly [number, number],
  since: readonly [number, number],
): boolean {
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
