import * as bpf from "../../uapi/bpf.ts";
import type { MachineBlock, MachineInsn } from "./machine.ts";

/**
 * Puts blocks in an order in which most go on into the one behind them, and adds jumps where they do not. Blocks without
 * instructions go away.
 */
export function layOut(blocks: readonly MachineBlock[]): MachineBlock[] {
  const [entry] = blocks;
  if (entry === undefined) return [];
  for (const block of blocks) {
    block.next = block.next === undefined ? undefined : through(block.next);
    block.insns = block.insns.map((insn) =>
      insn.to === undefined ? insn : { ...insn, to: through(insn.to) },
    );
    dropIdleJump(block);
  }
  const order: MachineBlock[] = [];
  const placed = new Set<MachineBlock>();
  const place = (first: MachineBlock): void => {
    for (
      let block: MachineBlock | undefined = first;
      block !== undefined && !placed.has(block);
      block = block.next
    ) {
      placed.add(block);
      order.push(block);
      preferSide(block, placed);
    }
  };
  place(entry);
  // What is jumped to from placed blocks, in the order of the jumps.
  for (let at = 0; at < order.length; at++) {
    for (const { to } of (order[at] as MachineBlock).insns) if (to !== undefined) place(to);
  }
  for (const [index, block] of order.entries()) {
    if (block.next === undefined || block.next === order[index + 1]) continue;
    const source = block.insns.at(-1)?.source;
    block.insns.push({
      fields: { code: bpf.BPF_JMP | bpf.BPF_JA },
      dst: undefined,
      src: undefined,
      uses: [],
      defs: [],
      copy: false,
      to: block.next,
      source,
    });
  }
  return order;
}

/** The block that a way into an empty one ends in. */
function through(block: MachineBlock): MachineBlock {
  const seen = new Set<MachineBlock>();
  let at = block;
  while (at.insns.length === 0 && at.next !== undefined && !seen.has(at)) {
    seen.add(at);
    at = at.next;
  }
  return at;
}

/** A conditional jump to where the block goes anyway. */
function dropIdleJump(block: MachineBlock): void {
  const last = block.insns.at(-1);
  if (last?.to !== undefined && last.to === block.next) block.insns.pop();
}

/**
 * Turns the condition round, so that the jump's target comes first: where the way on is placed already, and where the target
 * goes on to it, as the body of an `if` without `else` does. Either saves a jump.
 */
function preferSide(block: MachineBlock, placed: ReadonlySet<MachineBlock>): void {
  const last = block.insns.at(-1);
  const { next } = block;
  if (last?.to === undefined || next === undefined || placed.has(last.to)) return;
  if (!placed.has(next) && !runsInto(last.to, next, placed)) return;
  const inverted = INVERSE.get(last.fields.code & 0xf0);
  if (inverted === undefined) return;
  const turned: MachineInsn = {
    ...last,
    fields: { ...last.fields, code: (last.fields.code & 0x0f) | inverted },
    to: next,
  };
  block.next = last.to;
  block.insns[block.insns.length - 1] = turned;
}

/** Whether a block, and those that it goes on to, would be placed right in front of another. */
function runsInto(from: MachineBlock, to: MachineBlock, placed: ReadonlySet<MachineBlock>): boolean {
  const seen = new Set<MachineBlock>();
  for (let at = from.next; at !== undefined && !placed.has(at) && !seen.has(at); at = at.next) {
    if (at === to) return true;
    seen.add(at);
  }
  return false;
}

// jeq/jne, jgt/jle, jge/jlt, jsgt/jsle, jsge/jslt.
const INVERSE: ReadonlyMap<number, number> = new Map([
  [bpf.BPF_JEQ, bpf.BPF_JNE],
  [bpf.BPF_JNE, bpf.BPF_JEQ],
  [bpf.BPF_JGT, bpf.BPF_JLE],
  [bpf.BPF_JLE, bpf.BPF_JGT],
  [bpf.BPF_JGE, bpf.BPF_JLT],
  [bpf.BPF_JLT, bpf.BPF_JGE],
  [bpf.BPF_JSGT, bpf.BPF_JSLE],
  [bpf.BPF_JSLE, bpf.BPF_JSGT],
  [bpf.BPF_JSGE, bpf.BPF_JSLT],
  [bpf.BPF_JSLT, bpf.BPF_JSGE],
]);
