import { BPF_EXIT, BPF_JA, BPF_JMP, BPF_JMP32, BPF_X } from "../uapi/bpf.ts";
import { type Endian, encode, wordsOf } from "./encode.ts";
import { AssembleError } from "./errors.ts";
import type { Insn, InsnRef } from "./insn.ts";
import type { MapDef } from "./map-def.ts";
import { isShortJump, opOf } from "./opcode.ts";
import type { Block, GlobalParams, Program, Subprogram } from "./program.ts";

/** A program as the kernel takes it, with everything that a loader or a listing needs. Offsets count instruction words. */
export interface Assembled {
  readonly program: Program;
  readonly endian: Endian;
  /** Instruction words in the requested byte order. Maps, kfuncs and kernel symbols are still 0 in them. */
  readonly bytes: Uint8Array;
  /** The instructions, with jumps and calls resolved, each with where it stands. */
  readonly lines: readonly AssembledInsn[];
  /** The program and then every subprogram that it calls. */
  readonly functions: readonly AssembledFunction[];
  /** Every block of every function, in order. */
  readonly blocks: readonly AssembledBlock[];
  /** The maps that it refers to, each once, in the order of their first use. */
  readonly maps: readonly MapDef[];
  /** What the loader fills in: the lines whose `ref` is a map, a kfunc or a kernel symbol. */
  readonly relocations: readonly AssembledInsn[];
}

/** An instruction in its place. */
export interface AssembledInsn {
  /** Instruction words before it. */
  readonly offset: number;
  readonly function: string;
  readonly block: string;
  /** True for the first instruction of its block. */
  readonly startsBlock: boolean;
  readonly insn: Insn;
}

/** A function in its place. */
export interface AssembledFunction {
  readonly name: string;
  /** Instruction words before it. */
  readonly offset: number;
  /** Instruction words in it. */
  readonly length: number;
  /** What it takes, where it is a global function. */
  readonly params: GlobalParams | undefined;
}

/** A block in its place; one without instructions shares the offset of the next. */
export interface AssembledBlock {
  readonly function: string;
  readonly name: string;
  /** Instruction words before it. */
  readonly offset: number;
}

/** Options of {@link assemble}. */
export interface AssembleOptions {
  /** Byte order of the target; default little. */
  readonly endian?: Endian;
  /**
   * What to do with a jump that does not fit 16 bits: `relax` (default) assembles it with `gotol`, which needs a kernel
   * of 6.6 or newer; `refuse` is an error.
   */
  readonly longJumps?: "relax" | "refuse";
}

/**
 * Assembles a program: lays out its blocks and the subprograms that it calls, resolves jumps and calls, and encodes.
 * A pure function.
 *
 * @throws AssembleError for a jump to an unknown block or too far, a block that nothing reaches, a function that can run
 * off its end, an empty function. Each names program, block, instruction and source line.
 */
export function assemble(program: Program, options: AssembleOptions = {}): Assembled {
  const { endian = "little", longJumps = "relax" } = options;
  const functions = reachableFunctions(program);
  for (const fn of functions) checkFlow(fn);
  const layout = layOut(functions, longJumps);
  const lines = layout.items.map((item) => lineOf(layout, item, endian));
  const maps = new Set<MapDef>();
  const relocations = lines.filter(({ insn: { ref } }) => {
    if (ref?.kind === "map") maps.add(ref.map);
    return ref?.kind === "map" || ref?.kind === "kfunc" || ref?.kind === "ksym";
  });
  return {
    program,
    endian,
    bytes: encode(
      lines.map((line) => line.insn),
      endian,
    ),
    lines,
    functions: layout.functions,
    blocks: layout.blocks,
    maps: [...maps],
    relocations,
  };
}

type Code = Pick<Subprogram, "name" | "blocks" | "params">;

/** The program, then the subprograms that it calls, directly or not, in the order of their first use. */
function reachableFunctions(program: Program): readonly Code[] {
  const found = new Set<Code>([program]);
  for (const fn of found) {
    for (const block of fn.blocks) {
      for (const { ref } of block.insns) {
        if (ref?.kind === "subprogram" || ref?.kind === "callback") found.add(ref.subprogram);
      }
    }
  }
  const names = new Set<string>();
  for (const fn of found) {
    if (names.has(fn.name)) {
      const reason = `two different functions are named '${fn.name}'`;
      throw new AssembleError(reason, { program: program.name }, "Rename one of them.");
    }
    names.add(fn.name);
  }
  return [...found];
}

