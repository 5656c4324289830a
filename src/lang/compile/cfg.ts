import type { IrBlock, IrEnd, IrFunction } from "../ir/ir.ts";

/** Where a block may go next. */
export function successors({ end }: IrBlock): readonly IrBlock[] {
  return end === undefined ? [] : successorsOf(end);
}

function successorsOf(end: IrEnd): readonly IrBlock[] {
  switch (end.kind) {
    case "jump":
      return [end.to];
    case "branch":
      return end.yes === end.no ? [end.yes] : [end.yes, end.no];
    case "may_goto":
      return [end.next, end.out];
    default:
      return [];
  }
}

/** Makes every way from a block to `from` go to `to`. */
export function redirect(end: IrEnd, from: IrBlock, to: IrBlock): void {
  switch (end.kind) {
    case "jump":
      if (end.to === from) end.to = to;
      return;
    case "branch":
      if (end.yes === from) end.yes = to;
      if (end.no === from) end.no = to;
      return;
    case "may_goto":
      if (end.next === from) end.next = to;
      if (end.out === from) end.out = to;
  }
}

/** The blocks that can be reached, each before those that it goes to where that is possible (reverse post-order). */
export function reachable(fn: IrFunction): IrBlock[] {
  const [entry] = fn.blocks;
  if (entry === undefined) return [];
  const seen = new Set([entry]);
  const order: IrBlock[] = [];
  // By hand rather than by recursion: unrolled programs are deep.
  const stack: { readonly block: IrBlock; readonly next: IrBlock[] }[] = [];
  const enter = (block: IrBlock): void => {
    stack.push({ block, next: [...successors(block)].reverse() });
  };
  enter(entry);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    // The last pushed is visited last and so comes first: the straight way stays behind its block.
    const next = top.next.shift();
    if (next === undefined) {
      order.push(top.block);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      enter(next);
    }
  }
  return order.reverse();
}

/** The blocks that lead to each block. */
export function predecessors(blocks: readonly IrBlock[]): Map<IrBlock, IrBlock[]> {
  const result = new Map<IrBlock, IrBlock[]>(blocks.map((block) => [block, []]));
  for (const block of blocks) for (const next of successors(block)) result.get(next)?.push(block);
  return result;
}

/** Immediate dominators, for blocks in reverse post-order (Cooper, Harvey and Kennedy). */
export function dominators(blocks: readonly IrBlock[]): Map<IrBlock, IrBlock> {
  const index = new Map(blocks.map((block, at) => [block, at]));
  const before = predecessors(blocks);
  const result = new Map<IrBlock, IrBlock>();
  const [entry] = blocks;
  if (entry === undefined) return result;
  result.set(entry, entry);
  const meet = (left: IrBlock, right: IrBlock): IrBlock => {
    let [a, b] = [left, right];
    while (a !== b) {
      while ((index.get(a) as number) > (index.get(b) as number)) a = result.get(a) as IrBlock;
      while ((index.get(b) as number) > (index.get(a) as number)) b = result.get(b) as IrBlock;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of blocks.slice(1)) {
      const known = (before.get(block) ?? []).filter((one) => result.has(one));
      const dominator = known.reduce(meet);
      if (result.get(block) === dominator) continue;
      result.set(block, dominator);
      changed = true;
    }
  }
  return result;
}

/** How many loops each block is in. */
export function loopDepths(blocks: readonly IrBlock[]): Map<IrBlock, number> {
  const depth = new Map(blocks.map((block) => [block, 0]));
  const index = new Map(blocks.map((block, at) => [block, at]));
  const before = predecessors(blocks);
  for (const block of blocks) {
    for (const head of successors(block)) {
      if ((index.get(head) as number) > (index.get(block) as number)) continue;
      const body = new Set([head, block]);
      for (const inside of body) {
        if (inside === head) continue;
        for (const one of before.get(inside) ?? []) body.add(one);
      }
      for (const inside of body) depth.set(inside, (depth.get(inside) ?? 0) + 1);
    }
  }
  return depth;
}

