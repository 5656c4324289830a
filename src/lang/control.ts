import { LangError } from "./error.ts";
import type { IrBlock } from "./ir/ir.ts";
import {
  branch,
  currentBlock,
  here,
  inScope,
  joinPaths,
  newBlock,
  type PathState,
  pathState,
  type Recorder,
  restore,
} from "./recorder.ts";
import { treeOf } from "./scalar.ts";
import type { Cond, Exit } from "./value.ts";

/** What `$.if` gives: the chance to say what else. */
export interface If<A> {
  /** Another condition, for where none before it held. */
  elif<B>(condition: Cond, body: () => B): If<A | B>;
  /** What happens where no condition held. The whole ends the path if each of its bodies does. */
  else<B>(body: () => B): [A | B] extends [Exit] ? Exit : void;
}

/** Records a conditional. Until `else` is given, the program goes on where the condition does not hold. */
export function recordIf(recorder: Recorder, condition: Cond, body: () => unknown): If<unknown> {
  return recordArm(recorder, condition, body, []);
}

/** A body that fell through: where it ended, and in which state. */
interface Open {
  readonly block: IrBlock;
  readonly state: PathState;
}

function recordArm(
  recorder: Recorder,
  condition: Cond,
  body: () => unknown,
  earlier: readonly Open[],
): If<unknown> {
  const [then, otherwise] = [newBlock(recorder, "then"), newBlock(recorder, "else")];
  const from = currentBlock(recorder);
  const before = pathState(recorder);
  branch(recorder, treeOf(recorder, condition), then, otherwise);
  const ended = [...earlier, ...runBody(recorder, then, from, body)];
  // As long as no `else` follows, the block that stands for it is also where everything meets.
  meet(ended, otherwise);
  recorder.block = otherwise;
  joinPaths(recorder, [before, ...ended.map(({ state }) => state)]);
  const continueElse = (known: number): void => {
    if (recorder.block !== otherwise || otherwise.nodes.length > known) {
      throw new LangError(
        "this does not follow its $.if: there are statements in between",
        here(),
        "Write $.if(…).elif(…).else(…) in one piece.",
      );
    }
    restore(recorder, before);
  };
  return {
    elif: (next, nextBody) => {
      continueElse(otherwise.nodes.length); // what its condition computes stands there already
      return recordArm(recorder, next, nextBody, ended) as If<never>;
    },
    else: (lastBody) => {
      continueElse(0);
      const all = [...ended, ...runBody(recorder, otherwise, from, lastBody)];
      if (all.length > 0) {
        const join = newBlock(recorder, "join");
        meet(all, join);
        recorder.block = join;
        joinPaths(
          recorder,
          all.map(({ state }) => state),
        );
      }
      return undefined as never;
    },
  };
}

/** Records a body; gives its end if it falls through. */
function runBody(recorder: Recorder, into: IrBlock, from: IrBlock, body: () => unknown): readonly Open[] {
  recorder.block = into;
  inScope(recorder, from, body);
  const { block } = recorder;
  recorder.block = undefined;
  return block === undefined ? [] : [{ block, state: pathState(recorder) }];
}

function meet(ended: readonly Open[], join: IrBlock): void {
  for (const { block } of ended) block.end = { kind: "jump", to: join, source: here() };
}

/** An arm of `$.switch`: the values that it is for, and what it does. */
export type Case<Value> = readonly [values: Value | readonly Value[], body: () => unknown];

/** Records a choice by value: comparisons one after the other, in the order given. */
export function recordSwitch(
  recorder: Recorder,
  value: { eq(other: never): Cond },
  cases: readonly Case<unknown>[],
  otherwise: (() => unknown) | undefined,
): void {
  let chain: If<unknown> | undefined;
  for (const [values, body] of cases) {
    const [first, ...others] = (Array.isArray(values) ? values : [values]).map((one) =>
      value.eq(one as never),
    );
    if (first === undefined) {
      throw new LangError(
        "a case of $.switch has no value",
        here(),
        "Give at least one, or leave the case out.",
      );
    }
    const condition = others.reduce((all, one) => all.or(one), first);
    chain = chain === undefined ? recordIf(recorder, condition, body) : chain.elif(condition, body);
  }
  if (chain === undefined) {
    throw new LangError("$.switch has no cases", here(), "Give at least one: [[6, () => …]].");
  }
  if (otherwise !== undefined) chain.else(otherwise);
}
