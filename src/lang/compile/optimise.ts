import type { IrBlock, IrEnd, IrFunction, IrLoad, IrNode, IrTarget, IrValue, MemoryClass } from "../ir/ir.ts";
import { possibleBits, upTo } from "./bits.ts";
import { dominators, predecessors, reachable, simplifyFlow } from "./cfg.ts";
import { removeDeadStores } from "./dead-stores.ts";
import { holds, number, simplify } from "./fold.ts";
import { narrow } from "./narrow.ts";
import { endOperands, mapEndOperands, mapOperands, operands } from "./operands.ts";
import { removeTrivialPhis } from "./ssa.ts";
import { swap } from "./swap.ts";

/** Makes a function in single assignments smaller and faster, until nothing changes any more. */
export function optimise(fn: IrFunction, target: IrTarget): void {
  for (let round = 0; round < 8; round++) {
    simplifyFlow(fn);
    removeTrivialPhis(fn);
    const changed = [
      rewrite(fn),
      decideBranches(fn),
      strengthenChecks(fn),
      returnEarly(fn),
      removeDead(fn),
      removeDeadStores(fn),
    ];
    if (!changed.includes(true)) break;
  }
  narrowStores(fn);
  removeDead(fn);
  simplifyFlow(fn);
  narrow(fn, target);
  removeDead(fn);
}

/** A store of two bytes writes the lower two of its value, whatever is above: masks that cut no more than that go. */
function narrowStores(fn: IrFunction): void {
  for (const { nodes } of reachable(fn)) {
    for (const node of nodes) {
      if (node.kind !== "store" || node.size === 8) continue;
      const written = upTo(node.size * 8);
      for (let { value } = node; value.pointer === undefined; node.value = value) {
        if (value.kind === "unary" && value.op === "zext32") value = value.a;
        else if (
          value.kind === "binary" &&
          value.op === "and" &&
          value.b.kind === "const" &&
          (value.b.value & written) === written
        )
          value = value.a;
        else break;
      }
    }
  }
}

/** What is in memory, as a value. */
interface Loaded {
  readonly value: IrValue;
  readonly memory: MemoryClass;
  readonly base: IrValue;
}

