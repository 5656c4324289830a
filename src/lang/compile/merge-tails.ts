import type { InsnRef } from "../../asm/insn.ts";
import type { MachineBlock, MachineInsn } from "./machine.ts";

/** So many instructions are worth a jump to where they stand already. */
const WORTH_A_JUMP = 3;

/**
 * Where the last instructions of a block are all that another block has, and both go on to the same place, they stand there
 * once: the first block goes on into the second, which the layout can put right behind it. `r0 = 0; exit` is the usual case.
 */
export function mergeTails(blocks: readonly MachineBlock[]): void {
  const [entry] = blocks;
  const alike = new Map<string, MachineBlock[]>();
  const entered = new Set<MachineBlock>();
  for (const block of blocks) {
    if (block.next !== undefined) entered.add(block.next);
    const last = block.insns.at(-1);
    if (last === undefined) continue;
    const { code, off, imm } = last.fields;
    const key = [code, off, imm, last.dst, last.src].join(" ");
    alike.set(key, [...(alike.get(key) ?? []), block]);
  }
  for (const group of alike.values()) {
    for (const tail of group) {
      if (tail === entry || tail.insns.length === 0) continue;
      for (const block of group) {
        if (block === tail || block.next !== tail.next || !endsWith(block, tail)) continue;
        // What is entered by a jump only can be put behind one block for nothing.
        const whole = block.insns.length === tail.insns.length;
        if (whole ? block === entry : entered.has(tail) && tail.insns.length < WORTH_A_JUMP) continue;
        block.insns = block.insns.slice(0, block.insns.length - tail.insns.length);
        block.next = tail;
        if (!whole) entered.add(tail);
      }
    }
  }
}

function endsWith({ insns }: MachineBlock, tail: MachineBlock): boolean {
  const start = insns.length - tail.insns.length;
  return start >= 0 && tail.insns.every((insn, at) => sameInsn(insn, insns[start + at] as MachineInsn));
}

function sameInsn(a: MachineInsn, b: MachineInsn): boolean {
  return (
    a.fields.code === b.fields.code &&
    a.fields.off === b.fields.off &&
    a.fields.imm === b.fields.imm &&
    a.fields.next_imm === b.fields.next_imm &&
    sameRef(a.fields.ref, b.fields.ref) &&
    a.dst === b.dst &&
    a.src === b.src &&
    a.fixedSrc === b.fixedSrc &&
    a.to === b.to &&
    a.slot === b.slot &&
    a.fn === b.fn
  );
}

function sameRef(a: InsnRef | undefined, b: InsnRef | undefined): boolean {
  if (a === b) return true;
  if (a?.kind === "helper" && b?.kind === "helper") return a.helper === b.helper;
  if (a?.kind === "map" && b?.kind === "map") return a.map === b.map && a.value === b.value;
  return (a?.kind === "kfunc" && b?.kind === "kfunc") || (a?.kind === "ksym" && b?.kind === "ksym")
    ? a.name === b.name
    : false;
}
