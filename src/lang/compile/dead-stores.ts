import type { IrBlock, IrFunction, IrNode, IrSlot, IrStore, IrValue } from "../ir/ir.ts";
import { predecessors, reachable } from "./cfg.ts";
import { endOperands, operands } from "./operands.ts";

/**
 * Takes out stores to objects of the stack frame whose bytes nobody reads afterwards: the zeros of a struct that is filled at
 * once, a field that is set twice, what a load was replaced of by the value itself.
 *
 * Only objects are looked at whose address is used for loads, stores and the arguments of calls: one that is computed with or
 * stored somewhere may be read by anybody. A call reads all of an object that it is given.
 *
 * @returns whether something was taken out.
 */
export function removeDeadStores(fn: IrFunction): boolean {
  const blocks = reachable(fn);
  const before = predecessors(blocks);
  let changed = false;
  for (const [slot, touching] of privateSlots(blocks)) {
    const dead = deadStores(slot, touching, before);
    if (dead.size === 0) continue;
    changed = true;
    for (const block of touching) block.nodes = block.nodes.filter((node) => !dead.has(node));
  }
  return changed;
}

/** The objects whose address stays where it is seen, with the blocks that access them. */
function privateSlots(blocks: readonly IrBlock[]): ReadonlyMap<IrSlot, ReadonlySet<IrBlock>> {
  const touching = new Map<IrSlot, Set<IrBlock>>();
  const escaped = new Set<IrSlot>();
  const leak = (value: IrValue): void => {
    if (value.kind === "frame") escaped.add(value.slot);
  };
  for (const block of blocks) {
    for (const node of block.nodes) {
      for (const slot of accessedBy(node)) {
        const known = touching.get(slot);
        if (known === undefined) touching.set(slot, new Set([block]));
        else known.add(block);
      }
      if (node.kind === "store") leak(node.value);
      else if (node.kind === "atomic") for (const value of operands(node).slice(1)) leak(value);
      else if (node.kind !== "load" && node.kind !== "call") operands(node).forEach(leak);
    }
    endOperands(block).forEach(leak);
  }
  for (const slot of escaped) touching.delete(slot);
  return touching;
}

/** The objects whose addresses a node is given, to access them. */
function accessedBy(node: IrNode): readonly IrSlot[] {
  const slotOf = (value: IrValue): readonly IrSlot[] => (value.kind === "frame" ? [value.slot] : []);
  if (node.kind === "load" || node.kind === "store" || node.kind === "atomic") return slotOf(node.base);
  return node.kind === "call" ? node.args.flatMap(slotOf) : [];
}

/** Bytes of one object, as bits. */
type Bytes = bigint;

function deadStores(
  slot: IrSlot,
  touching: ReadonlySet<IrBlock>,
  before: ReadonlyMap<IrBlock, readonly IrBlock[]>,
): ReadonlySet<IrNode> {
  // What is read at the end of each block, by it and those behind it. What nobody reads is not in here.
  const liveOut = new Map<IrBlock, Bytes>();
  const work: IrBlock[] = [...touching];
  for (let block = work.pop(); block !== undefined; block = work.pop()) {
    let live = liveOut.get(block) ?? 0n;
    if (touching.has(block)) {
      for (const node of block.nodes.toReversed()) live = liveBefore(node, slot, live);
    }
    for (const way of before.get(block) ?? []) {
      const known = liveOut.get(way) ?? 0n;
      if ((known | live) === known) continue;
      liveOut.set(way, known | live);
      work.push(way);
    }
  }
  const dead = new Set<IrNode>();
  for (const block of touching) {
    let live = liveOut.get(block) ?? 0n;
    for (const node of block.nodes.toReversed()) {
      if (isStoreTo(node, slot) && !node.volatile && (bytesOf(node) & live) === 0n) dead.add(node);
      live = liveBefore(node, slot, live);
    }
  }
  return dead;
}

function liveBefore(node: IrNode, slot: IrSlot, live: Bytes): Bytes {
  if (isStoreTo(node, slot)) return live & ~bytesOf(node);
  if (node.kind === "load" && node.base.kind === "frame" && node.base.slot === slot) {
    return live | bytesOf(node);
  }
  return accessedBy(node).includes(slot) ? (1n << BigInt(slot.size)) - 1n : live;
}

function isStoreTo(node: IrNode, slot: IrSlot): node is IrStore {
  return node.kind === "store" && node.base.kind === "frame" && node.base.slot === slot;
}

function bytesOf({
  base,
  offset,
  size,
}: {
  readonly base: IrValue;
  readonly offset: number;
  readonly size: number;
}): Bytes {
  const at = offset + (base.kind === "frame" ? base.offset : 0);
  return ((1n << BigInt(size)) - 1n) << BigInt(Math.max(0, at));
}