/** Simplifies values, and computes the same thing once (dominator-scoped common subexpressions). */
function rewrite(fn: IrFunction): boolean {
  const blocks = reachable(fn);
  const dominator = dominators(blocks);
  const children = new Map<IrBlock, IrBlock[]>(blocks.map((block) => [block, []]));
  for (const block of blocks) {
    const parent = dominator.get(block);
    if (parent !== undefined && parent !== block) children.get(parent)?.push(block);
  }
  const written = writtenMemory(blocks);
  const names = new Map<IrValue, number>();
  const nameOf = (value: IrValue): string => {
    if (value.kind === "const") return `#${value.value}`;
    if (value.kind === "param") return `p${value.index}`;
    if (value.kind === "frame") return `f${fn.slots.indexOf(value.slot)}+${value.offset}`;
    let name = names.get(value);
    if (name === undefined) {
      name = names.size;
      names.set(value, name);
    }
    return `v${name}`;
  };
  // A simpler value is one that stands somewhere already, or a new one.
  const standing = new Set<IrNode>(blocks.flatMap(({ nodes }) => nodes));
  const replaced = new Map<IrValue, IrValue>();
  const resolve = (value: IrValue): IrValue => {
    let at = value;
    for (let next = replaced.get(at); next !== undefined; next = replaced.get(at)) at = next;
    return at;
  };
  let changed = false;
  const before = predecessors(blocks);
  const stack: {
    readonly block: IrBlock;
    readonly known: ReadonlyMap<string, IrValue>;
    readonly loads: ReadonlyMap<string, Loaded>;
  }[] = [];
  const [entry] = blocks;
  if (entry !== undefined) stack.push({ block: entry, known: new Map(), loads: new Map() });
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { block } = top;
    const known = new Map(top.known);
    const loads = new Map(top.loads);
    const nodes: IrNode[] = [];
    for (const original of block.nodes) {
      if (original.kind !== "phi") mapOperands(original, resolve);
      let node: IrNode = original;
      if (node.kind === "binary" || node.kind === "unary") {
        const simple = simplify(node);
        if (simple !== node) {
          changed = true;
          replaced.set(original as IrValue, simple);
          if ((simple.kind !== "binary" && simple.kind !== "unary") || standing.has(simple)) continue;
          standing.add(simple);
          node = simple;
        }
      }
      foldAddress(node);
      const key = keyOf(node, nameOf);
      if (key !== undefined) {
        const before = known.get(key);
        if (before !== undefined) {
          replaced.set(node as IrValue, before);
          if (node !== original) replaced.set(original as IrValue, before);
          changed = true;
          continue;
        }
        known.set(key, node as IrValue);
      }
      if (node.kind === "load" && !node.volatile) {
        const place = `${nameOf(node.base)}+${node.offset}:${node.size}${node.signed ? "s" : ""}`;
        const before =
          loads.get(place)?.value ?? (written.has(node.memory) ? undefined : known.get(`load ${place}`));
        if (before !== undefined) {
          replaced.set(node, before);
          changed = true;
          continue;
        }
        loads.set(place, { value: node, memory: node.memory, base: node.base });
        if (!written.has(node.memory) && node.memory !== "any") known.set(`load ${place}`, node);
      }
      forgetLoads(node, loads);
      if (node.kind === "store" && !node.volatile) {
        const fits = (possibleBits(node.value) & ~upTo(node.size * 8)) === 0n;
        const place = `${nameOf(node.base)}+${node.offset}:${node.size}`;
        if ((fits || node.size === 8) && node.value.pointer === undefined) {
          loads.set(place, { value: node.value, memory: node.memory, base: node.base });
        }
      }
      nodes.push(node);
    }
    block.nodes = nodes;
    mapEndOperands(block, resolve);
    for (const child of (children.get(block) ?? []).toReversed()) {
      // What is in memory at the end of a block is there at the start of one that only it leads to.
      const only = before.get(child)?.length === 1;
      stack.push({ block: child, known, loads: only ? loads : new Map() });
    }
  }
  // Phis may use what was replaced in blocks that come later.
  for (const block of blocks) {
    for (const node of block.nodes) mapOperands(node, resolve);
    mapEndOperands(block, resolve);
  }
  return changed;
}

/** `*(u32 *)((p + 14) + 2)` as `*(u32 *)(p + 16)`. */
function foldAddress(node: IrNode): void {
  if (node.kind !== "load" && node.kind !== "store" && node.kind !== "atomic") return;
  const { base } = node;
  if (base.kind === "frame" && base.offset !== 0) {
    node.base = { ...base, offset: 0 };
    node.offset += base.offset;
    return;
  }
  if (base.kind !== "binary" || base.op !== "add" || base.b.kind !== "const" || base.a.pointer === undefined)
    return;
  const offset = node.offset + Number(BigInt.asIntN(64, base.b.value));
  if (offset < -0x8000 || offset > 0x7fff) return;
  node.base = base.a;
  node.offset = offset;
  foldAddress(node);
}

/** What makes two nodes compute the same, for those that may stand for each other; `undefined` for others. */
function keyOf(node: IrNode, nameOf: (value: IrValue) => string): string | undefined {
  switch (node.kind) {
    case "binary":
      return `${node.op}${node.width} ${nameOf(node.a)} ${nameOf(node.b)}`;
    case "unary":
      return `${node.op}${node.width} ${nameOf(node.a)}`;
    case "call":
      if (!node.pure || node.callee.kind !== "helper") return undefined;
      return `call ${node.callee.helper.name} ${node.args.map(nameOf).join(" ")}`;
    default:
      return undefined;
  }
}

