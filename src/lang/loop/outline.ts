import { endOperands, mapEndOperands, mapOperands, operands } from "../compile/operands.ts";
import type {
  IrBlock,
  IrFrame,
  IrFunction,
  IrLoad,
  IrNode,
  IrParam,
  IrSlot,
  IrStore,
  IrValue,
  IrVar,
} from "../ir/ir.ts";
import { constant, frame } from "../recorder.ts";

/**
 * A part of a function that was recorded in it and becomes a function of its own (closure conversion): what it uses from
 * outside lies in a struct in the stack frame of the function around it, 8 bytes for each value.
 */
export interface Outlined {
  /** Takes what it is given in each turn, and the struct's address. Gives 0 to go on, 1 to stop. */
  readonly fn: IrFunction;
  /** The struct, in the frame of the function around. */
  readonly slot: IrSlot;
  /** To be done before the call: fills the struct. */
  readonly before: readonly IrNode[];
  /** To be done after the call: variables have what was set inside. */
  readonly after: readonly IrNode[];
  /** Where a `$.return` inside left word of itself and its result; `undefined` where there is none. */
  readonly returned: { readonly flag: IrLoad; readonly result: IrLoad } | undefined;
}

/** What is to be taken out of a function. */
export interface Part {
  readonly name: string;
  /** Its blocks, the first of which is where it starts. */
  readonly blocks: readonly IrBlock[];
  /** Objects of the frame that it alone uses. */
  readonly slots: readonly IrSlot[];
  /** Where its paths end: to go on, or to stop. Empty blocks. */
  readonly next: IrBlock;
  readonly out: IrBlock;
  /** The values that stand for its arguments, and the one of them that is the struct's address. */
  readonly params: readonly IrParam[];
  readonly context: IrParam;
}

/** Makes a function of a part of `outer`, which no longer has the part's blocks. */
export function outline(outer: IrFunction, part: Part): Outlined {
  const { name, blocks, slots, next, out, params, context } = part;
  const source = blocks[0]?.nodes[0]?.source;
  shareFrames(blocks);
  const places: number[] = [];
  const place = (): number => places.push(0) * 8 - 8;
  const slot = (): IrSlot => ({
    name: "captured",
    size: places.length * 8,
    align: 8,
    scratch: false,
    source,
  });
  const load = (base: IrValue, offset: number, pointer: IrValue["pointer"]): IrLoad => ({
    kind: "load",
    size: 8,
    signed: false,
    base,
    offset,
    memory: "stack",
    volatile: false,
    pointer,
    source,
  });
  const store = (base: IrValue, offset: number, value: IrValue): IrStore => ({
    kind: "store",
    size: 8,
    base,
    offset,
    value,
    memory: "stack",
    volatile: false,
    source,
  });

  const variables = sharedVariables(outer, blocks).map(({ variable, written }) => ({
    variable,
    written,
    offset: place(),
  }));
  const values = capturedValues(blocks, slots, params).map((value) => ({ value, offset: place() }));
  const returns = blocks.filter(({ end }) => end?.kind === "return");
  const returned = returns.length === 0 ? undefined : { flag: place(), result: place() };

  // Inside: everything is fetched when a turn starts, and what was set goes back when it ends.
  const fetched = new Map(values.map(({ value, offset }) => [value, load(context, offset, value.pointer)]));
  const fetch = (value: IrValue): IrValue => fetched.get(value) ?? value;
  for (const block of blocks) {
    for (const node of block.nodes) mapOperands(node, fetch);
    mapEndOperands(block, fetch);
  }
  const start: IrNode[] = [...fetched.values()];
  for (const { variable, offset } of variables) {
    const value = load(context, offset, variable.pointer);
    start.push(value, { kind: "set", variable, value, source });
  }
  const first = blocks[0] as IrBlock;
  first.nodes = [...start, ...first.nodes];
  // The end of the packet is set again in the part only where the packet moves.
  const moves = variables.some(({ variable, written }) => written && variable.pointer === "packet_end");
  for (const block of returns) {
    if (block.end?.kind !== "return" || returned === undefined) continue;
    // The verifier follows a next turn behind a return, too: what it finds there must be pointers still.
    for (const { variable, written, offset } of variables) {
      if (!moves || !written || variable.pointer === undefined) continue;
      const value: IrNode = { kind: "get", variable, pointer: variable.pointer, source };
      block.nodes.push(value, store(context, offset, value));
    }
    block.nodes.push(
      store(context, returned.result, block.end.value),
      store(context, returned.flag, constant(1)),
    );
    block.end = { kind: "return", value: constant(1), source: block.end.source };
  }
  for (const [block, result] of [
    [next, 0],
    [out, 1],
  ] as const) {
    for (const { variable, written, offset } of variables) {
      if (!written) continue;
      const value: IrNode = { kind: "get", variable, pointer: variable.pointer, source };
      block.nodes.push(value, store(context, offset, value));
    }
    block.end = { kind: "return", value: constant(result), source };
  }

  const captured = slot();
  const base = frame(captured);
  const before: IrNode[] = values.map(({ value, offset }) => store(base, offset, value));
  for (const { variable, offset } of variables) {
    const value: IrNode = { kind: "get", variable, pointer: variable.pointer, source };
    before.push(value, store(base, offset, value));
  }
  if (returned !== undefined) before.push(store(base, returned.flag, constant(0)));
  const after = variables.flatMap(({ variable, written, offset }): IrNode[] => {
    if (!written) return [];
    const value = load(base, offset, variable.pointer);
    return [value, { kind: "set", variable, value, source }];
  });
  return {
    fn: { name, params: [...params], blocks: [...blocks, next, out], slots: [...slots] },
    slot: captured,
    before,
    after,
    returned: returned && {
      flag: load(base, returned.flag, undefined),
      result: load(base, returned.result, undefined),
    },
  };
}

