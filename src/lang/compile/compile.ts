import type { Insn, InsnRef } from "../../asm/insn.ts";
import type { Block, Subprogram } from "../../asm/program.ts";
import type { SourceRef } from "../../asm/source-position.ts";
import { LangError } from "../error.ts";
import type { IrFunction, IrSlot, IrTarget } from "../ir/ir.ts";
import { allocate } from "./allocate.ts";
import { layOut } from "./layout.ts";
import type { MachineBlock, MachineInsn } from "./machine.ts";
import { mergeTails } from "./merge-tails.ts";
import { optimise } from "./optimise.ts";
import { select } from "./select.ts";
import { type Pressure, tidySpills } from "./spill-slots.ts";
import { toSingleAssignment } from "./ssa.ts";

/** What the kernel gives a function and those that it calls, together. */
const STACK_SIZE = 512;
/** The kernel rounds each frame up to this; those from 6.8 on to 16 where there is a JIT compiler. */
const FRAME_UNIT = 32;
/** How many functions may be active at once (`MAX_CALL_FRAMES`). */
const MAX_FRAMES = 8;

/**
 * Compiles a function, and those that it calls, into blocks of instructions. The graph is used up.
 *
 * @throws LangError for what cannot be compiled: a variable that may not have been set, a stack frame above 512 bytes,
 * be it for more values at once than there are registers and room for, functions that call themselves.
 */
export function compile(entry: IrFunction, target: IrTarget): readonly Block[] {
  const compiled = compileFunction(entry, target, { subprograms: new Map(), active: new Set() });
  checkDepth(compiled.deepest);
  checkStack(compiled.largest);
  return compiled.blocks;
}

interface Context {
  readonly subprograms: Map<IrFunction, Called>;
  readonly active: Set<IrFunction>;
}

/** Functions that call each other, outermost first. */
type Chain = readonly {
  readonly name: string;
  readonly stack: number;
  readonly source: SourceRef | undefined;
}[];

interface Compiled {
  readonly blocks: readonly Block[];
  /** The way down that takes most of the stack. */
  readonly largest: Chain;
  /** The way down through most functions. */
  readonly deepest: Chain;
}

interface Called extends Compiled {
  readonly subprogram: Subprogram;
}

function compileFunction(fn: IrFunction, target: IrTarget, context: Context): Compiled {
  context.active.add(fn);
  toSingleAssignment(fn);
  optimise(fn, target);
  const { blocks, registers } = select(fn, target);
  const spills = tidySpills(blocks, allocate(blocks, registers));
  mergeTails(blocks);
  const placed = layOut(blocks);
  if (target.isa < 4) checkJumps(fn, placed);
  const slots = placeSlots(fn, placed, spills);
  const names = nameBlocks(placed);
  const result = placed.map((block) => ({
    name: names.get(block) as string,
    insns: block.insns.map((insn) => finish(insn, slots, names, target, context)),
  }));
  context.active.delete(fn);
  const stack = Math.max(1, ...[...slots.values()].map((offset) => -offset));
  const { name } = fn;
  let largest: Chain = [{ name, stack, source: undefined }];
  let deepest = largest;
  for (const insn of placed.flatMap(({ insns }) => insns)) {
    if (insn.fn === undefined) continue;
    const called = calledOf(insn.fn, target, context);
    const own = { name, stack, source: insn.source };
    if (stackOf([own, ...called.largest]) > stackOf(largest)) largest = [own, ...called.largest];
    if (called.deepest.length >= deepest.length) deepest = [own, ...called.deepest];
  }
  return { blocks: result, largest, deepest };
}

/** A jump's distance has 16 bits before kernel 6.6. */
const FARTHEST = 0x7fff;

function checkJumps({ name }: IrFunction, blocks: readonly MachineBlock[]): void {
  const starts = new Map<MachineBlock, number>();
  let words = 0;
  for (const block of blocks) {
    starts.set(block, words);
    for (const { fields } of block.insns) words += fields.next_imm === undefined ? 1 : 2;
  }
  if (words <= FARTHEST) return;
  let at = 0;
  for (const insn of blocks.flatMap(({ insns }) => insns)) {
    at += insn.fields.next_imm === undefined ? 1 : 2;
    if (insn.to === undefined || Math.abs((starts.get(insn.to) ?? at) - at) <= FARTHEST) continue;
    throw new LangError(
      `'${name}' has ${words} instructions, and jumps farther than kernels before 6.6 can`,
      insn.source,
      'Make functions of parts of it (func), loops of what is unrolled, or build it with { kernel: "6.6" }.',
    );
  }
}

function stackOf(chain: Chain): number {
  return chain.reduce((sum, { stack }) => sum + Math.ceil(stack / FRAME_UNIT) * FRAME_UNIT, 0);
}

function checkDepth(chain: Chain): void {
  if (chain.length <= MAX_FRAMES) return;
  throw new LangError(
    `${chain.length} functions call each other, and the kernel has room for ${MAX_FRAMES}`,
    chain[0]?.source,
    `They are ${chain.map(({ name }) => name).join(", ")}. Let some be plain functions of TypeScript, which take $.`,
  );
}

