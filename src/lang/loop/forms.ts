import type { Helper } from "../../uapi/helper.ts";
import { bpf_loop } from "../../uapi/helpers.ts";
import { compare } from "../arithmetic.ts";
import { effectsOf } from "../ir/effects.ts";
import type { IrBlock, IrCall, IrNode, IrParam, IrSlot, IrValue, IrVar } from "../ir/ir.ts";
import {
  branch,
  constant,
  currentBlock,
  emit,
  frame,
  get,
  here,
  jump,
  type Loop,
  newBlock,
  newSlot,
  newVariable,
  type PathState,
  pathState,
  type Recorder,
  restore,
  set,
} from "../recorder.ts";
import { makeVal } from "../scalar.ts";
import type { HostVal } from "../value.ts";
import { checkEpoch, leaveLoop, loopBody, recordReturn } from "./body.ts";
import { outline } from "./outline.ts";

/** What a loop does in each turn. */
export type Turn = (index: HostVal<"u32">) => unknown;

/** Records the same body for each number from 0 on, one after the other. */
export function recordUnrolled(recorder: Recorder, count: number, body: Turn): void {
  const before = pathState(recorder);
  const out = newBlock(recorder, "done");
  const loops: Loop[] = [];
  for (let index = 0; index < count && recorder.block !== undefined; index++) {
    const from = currentBlock(recorder);
    const [into, next] = [newBlock(recorder, `turn_${index}`), newBlock(recorder, "next")];
    jump(recorder, into);
    const loop = loopBody(recorder, { into, from, next, out, outlined: false }, () =>
      body(makeVal(recorder, "u32", constant(index))),
    );
    loops.push(loop);
    recorder.block = next;
    restore(recorder, { ...before, epoch: Math.max(before.epoch, ...loop.exitEpochs) });
  }
  jump(recorder, out);
  recorder.block = out;
  leaveLoop(recorder, before, loops);
}

/** The body of a loop, recorded once, in no form yet. */
export interface Turns {
  /** The block that led to the loop, and the state there. */
  readonly from: IrBlock;
  readonly before: PathState;
  /** Where a turn starts, where it goes on to the next one, and where it leaves the loop. */
  readonly into: IrBlock;
  readonly next: IrBlock;
  readonly out: IrBlock;
  /** The turn's number, which is not set yet. */
  readonly index: IrVar;
  readonly loop: Loop;
  /** How many blocks and objects of the stack frame the function had before. */
  readonly blocks: number;
  readonly slots: number;
}

/**
 * Records the body of a loop, so that it can be made into any form then.
 *
 * @param outlined - whether it will become a function of its own, come what may.
 * @param body - what each turn does; is given what reads the turn's number.
 */
export function recordTurns(
  recorder: Recorder,
  outlined: boolean,
  body: (number: () => HostVal<"u32">) => unknown,
): Turns {
  const { fn } = recorder;
  const from = currentBlock(recorder);
  const before = pathState(recorder);
  const [blocks, slots] = [fn.blocks.length, fn.slots.length];
  const index = newVariable("index");
  const into = newBlock(recorder, "turn");
  const next: IrBlock = { hint: "next", nodes: [], end: undefined };
  const out: IrBlock = { hint: "done", nodes: [], end: undefined };
  const loop = loopBody(recorder, { into, from, next, out, outlined }, () =>
    body(() => makeVal(recorder, "u32", get(recorder, index))),
  );
  checkEpoch(loop, before);
  return { from, before, into, next, out, index, loop, blocks, slots };
}

/** Makes a loop in the program's own control flow; the verifier follows each turn (kernel 5.3). */
export function makeCounted(recorder: Recorder, turns: Turns, count: IrValue, max: number): void {
  const { from, before, into, next, out, index, loop } = turns;
  recorder.fn.blocks.push(next, out);
  recorder.block = from;
  set(recorder, index, constant(0));
  goOnWhileBelow(recorder, constant(0), count, max, into, out);
  recorder.block = next;
  const plusOne = emit(recorder, {
    kind: "binary",
    op: "add",
    width: 32,
    a: get(recorder, index),
    b: constant(1),
    pointer: undefined,
    source: here(),
  });
  set(recorder, index, plusOne);
  goOnWhileBelow(recorder, plusOne, count, max, into, out);
  recorder.block = out;
  leaveLoop(recorder, before, [loop]);
}

/** Jumps to `into` while `index` is below `count` and `max`. */
function goOnWhileBelow(
  recorder: Recorder,
  index: IrValue,
  count: IrValue,
  max: number,
  into: IrBlock,
  out: IrBlock,
): void {
  const below = (limit: IrValue): ReturnType<typeof compare> => compare("lt", "u32", index, limit);
  const limit = constant(max);
  const known = count.kind === "const";
  branch(
    recorder,
    known ? below(count) : { kind: "and", left: below(limit), right: below(count) },
    into,
    out,
  );
}