/** Puts blocks together that always run one after the other, and takes out those that only jump on. */
export function simplifyFlow(fn: IrFunction): void {
  for (let changed = true; changed; ) {
    shareReturns(fn);
    const blocks = reachable(fn);
    fn.blocks.splice(0, fn.blocks.length, ...blocks);
    const before = predecessors(blocks);
    dropStalePhiInputs(blocks, before);
    changed = false;
    for (const block of blocks) {
      if (block.end === undefined) continue; // it is part of another by now
      if (block.end.kind === "branch" && block.end.yes === block.end.no) {
        block.end = { kind: "jump", to: block.end.yes, source: block.end.source };
        changed = true;
      }
      while (takeIn(block, before, blocks[0])) changed = true;
      if (block !== blocks[0] && passOver(block, before)) changed = true;
    }
  }
}

/** Appends the block that always follows, if nothing else leads to it. */
function takeIn(block: IrBlock, before: Map<IrBlock, IrBlock[]>, entry: IrBlock | undefined): boolean {
  if (block.end?.kind !== "jump") return false;
  const { to } = block.end;
  if (to === block || to === entry || before.get(to)?.length !== 1 || to.nodes[0]?.kind === "phi")
    return false;
  block.nodes = block.nodes.concat(to.nodes);
  block.end = to.end;
  for (const next of successors(block)) {
    renamePhiInput(next, to, block);
    before.set(
      next,
      (before.get(next) ?? []).map((way) => (way === to ? block : way)),
    );
  }
  to.nodes = [];
  to.end = undefined;
  before.set(to, []);
  return true;
}

/** Makes every way into a block that only jumps on lead to where it jumps. */
function passOver(block: IrBlock, before: Map<IrBlock, IrBlock[]>): boolean {
  if (block.end?.kind !== "jump" || block.nodes.length > 0) return false;
  const { to } = block.end;
  const ways = before.get(block) ?? [];
  if (to === block || ways.length === 0 || to.nodes[0]?.kind === "phi") return false;
  for (const way of ways) redirect(way.end as IrEnd, block, to);
  const others = (before.get(to) ?? []).filter((way) => way !== block);
  before.set(to, [...new Set([...others, ...ways])]);
  before.set(block, []);
  return true;
}

/** Blocks that do nothing but return the same constant become one. */
function shareReturns(fn: IrFunction): void {
  const shared = new Map<bigint, IrBlock>();
  const instead = new Map<IrBlock, IrBlock>();
  for (const block of reachable(fn)) {
    if (block.nodes.length > 0 || block.end?.kind !== "return" || block.end.value.kind !== "const") continue;
    if (block === fn.blocks[0]) continue;
    const same = shared.get(block.end.value.value);
    if (same === undefined) shared.set(block.end.value.value, block);
    else instead.set(block, same);
  }
  if (instead.size === 0) return;
  for (const { end } of fn.blocks) {
    if (end === undefined) continue;
    for (const to of successorsOf(end)) {
      const same = instead.get(to);
      if (same !== undefined) redirect(end, to, same);
    }
  }
}

function renamePhiInput(block: IrBlock, from: IrBlock, to: IrBlock): void {
  for (const node of block.nodes) {
    if (node.kind !== "phi") break;
    node.inputs = node.inputs.map((input) =>
      input.from === from ? { from: to, value: input.value } : input,
    );
  }
}

/** Phis hear only from blocks that still lead to them. */
function dropStalePhiInputs(
  blocks: readonly IrBlock[],
  before: ReadonlyMap<IrBlock, readonly IrBlock[]>,
): void {
  for (const block of blocks) {
    for (const node of block.nodes) {
      if (node.kind !== "phi") break;
      const ways = before.get(block) ?? [];
      if (node.inputs.some(({ from }) => !ways.includes(from))) {
        node.inputs = node.inputs.filter(({ from }) => ways.includes(from));
      }
    }
  }
}