/** The memory that the function may write at all: what it never writes stays as it was first read. */
function writtenMemory(blocks: readonly IrBlock[]): ReadonlySet<MemoryClass> {
  const written = new Set<MemoryClass>(["any"]);
  for (const { nodes } of blocks) {
    for (const node of nodes) {
      if (node.kind === "store" || node.kind === "atomic") written.add(node.memory);
      if (node.kind === "call") for (const memory of node.writes) written.add(memory);
    }
  }
  // What is written as `any` may be each of them, but for the context, which has no other name.
  const anything = blocks.some(({ nodes }) =>
    nodes.some(
      (node) =>
        ((node.kind === "store" || node.kind === "atomic") && node.memory === "any") ||
        (node.kind === "call" && node.writes.includes("any")),
    ),
  );
  if (anything) for (const memory of ["packet", "stack", "map_value", "ctx"] as const) written.add(memory);
  // Other CPUs write the values of maps.
  return written.add("map_value");
}

function forgetLoads(node: IrNode, loads: Map<string, Loaded>): void {
  const writes: readonly MemoryClass[] =
    node.kind === "store" || node.kind === "atomic" ? [node.memory] : node.kind === "call" ? node.writes : [];
  if (writes.length === 0) return;
  for (const [place, { memory, base }] of loads) {
    const other =
      node.kind === "store" &&
      memory === "stack" &&
      node.base.kind === "frame" &&
      base.kind === "frame" &&
      node.base.slot !== base.slot;
    if (other) continue;
    if (writes.includes(memory) || writes.includes("any") || memory === "any") loads.delete(place);
  }
}

/** Branches whose condition is known become jumps; comparisons lose what does not matter to them. */
function decideBranches(fn: IrFunction): boolean {
  const blocks = reachable(fn);
  const dominator = dominators(blocks);
  const before = predecessors(blocks);
  let changed = false;
  for (const block of blocks) {
    const { end } = block;
    if (end?.kind !== "branch") continue;
    changed = tidyComparison(end) || changed;
    const { a, b, op, width, source } = end;
    let known: boolean | undefined;
    if (a.kind === "const" && b.kind === "const") known = holds(op, width, a.value, b.value);
    else if (isBoundsCheck(end)) known = checkedBefore(block, end, dominator, before);
    else if (b.kind === "const" && a.pointer === undefined) {
      known = byRange(op, possibleBits(a) & upTo(width), b.value & upTo(width));
    }
    if (known === undefined) continue;
    block.end = { kind: "jump", to: known ? end.yes : end.no, source };
    changed = true;
  }
  return changed;
}

type Branch = IrEnd & { kind: "branch" };

/** Byte swaps on both sides cancel out, and `(x & mask) != 0` is a test of bits. */
function tidyComparison(end: Branch): boolean {
  if (end.a.kind === "const" && end.b.kind !== "const") {
    const flipped = FLIPPED[end.op];
    if (flipped !== undefined) {
      [end.a, end.b, end.op] = [end.b, end.a, flipped];
      return true;
    }
  }
  const { a, b } = end;
  if ((end.op === "eq" || end.op === "ne") && b.kind === "const" && a.kind === "unary") {
    const bits = Number(/^(?:be|le)(\d+)$/.exec(a.op)?.[1] ?? 0);
    if (bits > 0 && bits <= end.width && b.value <= upTo(bits) && possibleBits(a.a) <= upTo(bits)) {
      end.b = number(swap(a.op, b.value, bits));
      end.a = a.a;
      return true;
    }
  }
  if ((end.op === "eq" || end.op === "ne") && b.kind === "const" && b.value === 0n) {
    // A comparison of the lower halves does not see what the mask leaves in the upper ones.
    const seen = end.width === 64 || a.kind !== "binary" || possibleBits(a) <= upTo(32);
    if (seen && a.kind === "binary" && a.op === "and" && a.a.pointer === undefined) {
      end.op = end.op === "eq" ? "nset" : "set";
      end.width = a.width;
      end.a = a.a;
      end.b = a.b;
      return true;
    }
  }
  return false;
}