/** Refuses what the verifier would refuse for its control flow alone, with names instead of instruction numbers. */
function checkFlow(fn: Code): void {
  const byName = new Map(fn.blocks.map((block, index) => [block.name, index]));
  if (fn.blocks.length === 0) throw new AssembleError("it has no blocks", { program: fn.name });
  const reached = new Set<number>([0]);
  for (const index of reached) {
    const block = fn.blocks[index] as Block;
    for (const [at, insn] of block.insns.entries()) {
      for (const target of targetsOf(insn)) reached.add(blockIndex(fn, block, at, target, byName));
      if (endsFlow(insn) && at < block.insns.length - 1) {
        const reason = "nothing reaches this instruction: the one before it always jumps or exits";
        throw errorAt(
          fn,
          block,
          at + 1,
          reason,
          "Remove it, or begin a block with it: the verifier refuses dead code.",
        );
      }
    }
    const last = block.insns.at(-1);
    if (last !== undefined && endsFlow(last)) continue;
    if (index + 1 === fn.blocks.length) {
      const at = Math.max(0, block.insns.length - 1);
      throw errorAt(
        fn,
        block,
        at,
        "the function can run off its end here",
        "End the last block with exit() or a jump.",
      );
    }
    reached.add(index + 1);
  }
  for (const [index, block] of fn.blocks.entries()) {
    if (reached.has(index)) continue;
    throw errorAt(
      fn,
      block,
      0,
      "nothing reaches this block",
      "Jump to it, or remove it: the verifier refuses dead code.",
    );
  }
}

function targetsOf({ ref }: Insn): readonly string[] {
  if (ref?.kind === "label") return [ref.name];
  return ref?.kind === "labels" ? ref.names : [];
}

function blockIndex(
  fn: Code,
  block: Block,
  at: number,
  name: string,
  byName: ReadonlyMap<string, number>,
): number {
  const index = byName.get(name);
  if (index !== undefined) return index;
  const known = [...byName.keys()].map((known) => `'${known}'`).join(", ");
  throw errorAt(fn, block, at, `no block is named '${name}'`, `The blocks are ${known}.`);
}

/** Whether the instruction behind this one can be reached only by a jump. */
function endsFlow({ code }: Insn): boolean {
  return code === (BPF_JMP | BPF_EXIT) || isGoto(code) || code === (BPF_JMP | BPF_JA | BPF_X);
}

function isGoto(code: number): boolean {
  return code === (BPF_JMP | BPF_JA) || code === (BPF_JMP32 | BPF_JA);
}

interface Layout {
  readonly functions: readonly AssembledFunction[];
  readonly blocks: readonly AssembledBlock[];
  readonly items: readonly Item[];
  /** Offset in words of a function's entry by its name, and of a block by `labelKey`. */
  readonly offsets: ReadonlyMap<string, number>;
}

/** An instruction of the output; `insn` is not resolved yet. */
interface Item {
  readonly fn: Code;
  readonly block: Block;
  /** Index of the instruction in its block that this one comes from. */
  readonly index: number;
  readonly startsBlock: boolean;
  readonly offset: number;
  readonly insn: Insn;
}

/**
 * Gives every instruction its offset. Jumps start short; those that do not reach are made long, which moves others, until
 * none is left: more and more of them are long, so it ends.
 */
function layOut(functions: readonly Code[], longJumps: "relax" | "refuse"): Layout {
  const long = new Map<Block, Set<number>>();
  for (;;) {
    const layout = place(functions, long);
    const before = countOf(long);
    for (const { fn, block, index, offset, insn } of layout.items) {
      if (insn.ref?.kind !== "label" || !isShortJump(insn.code)) continue;
      const distance = offsetOf(layout, labelKey(fn, insn.ref.name)) - offset - 1;
      if (distance >= -0x8000 && distance <= 0x7fff) continue;
      if (longJumps === "refuse") {
        const reason = `the jump to '${insn.ref.name}' goes over ${distance} instructions, which 16 bits cannot hold`;
        const hint = "Move the block, or allow long jumps (longJumps: 'relax'), which need kernel 6.6.";
        throw errorAt(fn, block, index, reason, hint);
      }
      const indexes = long.get(block) ?? new Set();
      long.set(block, indexes.add(index));
    }
    if (countOf(long) === before) return layout;
  }
}

