import { LangError } from "../error.ts";
import type { IrBlock, IrValue } from "../ir/ir.ts";
import {
  checkRecords,
  end,
  here,
  inScope,
  joinPaths,
  jump,
  type Loop,
  type PathState,
  pathState,
  type Recorder,
} from "../recorder.ts";
import type { Exit } from "../value.ts";

/** Where the ways of a loop lead. */
export interface LoopBlocks {
  /** The body's start, and the block that led to the loop. */
  readonly into: IrBlock;
  readonly from: IrBlock;
  /** On to the next turn, and out of the loop. */
  readonly next: IrBlock;
  readonly out: IrBlock;
  /** Whether the body must become a function of its own. */
  readonly outlined: boolean;
}

/** Records `$.break` or `$.continue`. */
export function recordLeave(recorder: Recorder, how: "break" | "continue"): void {
  const { loop } = recorder;
  if (loop === undefined) {
    throw new LangError(
      `$.${how} stands outside of any loop`,
      here(),
      "It belongs into the body of $.for or $.while. What ends the program is $.return.",
    );
  }
  checkRecords(recorder, loop.open, "when its loop goes on");
  if (how === "continue") checkNotDone(recorder, loop);
  else loop.breaks.push(pathState(recorder));
  loop.exitEpochs.push(recorder.epoch);
  loop.leave(how);
}

/** Ends a path of the function with a value. */
export function recordReturn(recorder: Recorder, value: IrValue): Exit {
  checkRecords(recorder, new Set(), "before this path ends");
  end(recorder, { kind: "return", value, source: here() });
  return undefined as unknown as Exit;
}

/** Runs a loop's body; gives the end of its fall-through path to `next`. */
export function loopBody(recorder: Recorder, blocks: LoopBlocks, body: () => unknown): Loop {
  const { into, from, next, out, outlined } = blocks;
  const loop: Loop = {
    outer: recorder.loop,
    open: recorder.open,
    exitEpochs: [],
    breaks: [],
    outlined,
    scope: recorder.scope,
    used: undefined,
    releases: false,
    inner: { insns: 0, forks: 0 },
    leave: (how) => jump(recorder, how === "break" ? out : next),
  };
  recorder.loop = loop;
  recorder.block = into;
  try {
    inScope(recorder, from, () => {
      loop.scope = recorder.scope;
      body();
    });
  } finally {
    recorder.loop = loop.outer;
  }
  if (recorder.block !== undefined) {
    checkRecords(recorder, loop.open, "at the end of its loop's body");
    checkNotDone(recorder, loop);
    loop.exitEpochs.push(recorder.epoch);
    jump(recorder, next);
  }
  return loop;
}

/** Goes on behind a loop, in the state that is true however it was left. */
export function leaveLoop(recorder: Recorder, before: PathState, loops: readonly Loop[]): void {
  const epoch = Math.max(before.epoch, ...loops.flatMap(({ exitEpochs }) => exitEpochs));
  joinPaths(recorder, [{ ...before, epoch }, ...loops.flatMap(({ breaks }) => breaks)]);
}

/** A view from before a loop that moves the packet is good in the first turn only. */
export function checkEpoch(loop: Loop, before: PathState): void {
  if (loop.exitEpochs.every((epoch) => epoch === before.epoch)) return;
  const { used } = loop;
  if (used === undefined) return;
  throw new LangError(
    `${used.name} was taken before a loop whose body moves the packet, and is used in the loop`,
    here(),
    "It is good in the first turn only: take it from $.packet inside of the loop.",
  );
}

/** What was open before a loop must be open in each of its turns. */
function checkNotDone(recorder: Recorder, loop: Loop): void {
  const done = [...loop.open].find((record) => !recorder.open.has(record));
  if (done === undefined) return;
  throw new LangError(
    `${done.name} is ${done.done} in a loop that goes on`,
    here(),
    "The next turn would do it again: do it behind the loop, or leave the loop with $.break.",
  );
}
