import * as bpf from "../../uapi/bpf.ts";
import type { IrSlot } from "../ir/ir.ts";
import { FRAME, type MachineBlock, type MachineInsn, type Reg, ways } from "./machine.ts";

/** r0 to r9. */
const COLOURS = 10;

/**
 * Gives every virtual register one of the machine's, by colouring the graph of which are alive together (Chaitin, Briggs).
 * Copies between registers that are never alive together go away. What finds no register lives in the stack frame.
 *
 * @returns the objects that spilled registers are kept in.
 */
export function allocate(blocks: readonly MachineBlock[], registers: number): readonly IrSlot[] {
  const slots: IrSlot[] = [];
  const unspillable = new Set<Reg>();
  let next = registers;
  for (;;) {
    const graph = interference(blocks);
    const merged = coalesce(blocks, graph);
    const result = colour(blocks, graph, merged, unspillable);
    if (result.spilled.length === 0) {
      apply(blocks, (reg) => (reg <= FRAME ? reg : (result.colours.get(merged(reg)) as Reg)));
      return slots;
    }
    for (const reg of result.spilled) {
      const slot: IrSlot = { name: "spill", size: 8, align: 8, scratch: false, source: undefined };
      slots.push(slot);
      next = spill(blocks, (one) => one > FRAME && merged(one) === reg, slot, next, unspillable);
    }
  }
}

type Graph = Map<Reg, Set<Reg>>;

/** Which registers hold something at the end of each block. */
export function liveOut(blocks: readonly MachineBlock[]): Map<MachineBlock, Set<Reg>> {
  const liveIn = new Map<MachineBlock, Set<Reg>>();
  const out = new Map<MachineBlock, Set<Reg>>(blocks.map((block) => [block, new Set()]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of blocks.toReversed()) {
      const live = out.get(block) as Set<Reg>;
      for (const to of ways(block)) for (const reg of liveIn.get(to) ?? []) live.add(reg);
      const start = new Set(live);
      for (const insn of block.insns.toReversed()) {
        for (const reg of insn.defs) start.delete(reg);
        for (const reg of insn.uses) start.add(reg);
      }
      if (start.size === liveIn.get(block)?.size) continue;
      liveIn.set(block, start);
      changed = true;
    }
  }
  return out;
}

function interference(blocks: readonly MachineBlock[]): Graph {
  const graph: Graph = new Map();
  const node = (reg: Reg): Set<Reg> => {
    let neighbours = graph.get(reg);
    if (neighbours === undefined) {
      neighbours = new Set();
      graph.set(reg, neighbours);
    }
    return neighbours;
  };
  for (let a = 0; a < COLOURS; a++) for (let b = 0; b < COLOURS; b++) if (a !== b) node(a).add(b);
  const out = liveOut(blocks);
  for (const block of blocks) {
    const live = new Set(out.get(block));
    const kept: MachineInsn[] = [];
    for (const insn of block.insns.toReversed()) {
      // What computes something that nobody uses, and does nothing else.
      const useless = insn.copy && insn.dst !== undefined && insn.dst > FRAME && !live.has(insn.dst);
      if (useless) continue;
      kept.push(insn);
      for (const def of insn.defs) {
        node(def);
        for (const other of live) {
          if (other === def || other === FRAME || (insn.copy && other === insn.src)) continue;
          node(def).add(other);
          node(other).add(def);
        }
        for (const other of insn.defs) if (other !== def) node(def).add(other);
      }
      for (const reg of insn.defs) live.delete(reg);
      for (const reg of insn.uses) {
        if (reg === FRAME) continue;
        live.add(reg);
        node(reg);
      }
    }
    block.insns = kept.reverse();
  }
  return graph;
}

/** Merges both sides of copies where that cannot cost a register. Gives the register that stands for each. */
function coalesce(blocks: readonly MachineBlock[], graph: Graph): (reg: Reg) => Reg {
  const stands = new Map<Reg, Reg>();
  const find = (reg: Reg): Reg => {
    let at = reg;
    for (let next = stands.get(at); next !== undefined; next = stands.get(at)) at = next;
    return at;
  };
  const copies = blocks
    .flatMap(({ insns, depth }) => insns.filter(({ copy }) => copy).map((insn) => ({ insn, depth })))
    .sort((a, b) => b.depth - a.depth);
  const degree = (reg: Reg): number =>
    reg < COLOURS ? Number.POSITIVE_INFINITY : (graph.get(reg)?.size ?? 0);
  for (let changed = true; changed; ) {
    changed = false;
    for (const { insn } of copies) {
      let [a, b] = [find(insn.dst as Reg), find(insn.src as Reg)];
      if (a === b || a === FRAME || b === FRAME) continue;
      if (b < COLOURS) [a, b] = [b, a];
      const [na, nb] = [graph.get(a) as Set<Reg>, graph.get(b) as Set<Reg>];
      if (b < COLOURS || na.has(b)) continue;
      const safe =
        a < COLOURS
          ? [...nb].every((one) => one < COLOURS || na.has(one) || degree(one) < COLOURS)
          : [...new Set([...na, ...nb])].filter((one) => significant(one, na, nb, degree)).length < COLOURS;
      if (!safe) continue;
      stands.set(b, a);
      for (const one of nb) {
        na.add(one);
        graph.get(one)?.delete(b);
        graph.get(one)?.add(a);
      }
      graph.delete(b);
      changed = true;
    }
  }
  return find;
}

function significant(
  one: Reg,
  na: ReadonlySet<Reg>,
  nb: ReadonlySet<Reg>,
  degree: (reg: Reg) => number,
): boolean {
  return degree(one) - (na.has(one) && nb.has(one) ? 1 : 0) >= COLOURS;
}

