import { bpf_loop } from "../uapi/helpers.ts";
import { compare } from "./arithmetic.ts";
import { effectsOf } from "./ir/effects.ts";
import type { IrBlock, IrCall, IrNode, IrParam, IrSlot, IrValue } from "./ir/ir.ts";
import { checkEpoch, leaveLoop, loopBody, recordReturn } from "./loop-body.ts";
import { outline } from "./outline.ts";
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
  pathState,
  type Recorder,
  restore,
  set,
} from "./recorder.ts";
import { makeVal } from "./scalar.ts";
import type { HostVal } from "./value.ts";

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

/** Records a loop in the program's own control flow; the verifier follows each turn (kernel 5.3). */
export function recordCounted(recorder: Recorder, count: IrValue, max: number, body: Turn): void {
  const index = newVariable("index");
  const [into, next, out] = [
    newBlock(recorder, "loop"),
    newBlock(recorder, "next"),
    newBlock(recorder, "done"),
  ];
  set(recorder, index, constant(0));
  const from = currentBlock(recorder);
  const before = pathState(recorder);
  goOnWhileBelow(recorder, constant(0), count, max, into, out);
  const loop = loopBody(recorder, { into, from, next, out, outlined: false }, () =>
    body(makeVal(recorder, "u32", get(recorder, index))),
  );
  checkEpoch(loop, before);
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

/** Records a loop over the kernel's number iterator (kernel 6.4): the verifier follows few turns, however many there are. */
export function recordIterated(recorder: Recorder, count: IrValue, max: number, body: Turn): void {
  const iterator = newSlot(recorder, "iterator", 8, 8, false); // struct bpf_iter_num
  const turns = atMost(recorder, count, max);
  callIterator(recorder, "bpf_iter_num_new", iterator, [constant(0), turns]);
  const [head, into, out] = [
    newBlock(recorder, "loop"),
    newBlock(recorder, "turn"),
    newBlock(recorder, "done"),
  ];
  const from = currentBlock(recorder);
  const before = pathState(recorder);
  jump(recorder, head);
  recorder.block = head;
  const address = callIterator(recorder, "bpf_iter_num_next", iterator, []);
  branch(recorder, { kind: "compare", op: "eq", width: 64, a: address, b: constant(0) }, out, into);
  const loop = loopBody(recorder, { into, from, next: head, out, outlined: false }, () => {
    if (recorder.loop !== undefined) {
      recorder.loop.cleanUp = () => callIterator(recorder, "bpf_iter_num_destroy", iterator, []);
    }
    const index = emit(recorder, {
      kind: "load",
      size: 4,
      signed: false,
      base: address,
      offset: 0,
      memory: "any",
      volatile: false,
      pointer: undefined,
      source: here(),
    });
    return body(makeVal(recorder, "u32", index));
  });
  checkEpoch(loop, before);
  recorder.block = out;
  leaveLoop(recorder, before, [loop]);
  callIterator(recorder, "bpf_iter_num_destroy", iterator, []);
}

function callIterator(
  recorder: Recorder,
  name: "bpf_iter_num_new" | "bpf_iter_num_next" | "bpf_iter_num_destroy",
  iterator: IrSlot,
  args: readonly IrValue[],
): IrCall {
  return emit(recorder, {
    kind: "call",
    callee: { kind: "kfunc", name },
    args: [frame(iterator), ...args],
    reads: ["stack"],
    writes: ["stack"],
    removable: false,
    pure: false,
    pointer: name === "bpf_iter_num_next" ? "memory" : undefined,
    source: here(),
  });
}

/**
 * Records a loop whose body is a function that the kernel calls (`bpf_loop`, kernel 5.17). The body is recorded here as any
 * other, and taken out then.
 */
export function recordFunctionLoop(recorder: Recorder, count: IrValue, max: number, body: Turn): void {
  const { fn, build } = recorder;
  const turns = atMost(recorder, count, max);
  const from = currentBlock(recorder);
  const before = pathState(recorder);
  const [firstBlock, firstSlot] = [fn.blocks.length, fn.slots.length];
  const index: IrParam = { kind: "param", index: 0, pointer: undefined, source: here() };
  const context: IrParam = { kind: "param", index: 1, pointer: "stack", source: here() };
  const into = newBlock(recorder, "turn");
  const next: IrBlock = { hint: "next", nodes: [], end: undefined };
  const out: IrBlock = { hint: "stop", nodes: [], end: undefined };
  const loop = loopBody(recorder, { into, from, next, out, outlined: true }, () =>
    body(makeVal(recorder, "u32", index)),
  );
  checkEpoch(loop, before);
  const blocks = fn.blocks.splice(firstBlock);
  const slots = fn.slots.splice(firstSlot);
  const name = `${fn.name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d)/, "_")}_turn${build.loops++}`;
  const part = outline(fn, { name, blocks, slots, next, out, index, context });
  recorder.block = from;
  fn.slots.push(part.slot);
  append(recorder, part.before);
  const address = emit(recorder, {
    kind: "address",
    target: { kind: "function", fn: part.fn },
    pointer: undefined,
    source: here(),
  });
  const effects = effectsOf(part.fn);
  emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper: bpf_loop },
    args: [turns, address, part.slot.size === 0 ? constant(0) : frame(part.slot), constant(0)],
    reads: ["stack", ...effects.reads],
    writes: ["stack", ...effects.writes],
    removable: false,
    pure: false,
    pointer: undefined,
    source: here(),
  });
  append(recorder, part.after);
  leaveLoop(recorder, before, [loop]);
  if (part.returned === undefined) return;
  const { flag, result } = part.returned;
  const [leave, stay] = [newBlock(recorder, "returned"), newBlock(recorder, "done")];
  append(recorder, [flag]);
  branch(recorder, { kind: "compare", op: "ne", width: 64, a: flag, b: constant(0) }, leave, stay);
  recorder.block = leave;
  append(recorder, [result]);
  recordReturn(recorder, result);
  recorder.block = stay;
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