function checkStack(chain: Chain): void {
  const [first, second] = chain;
  if (second === undefined || stackOf(chain) <= STACK_SIZE) return;
  const names = chain.map(({ name, stack }) => `${name} (${stack})`).join(", ");
  throw new LangError(
    `'${first?.name}' and the functions that it calls need ${stackOf(chain)} bytes of stack together, and have ${STACK_SIZE}`,
    first?.source,
    `They are ${names}; each counts in steps of ${FRAME_UNIT} bytes. Keep what is large in a per-CPU array map.`,
  );
}

function calledOf(fn: IrFunction, target: IrTarget, context: Context): Called {
  const known = context.subprograms.get(fn);
  if (known !== undefined) return known;
  if (context.active.has(fn)) {
    throw new LangError(
      `the function '${fn.name}' calls itself`,
      undefined,
      "The kernel has no recursion: use a loop.",
    );
  }
  const compiled = compileFunction(fn, target, context);
  const { blocks } = compiled;
  const made: Called = { ...compiled, subprogram: { kind: "subprogram", name: fn.name, blocks } };
  context.subprograms.set(fn, made);
  return made;
}

/** Offsets from r10, downwards. Only the objects that are used get one; scratch ones of different calls share theirs. */
function placeSlots(
  fn: IrFunction,
  blocks: readonly MachineBlock[],
  spills: { readonly slots: readonly IrSlot[]; readonly pressure: Pressure },
): ReadonlyMap<IrSlot, number> {
  const used = new Set(blocks.flatMap(({ insns }) => insns.flatMap(({ slot }) => slot ?? [])));
  const offsets = new Map<IrSlot, number>();
  let top = 0;
  for (const slot of [...spills.slots, ...fn.slots.filter(({ scratch }) => !scratch)]) {
    if (!used.has(slot)) continue;
    top = down(top, slot);
    offsets.set(slot, top);
  }
  // Scratch objects are filled right before their call: those between two calls are alive together, others are not.
  let lowest = top;
  for (const block of blocks) {
    let at = top;
    for (const insn of block.insns) {
      if (isCall(insn)) {
        at = top;
        continue;
      }
      const { slot } = insn;
      if (slot === undefined || offsets.has(slot)) continue;
      at = down(at, slot);
      offsets.set(slot, at);
      lowest = Math.min(lowest, at);
    }
  }
  if (lowest < -STACK_SIZE) {
    const inSpills = spills.slots.length * 8;
    if (-lowest - inSpills <= STACK_SIZE) {
      const { values, source } = spills.pressure;
      throw new LangError(
        `'${fn.name}' needs ${values} values at once that find no register, and ${-lowest} bytes of stack with them; a program has ${STACK_SIZE}`,
        source,
        "Most of them are alive at this line: compute values where they are used, or keep them in a per-CPU array map.",
      );
    }
    const largest = [...offsets.keys()].reduce((a, b) => (b.size > a.size ? b : a));
    throw new LangError(
      `'${fn.name}' needs ${-lowest} bytes of stack, and a program has ${STACK_SIZE}`,
      largest.source,
      `The largest object is '${largest.name}' with ${largest.size} bytes: keep it in a per-CPU array map.`,
    );
  }
  return offsets;
}

function down(top: number, { size, align }: IrSlot): number {
  return Math.floor((top - size) / align) * align;
}

function isCall({ fields }: MachineInsn): boolean {
  return fields.code === 0x85;
}

function nameBlocks(blocks: readonly MachineBlock[]): ReadonlyMap<MachineBlock, string> {
  const taken = new Map<string, number>();
  return new Map(
    blocks.map((block) => {
      const count = (taken.get(block.hint) ?? 0) + 1;
      taken.set(block.hint, count);
      return [block, count === 1 ? block.hint : `${block.hint}.${count}`];
    }),
  );
}

function finish(
  { fields, dst = 0, src, fixedSrc = 0, to, slot, fn, source }: MachineInsn,
  slots: ReadonlyMap<IrSlot, number>,
  names: ReadonlyMap<MachineBlock, string>,
  target: IrTarget,
  context: Context,
): Insn {
  const { code, off = 0, imm = 0, next_imm, ref } = fields;
  const base = slot === undefined ? 0 : (slots.get(slot) as number);
  const inMemory = (code & 7) <= 3;
  const insn = {
    code,
    dst_reg: dst,
    src_reg: src ?? fixedSrc,
    off: inMemory ? off + base : off,
    imm: inMemory ? imm : imm + base,
    source,
  };
  const wide = next_imm === undefined ? insn : { ...insn, next_imm };
  const place = refOf(fn, to, code, names, target, context) ?? ref;
  return place === undefined ? wide : { ...wide, ref: place };
}

function refOf(
  fn: IrFunction | undefined,
  to: MachineBlock | undefined,
  code: number,
  names: ReadonlyMap<MachineBlock, string>,
  target: IrTarget,
  context: Context,
): InsnRef | undefined {
  if (to !== undefined) return { kind: "label", name: names.get(to) as string };
  if (fn === undefined) return undefined;
  return {
    kind: code === 0x85 ? "subprogram" : "callback",
    subprogram: calledOf(fn, target, context).subprogram,
  };
}