/** The variables of the function around that the part reads or sets: they have their first value outside. */
function sharedVariables(
  outer: IrFunction,
  blocks: readonly IrBlock[],
): readonly { readonly variable: IrVar; readonly written: boolean }[] {
  const outside = new Set(
    outer.blocks.flatMap(({ nodes }) =>
      nodes.flatMap((node) => (node.kind === "set" ? [node.variable] : [])),
    ),
  );
  const written = new Map<IrVar, boolean>();
  for (const node of blocks.flatMap(({ nodes }) => nodes)) {
    if ((node.kind !== "get" && node.kind !== "set") || !outside.has(node.variable)) continue;
    written.set(node.variable, written.get(node.variable) === true || node.kind === "set");
  }
  return [...written].map(([variable, isWritten]) => ({ variable, written: isWritten }));
}

/** Addresses in the frame are made anew for each use: one value for each that is the same. */
function shareFrames(blocks: readonly IrBlock[]): void {
  const frames = new Map<IrSlot, Map<number, IrFrame>>();
  const share = (value: IrValue): IrValue => {
    if (value.kind !== "frame") return value;
    const { slot, offset } = value;
    const known = frames.get(slot) ?? new Map<number, IrFrame>();
    frames.set(slot, known);
    const same = known.get(offset) ?? value;
    known.set(offset, same);
    return same;
  };
  for (const block of blocks) {
    for (const node of block.nodes) mapOperands(node, share);
    mapEndOperands(block, share);
  }
}

/** The values that the part uses and does not compute. Addresses of maps are made anew wherever they are used. */
function capturedValues(
  blocks: readonly IrBlock[],
  slots: readonly IrSlot[],
  params: readonly IrParam[],
): readonly IrValue[] {
  const inside = new Set<IrNode>([...blocks.flatMap(({ nodes }) => nodes), ...params]);
  const captured = new Set<IrValue>();
  for (const value of blocks.flatMap((block) => [...block.nodes.flatMap(operands), ...endOperands(block)])) {
    if (inside.has(value) || value.kind === "const" || value.kind === "address") continue;
    if (value.kind === "frame" && slots.includes(value.slot)) continue;
    captured.add(value);
  }
  return [...captured];
}