const FLIPPED: Readonly<Partial<Record<Branch["op"], Branch["op"]>>> = {
  eq: "eq",
  ne: "ne",
  gt: "lt",
  lt: "gt",
  ge: "le",
  le: "ge",
  sgt: "slt",
  slt: "sgt",
  sge: "sle",
  sle: "sge",
  set: "set",
  nset: "nset",
};

function byRange(op: Branch["op"], bits: bigint, limit: bigint): boolean | undefined {
  if ((op === "gt" && bits <= limit) || (op === "ge" && bits < limit)) return false;
  if ((op === "le" && bits <= limit) || (op === "lt" && bits < limit)) return true;
  if (op === "eq" && (limit & ~bits) !== 0n) return false;
  if (op === "ne" && (limit & ~bits) !== 0n) return true;
  return undefined;
}

function isBoundsCheck(end: Branch): boolean {
  return end.op === "gt" && end.width === 64 && end.b.pointer === "packet_end";
}

/** Whether a bounds check lies behind another one of at least as many bytes from the same place. */
function checkedBefore(
  block: IrBlock,
  end: Branch,
  dominator: ReadonlyMap<IrBlock, IrBlock>,
  before: ReadonlyMap<IrBlock, readonly IrBlock[]>,
): false | undefined {
  const [base, size] = baseAndOffset(end.a);
  for (
    let at = block, up = dominator.get(at);
    up !== undefined && up !== at;
    at = up, up = dominator.get(at)
  ) {
    const earlier = up.end;
    if (earlier?.kind !== "branch" || !isBoundsCheck(earlier) || earlier.b !== end.b) continue;
    const [earlierBase, earlierSize] = baseAndOffset(earlier.a);
    if (earlierBase !== base || earlierSize < size) continue;
    // Only what lies behind its good side is proven.
    if (earlier.no === at && before.get(at)?.length === 1) return false;
  }
  return undefined;
}

/**
 * A bounds check takes over a later one of more bytes, if all that lies between them goes the same way as both for what they
 * refuse, and does nothing on its way there: such a packet ends where it would have ended anyway.
 */
function strengthenChecks(fn: IrFunction): boolean {
  const blocks = reachable(fn);
  const before = predecessors(blocks);
  let changed = false;
  for (const block of blocks) {
    const { end } = block;
    if (end?.kind !== "branch" || !isBoundsCheck(end)) continue;
    const [base, size] = baseAndOffset(end.a);
    let largest = size;
    let from = block;
    let at = end.no;
    while (before.get(at)?.length === 1 && at !== block && at.nodes.every(isHarmless)) {
      const next = at.end;
      if (next?.kind === "jump") {
        [from, at] = [at, next.to];
        continue;
      }
      if (next?.kind !== "branch") break;
      const [ownBase, ownSize] = isBoundsCheck(next) ? baseAndOffset(next.a) : [undefined, 0];
      if (ownBase === base && next.b === end.b && leadsTheSameWay(at, block, next.yes, end.yes)) {
        largest = Math.max(largest, ownSize);
        at.end = { kind: "jump", to: next.no, source: next.source };
        changed = true;
        [from, at] = [at, next.no];
      } else if (leadsTheSameWay(at, block, next.yes, end.yes)) [from, at] = [at, next.no];
      else if (leadsTheSameWay(at, block, next.no, end.yes)) [from, at] = [at, next.yes];
      else break;
    }
    if (largest === size) continue;
    const source = from.end?.source ?? end.source;
    const a: IrValue = {
      kind: "binary",
      op: "add",
      width: 64,
      a: base,
      b: number(BigInt(largest)),
      pointer: "packet",
      source,
    };
    block.nodes.push(a);
    end.a = a;
  }
  return changed;
}