function colour(
  blocks: readonly MachineBlock[],
  graph: Graph,
  merged: (reg: Reg) => Reg,
  unspillable: ReadonlySet<Reg>,
): { readonly colours: ReadonlyMap<Reg, Reg>; readonly spilled: readonly Reg[] } {
  const cost = new Map<Reg, number>();
  const wishes = new Map<Reg, Reg[]>();
  const wish = (reg: Reg, other: Reg): void => {
    const known = wishes.get(reg);
    if (known === undefined) wishes.set(reg, [other]);
    else known.push(other);
  };
  for (const { insns, depth } of blocks) {
    for (const insn of insns) {
      for (const reg of [...insn.uses, ...insn.defs]) {
        const of = merged(reg);
        const more = unspillable.has(reg) ? Number.POSITIVE_INFINITY : 10 ** Math.min(depth, 6);
        cost.set(of, (cost.get(of) ?? 0) + more);
      }
      if (!insn.copy) continue;
      const [a, b] = [merged(insn.dst as Reg), merged(insn.src as Reg)];
      if (a === b) continue;
      wish(a, b);
      wish(b, a);
    }
  }
  const stack = simplificationOrder(graph, cost);
  const colours = new Map<Reg, Reg>();
  for (let reg = 0; reg < COLOURS; reg++) colours.set(reg, reg);
  const spilled: Reg[] = [];
  for (const reg of stack.reverse()) {
    const taken = new Set([...(graph.get(reg) as Set<Reg>)].map((one) => colours.get(one)));
    const wished = (wishes.get(reg) ?? [])
      .map((one) => colours.get(one))
      .find((one) => one !== undefined && !taken.has(one));
    const free = wished ?? ORDER.find((one) => !taken.has(one));
    if (free === undefined) spilled.push(reg);
    else colours.set(reg, free);
  }
  return { colours, spilled };
}

/**
 * The order in which registers leave the graph: those with few neighbours first, since they find a colour whatever the others
 * get; where all have many, the one that is cheapest to keep in memory, for what it frees.
 */
function simplificationOrder(graph: Graph, cost: ReadonlyMap<Reg, number>): Reg[] {
  const left = new Map<Reg, number>();
  const easy: Reg[] = [];
  for (const [reg, neighbours] of graph) {
    if (reg < COLOURS) continue;
    left.set(reg, neighbours.size);
    if (neighbours.size < COLOURS) easy.push(reg);
  }
  const order: Reg[] = [];
  while (left.size > 0) {
    const reg = easy.pop() ?? cheapest(left, cost);
    order.push(reg);
    left.delete(reg);
    for (const one of graph.get(reg) as Set<Reg>) {
      const degree = left.get(one);
      if (degree === undefined) continue;
      left.set(one, degree - 1);
      if (degree === COLOURS) easy.push(one);
    }
  }
  return order;
}

function cheapest(left: ReadonlyMap<Reg, number>, cost: ReadonlyMap<Reg, number>): Reg {
  let best: Reg | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const [reg, degree] of left) {
    const price = (cost.get(reg) ?? 0) / degree;
    if (best === undefined || price < least) [best, least] = [reg, price];
  }
  return best as Reg;
}

/** Those that calls spoil first, so that the others stay free for what lives across calls. */
const ORDER: readonly Reg[] = [1, 2, 3, 4, 5, 0, 6, 7, 8, 9];

/** Keeps a register in the stack frame: loads it before each use, stores it after each change. */
function spill(
  blocks: readonly MachineBlock[],
  isSpilled: (reg: Reg) => boolean,
  slot: IrSlot,
  firstFree: number,
  unspillable: Set<Reg>,
): number {
  let next = firstFree;
  for (const block of blocks) {
    block.insns = block.insns.flatMap((insn) => {
      const used = insn.uses.find(isSpilled);
      const defined = insn.defs.find(isSpilled);
      if (used === undefined && defined === undefined) return [insn];
      const temporary = next++;
      unspillable.add(temporary);
      const rename = (reg: Reg): Reg => (isSpilled(reg) ? temporary : reg);
      renameRegisters(insn, rename);
      const { source } = insn;
      const load: MachineInsn = {
        fields: { code: bpf.BPF_LDX | bpf.BPF_MEM | bpf.BPF_DW, off: 0 },
        dst: temporary,
        src: FRAME,
        uses: [FRAME],
        defs: [temporary],
        copy: false,
        slot,
        source,
      };
      const store: MachineInsn = {
        fields: { code: bpf.BPF_STX | bpf.BPF_MEM | bpf.BPF_DW, off: 0 },
        dst: FRAME,
        src: temporary,
        uses: [FRAME, temporary],
        defs: [],
        copy: false,
        slot,
        source,
      };
      return [...(used === undefined ? [] : [load]), insn, ...(defined === undefined ? [] : [store])];
    });
  }
  return next;
}

function renameRegisters(insn: MachineInsn, rename: (reg: Reg) => Reg): void {
  insn.dst = insn.dst === undefined ? undefined : rename(insn.dst);
  insn.src = insn.src === undefined ? undefined : rename(insn.src);
  insn.uses = insn.uses.map(rename);
  insn.defs = insn.defs.map(rename);
}

function apply(blocks: readonly MachineBlock[], rename: (reg: Reg) => Reg): void {
  for (const block of blocks) {
    for (const insn of block.insns) renameRegisters(insn, rename);
    block.insns = block.insns.filter((insn) => !(insn.copy && insn.dst === insn.src));
  }
}