function countOf(sets: ReadonlyMap<Block, ReadonlySet<number>>): number {
  let count = 0;
  for (const set of sets.values()) count += set.size;
  return count;
}

function place(functions: readonly Code[], long: ReadonlyMap<Block, ReadonlySet<number>>): Layout {
  const offsets = new Map<string, number>();
  const items: Item[] = [];
  const blocks: AssembledBlock[] = [];
  const placed: AssembledFunction[] = [];
  let offset = 0;
  for (const fn of functions) {
    const start = offset;
    offsets.set(fn.name, start);
    for (const block of fn.blocks) {
      offsets.set(labelKey(fn, block.name), offset);
      blocks.push({ function: fn.name, name: block.name, offset });
      const longIndexes = long.get(block);
      let startsBlock = true;
      for (const [index, original] of block.insns.entries()) {
        for (const insn of longIndexes?.has(index) ? longForm(original) : [original]) {
          items.push({ fn, block, index, startsBlock, offset, insn });
          offset += wordsOf(insn);
          startsBlock = false;
        }
      }
    }
    placed.push({ name: fn.name, offset: start, length: offset - start, params: fn.params });
  }
  return { functions: placed, blocks, items, offsets };
}

/** A jump with the distance in 32 bits: `gotol`, behind the inverted condition where there is one. */
function longForm(jump: Insn): readonly Insn[] {
  const { ref, source, ...fields } = jump;
  const plain = { dst_reg: 0, src_reg: 0, off: 0, imm: 0, source };
  const gotol: Insn = { ...plain, code: BPF_JMP32 | BPF_JA, ref: ref as InsnRef };
  if (isGoto(jump.code)) return [gotol];
  const inverted = INVERSE.get(opOf(jump.code));
  if (inverted !== undefined) {
    return [{ ...fields, code: (jump.code & 0x0f) | inverted, off: 1, source }, gotol];
  }
  // jset and may_goto have no opposite: they jump over the jump that skips the long one.
  return [{ ...fields, off: 1, source }, { ...plain, code: BPF_JMP | BPF_JA, off: 1 }, gotol];
}

// Operations of conditional jumps by their opposites: jeq/jne, jgt/jle, jge/jlt, jsgt/jsle, jsge/jslt.
const INVERSE: ReadonlyMap<number, number> = new Map([
  [0x10, 0x50],
  [0x50, 0x10],
  [0x20, 0xb0],
  [0xb0, 0x20],
  [0x30, 0xa0],
  [0xa0, 0x30],
  [0x60, 0xd0],
  [0xd0, 0x60],
  [0x70, 0xc0],
  [0xc0, 0x70],
]);

function lineOf(layout: Layout, item: Item, endian: Endian): AssembledInsn {
  const { fn, block, startsBlock, offset } = item;
  const insn = resolve(layout, item, endian);
  return { offset, function: fn.name, block: block.name, startsBlock, insn };
}

/** Distances count from the word behind the first one, for calls and the addresses of functions as for jumps. */
function resolve(layout: Layout, { fn, offset, insn }: Item, endian: Endian): Insn {
  const { ref } = insn;
  switch (ref?.kind) {
    case "label": {
      const distance = offsetOf(layout, labelKey(fn, ref.name)) - offset - 1;
      return isShortJump(insn.code) ? { ...insn, off: distance } : { ...insn, imm: distance };
    }
    case "subprogram":
    case "callback":
      return { ...insn, imm: offsetOf(layout, ref.subprogram.name) - offset - 1 };
    case "bytes":
      return { ...insn, ...bytesAsConstant(ref.bytes, endian) };
    default:
      return insn;
  }
}

function bytesAsConstant(bytes: Uint8Array, endian: Endian): { readonly imm: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { imm: view.getInt32(0, endian === "little") };
}

function labelKey(fn: Code, block: string): string {
  return `${fn.name}\0${block}`;
}

function offsetOf(layout: Layout, key: string): number {
  return layout.offsets.get(key) as number; // every label and function was found before
}

function errorAt(fn: Code, block: Block, index: number, reason: string, hint?: string): AssembleError {
  const source = block.insns[index]?.source?.position();
  return new AssembleError(reason, { program: fn.name, block: block.name, index, source }, hint);
}