/** Makes a loop over the kernel's number iterator (kernel 6.4): the verifier follows few turns, however many there are. */
export function makeIterated(recorder: Recorder, turns: Turns, count: IrValue, max: number): void {
  const { from, before, into, next, out, index, loop } = turns;
  const { fn } = recorder;
  const body = fn.blocks.slice(turns.blocks);
  fn.blocks.push(next, out);
  recorder.block = from;
  const iterator = newSlot(recorder, "iterator", 8, 8, false); // struct bpf_iter_num
  emit(recorder, callIterator("new", iterator, [constant(0), atMost(recorder, count, max)]));
  const head = newBlock(recorder, "loop");
  jump(recorder, head);
  recorder.block = head;
  const address = emit(recorder, callIterator("next", iterator, []));
  branch(recorder, { kind: "compare", op: "eq", width: 64, a: address, b: constant(0) }, out, into);
  const number: IrValue = {
    kind: "load",
    size: 4,
    signed: false,
    base: address,
    offset: 0,
    memory: "any",
    volatile: false,
    pointer: undefined,
    source: here(),
  };
  into.nodes.unshift(number, { kind: "set", variable: index, value: number, source: here() });
  // Whoever leaves the function from inside gives the iterator back first.
  for (const { nodes, end } of body)
    if (end?.kind === "return") nodes.push(callIterator("destroy", iterator, []));
  recorder.block = next;
  jump(recorder, head);
  recorder.block = out;
  leaveLoop(recorder, before, [loop]);
  emit(recorder, callIterator("destroy", iterator, []));
}

function callIterator(what: "new" | "next" | "destroy", iterator: IrSlot, args: readonly IrValue[]): IrCall {
  return {
    kind: "call",
    callee: { kind: "kfunc", name: `bpf_iter_num_${what}` },
    args: [frame(iterator), ...args],
    reads: ["stack"],
    writes: ["stack"],
    removable: false,
    pure: false,
    pointer: what === "next" ? "memory" : undefined,
    source: here(),
  };
}

/** Makes a loop whose body is a function that the kernel calls (`bpf_loop`, kernel 5.17). */
export function makeFunctionLoop(recorder: Recorder, turns: Turns, count: IrValue, max: number): void {
  const index: IrParam = { kind: "param", index: 0, pointer: undefined, source: here() };
  turns.into.nodes.unshift({ kind: "set", variable: turns.index, value: index, source: here() });
  callBody(recorder, turns, [index], (body, captured) => ({
    helper: bpf_loop,
    args: [atMost(recorder, count, max), body, captured, constant(0)],
  }));
}

/**
 * Makes a function of a loop's body, for a helper that calls it in each turn, and calls the helper.
 *
 * @param given - what the helper gives the body in each turn; the address of what it uses from outside follows.
 */
export function callBody(
  recorder: Recorder,
  turns: Turns,
  given: readonly IrParam[],
  calling: (body: IrValue, captured: IrValue) => { readonly helper: Helper; readonly args: IrCall["args"] },
): IrCall {
  const { fn, build } = recorder;
  const { from, before, next, out, loop } = turns;
  const blocks = fn.blocks.splice(turns.blocks);
  const slots = fn.slots.splice(turns.slots);
  const context: IrParam = { kind: "param", index: given.length, pointer: "stack", source: here() };
  const name = `${fn.name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d)/, "_")}_turn${build.loops++}`;
  const part = outline(fn, { name, blocks, slots, next, out, params: [...given, context], context });
  recorder.block = from;
  fn.slots.push(part.slot);
  append(recorder, part.before);
  const body = emit(recorder, {
    kind: "address",
    target: { kind: "function", fn: part.fn },
    pointer: undefined,
    source: here(),
  });
  const { helper, args } = calling(body, part.slot.size === 0 ? constant(0) : frame(part.slot));
  const effects = effectsOf(part.fn);
  const call: IrCall = emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper },
    args,
    reads: ["stack", ...effects.reads],
    writes: ["stack", ...effects.writes],
    removable: false,
    pure: false,
    pointer: undefined,
    source: here(),
  });
  append(recorder, part.after);
  leaveLoop(recorder, before, [loop]);
  if (part.returned === undefined) return call;
  const { flag, result } = part.returned;
  const [leave, stay] = [newBlock(recorder, "returned"), newBlock(recorder, "done")];
  append(recorder, [flag]);
  branch(recorder, { kind: "compare", op: "ne", width: 64, a: flag, b: constant(0) }, leave, stay);
  recorder.block = leave;
  append(recorder, [result]);
  recordReturn(recorder, result);
  recorder.block = stay;
  return call;
}

function append(recorder: Recorder, nodes: readonly IrNode[]): void {
  for (const node of nodes) emit(recorder, node);
}

/** A count, cut to what the loop may run at the most. */
function atMost(recorder: Recorder, count: IrValue, max: number): IrValue {
  if (count.kind === "const") return count;
  const turns = newVariable("turns");
  set(recorder, turns, count);
  const [cut, go] = [newBlock(recorder, "most"), newBlock(recorder, "count")];
  branch(recorder, compare("gt", "u32", count, constant(max)), cut, go);
  recorder.block = cut;
  set(recorder, turns, constant(max));
  jump(recorder, go);
  recorder.block = go;
  return get(recorder, turns);
}