/** A block that goes to one which only returns a constant, depending on the way that led there, returns it itself. */
function returnEarly(fn: IrFunction): boolean {
  let changed = false;
  for (const block of reachable(fn)) {
    const { end } = block;
    if (end?.kind !== "jump") continue;
    const { nodes, end: next } = end.to;
    if (next?.kind !== "return" || next.value.kind !== "phi" || !nodes.every(({ kind }) => kind === "phi"))
      continue;
    const phi = next.value;
    const value = nodes.includes(phi) ? phi.inputs.find(({ from }) => from === block)?.value : undefined;
    if (value?.kind !== "const") continue;
    block.end = { ...next, value };
    changed = true;
  }
  return changed;
}

/** Whether the way of one block to `to` and that of another to `otherTo` end in one block, and bring it the same values. */
function leadsTheSameWay(from: IrBlock, other: IrBlock, to: IrBlock, otherTo: IrBlock): boolean {
  const [a, b] = [throughEmpty(from, to), throughEmpty(other, otherTo)];
  if (a.to !== b.to) return false;
  return a.to.nodes.every((node) => {
    if (node.kind !== "phi") return true;
    const [left, right] = [a, b].map((way) => node.inputs.find((input) => input.from === way.from)?.value);
    return left !== undefined && right !== undefined && sameValue(left, right);
  });
}

/** Where a way really ends: blocks that only jump on are passed. */
function throughEmpty(from: IrBlock, to: IrBlock): { readonly from: IrBlock; readonly to: IrBlock } {
  let way = { from, to };
  for (const seen = new Set<IrBlock>(); !seen.has(way.to); ) {
    const { end, nodes } = way.to;
    if (nodes.length > 0 || end?.kind !== "jump") break;
    seen.add(way.to);
    way = { from: way.to, to: end.to };
  }
  return way;
}

function sameValue(a: IrValue, b: IrValue): boolean {
  return a === b || (a.kind === "const" && b.kind === "const" && a.value === b.value);
}

/** What only computes, and may be left out or done earlier as far as others see. */
function isHarmless(node: IrNode): boolean {
  return node.kind === "binary" || node.kind === "unary" || (node.kind === "load" && !node.volatile);
}

/** A pointer as another one and a constant distance from it. */
function baseAndOffset(pointer: IrValue): [base: IrValue, offset: number] {
  if (pointer.kind !== "binary" || pointer.op !== "add" || pointer.b.kind !== "const") return [pointer, 0];
  const [base, offset] = baseAndOffset(pointer.a);
  return [base, offset + Number(BigInt.asIntN(64, pointer.b.value))];
}

/** Takes out what nobody uses. */
function removeDead(fn: IrFunction): boolean {
  const blocks = reachable(fn);
  const live = new Set<IrValue>();
  const work: IrValue[] = [];
  const use = (value: IrValue): void => {
    if (live.has(value)) return;
    live.add(value);
    work.push(value);
  };
  for (const block of blocks) {
    for (const node of block.nodes) if (hasEffect(node)) for (const value of operands(node)) use(value);
    for (const value of endOperands(block)) use(value);
  }
  for (let value = work.pop(); value !== undefined; value = work.pop())
    for (const used of operands(value)) use(used);
  let changed = false;
  for (const block of blocks) {
    const nodes = block.nodes.filter((node) => hasEffect(node) || live.has(node as IrValue));
    changed = changed || nodes.length !== block.nodes.length;
    block.nodes = nodes;
  }
  return changed;
}

function hasEffect(node: IrNode): boolean {
  if (node.kind === "store" || node.kind === "atomic" || node.kind === "set") return true;
  if (node.kind === "call") return !node.removable;
  return node.kind === "load" && (node as IrLoad).volatile;
}
