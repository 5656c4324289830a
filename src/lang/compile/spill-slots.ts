import type { SourceRef } from "../../asm/source-position.ts";
import * as bpf from "../../uapi/bpf.ts";
import type { IrSlot } from "../ir/ir.ts";
import { liveOut as liveRegisters } from "./allocate.ts";
import { type MachineBlock, type MachineInsn, type Reg, ways } from "./machine.ts";

/** Where most of the values that found no register are alive at once. */
export interface Pressure {
  readonly values: number;
  readonly source: SourceRef | undefined;
}

/**
 * Tidies what was kept in the stack frame for want of registers: values that are never alive together share their place, what
 * nobody loads again is not stored, and what is in a register still is not loaded again.
 *
 * @param spills - the places, one for each value.
 * @returns the places that are left, and where most of them are needed at once.
 */
export function tidySpills(
  blocks: readonly MachineBlock[],
  spills: readonly IrSlot[],
): { readonly slots: readonly IrSlot[]; readonly pressure: Pressure } {
  if (spills.length === 0) return { slots: [], pressure: { values: 0, source: undefined } };
  const known = new Set(spills);
  for (const block of blocks) reuseRegisters(block, known);
  const meet = new Map<IrSlot, Set<IrSlot>>(spills.map((slot) => [slot, new Set()]));
  let pressure: Pressure = { values: 0, source: undefined };
  const out = liveOut(blocks, known);
  for (const block of blocks) {
    const live = new Set(out.get(block));
    const kept: MachineInsn[] = [];
    for (const insn of block.insns.toReversed()) {
      if (live.size > pressure.values) pressure = { values: live.size, source: insn.source };
      if (isStore(insn, known)) {
        if (!live.delete(insn.slot)) continue;
        for (const other of live) {
          meet.get(insn.slot)?.add(other);
          meet.get(other)?.add(insn.slot);
        }
      } else if (isLoad(insn, known)) live.add(insn.slot);
      kept.push(insn);
    }
    block.insns = kept.reverse();
  }
  const shared = shareSlots(spills, meet);
  for (const block of blocks) {
    block.insns = block.insns.map((insn) => {
      const slot = insn.slot && shared.get(insn.slot);
      return slot === undefined || slot === insn.slot ? insn : { ...insn, slot };
    });
  }
  for (const block of blocks) reuseRegisters(block, known);
  dropUselessLoads(blocks, known);
  return { slots: [...new Set(shared.values())], pressure };
}

type SpillInsn = MachineInsn & { readonly slot: IrSlot };

function isLoad(insn: MachineInsn, spills: ReadonlySet<IrSlot>): insn is SpillInsn {
  const { slot, fields } = insn;
  return slot !== undefined && spills.has(slot) && (fields.code & 7) === bpf.BPF_LDX;
}

function isStore(insn: MachineInsn, spills: ReadonlySet<IrSlot>): insn is SpillInsn {
  return insn.slot !== undefined && spills.has(insn.slot) && !isLoad(insn, spills);
}

/** A load of what a register holds already becomes a copy, or nothing; a store of what is there already goes away. */
function reuseRegisters(block: MachineBlock, spills: ReadonlySet<IrSlot>): void {
  const held = new Map<IrSlot, Reg>();
  block.insns = block.insns.flatMap((insn): readonly MachineInsn[] => {
    const from = isLoad(insn, spills) ? held.get(insn.slot) : undefined;
    if (from !== undefined && from === insn.dst) return [];
    if (isStore(insn, spills) && held.get(insn.slot) === insn.src) return [];
    for (const reg of insn.defs) for (const [slot, by] of held) if (by === reg) held.delete(slot);
    if (isStore(insn, spills)) held.set(insn.slot, insn.src as Reg);
    else if (isLoad(insn, spills)) {
      held.set(insn.slot, insn.dst as Reg);
      if (from !== undefined) {
        const { dst, source } = insn;
        const fields = { code: bpf.BPF_ALU64 | bpf.BPF_MOV | bpf.BPF_X };
        return [{ fields, dst, src: from, uses: [from], defs: insn.defs, copy: true, source }];
      }
    }
    return [insn];
  });
}

/** Loads into registers that nobody looks at any more. */
function dropUselessLoads(blocks: readonly MachineBlock[], spills: ReadonlySet<IrSlot>): void {
  const out = liveRegisters(blocks);
  for (const block of blocks) {
    const live = new Set(out.get(block));
    block.insns = block.insns
      .toReversed()
      .filter((insn) => {
        if (isLoad(insn, spills) && !live.has(insn.dst as Reg)) return false;
        for (const reg of insn.defs) live.delete(reg);
        for (const reg of insn.uses) live.add(reg);
        return true;
      })
      .reverse();
  }
}

/** The places that are loaded from behind the end of each block, before they are stored to. */
function liveOut(
  blocks: readonly MachineBlock[],
  spills: ReadonlySet<IrSlot>,
): ReadonlyMap<MachineBlock, ReadonlySet<IrSlot>> {
  const liveIn = new Map<MachineBlock, Set<IrSlot>>();
  const out = new Map<MachineBlock, Set<IrSlot>>(blocks.map((block) => [block, new Set()]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of blocks.toReversed()) {
      const live = out.get(block) as Set<IrSlot>;
      for (const to of ways(block)) for (const slot of liveIn.get(to) ?? []) live.add(slot);
      const start = new Set(live);
      for (const insn of block.insns.toReversed()) {
        if (isStore(insn, spills)) start.delete(insn.slot);
        else if (isLoad(insn, spills)) start.add(insn.slot);
      }
      if (start.size === (liveIn.get(block)?.size ?? 0)) continue;
      liveIn.set(block, start);
      changed = true;
    }
  }
  return out;
}

/** Gives each value a place that none of those has with which it is alive. */
function shareSlots(
  spills: readonly IrSlot[],
  meet: ReadonlyMap<IrSlot, ReadonlySet<IrSlot>>,
): ReadonlyMap<IrSlot, IrSlot> {
  const chosen = new Map<IrSlot, IrSlot>();
  const places: IrSlot[] = [];
  for (const slot of spills) {
    const taken = new Set([...(meet.get(slot) ?? [])].map((other) => chosen.get(other)));
    let place = places.find((one) => !taken.has(one));
    if (place === undefined) {
      place = slot;
      places.push(place);
    }
    chosen.set(slot, place);
  }
  return chosen;
}
