import type { ProgTypeName } from "../asm/program.ts";
import { captureSource, type SourceRef } from "../asm/source-position.ts";
import { LangError } from "./error.ts";
import type { Effects } from "./ir/effects.ts";
import type {
  CompareOp,
  IrBlock,
  IrCall,
  IrConst,
  IrEnd,
  IrFrame,
  IrFunction,
  IrNode,
  IrSlot,
  IrTarget,
  IrValue,
  IrVar,
  MemoryClass,
  PointerKind,
} from "./ir/ir.ts";
import type { Region } from "./region.ts";
import { type CondTree, MEMORY_CLASS } from "./value.ts";

/**
 * Where the calls of a program's body go: it appends nodes to the current block, and keeps what the language must know
 * along the way (which loop is the innermost, whether the packet has moved, which records are open).
 *
 * The body of a program is ordinary TypeScript that runs once; each call records what the program will do.
 */
export interface Recorder {
  readonly fn: IrFunction;
  readonly target: Target;
  /** Where nodes go; `undefined` behind the end of a path. */
  block: IrBlock | undefined;
  /** The innermost loop. */
  loop: Loop | undefined;
  /** How often the packet has moved so far. */
  epoch: number;
  /** Why the packet moved last: `bpf_xdp_adjust_head`. */
  movedBy: string;
  /** Called after each statement that may move the packet: `$.packet` finds out where it is then. */
  onPacketMove: (() => void) | undefined;
  /** Records that are reserved and neither submitted nor discarded yet. */
  open: ReadonlySet<OpenRecord>;
  /** Records that were submitted or discarded on one of the paths that lead here, and not on another. */
  torn: ReadonlySet<OpenRecord>;
  /** The scope that is being recorded: a body of a branch or a loop. */
  scope: Scope;
  /** What is recorded: the program's type, or `function 'mix'`; for errors. */
  readonly what: string;
  /** Where helpers put what they read elsewhere: one place for the function, and for each loop that becomes one. */
  readonly probeSlots: Map<Loop | undefined, IrSlot>;
  /** What all functions of one program share. */
  readonly build: Build;
  /** The function whose body is being recorded meanwhile: nothing may be recorded here until it is done. */
  suspendedFor: string | undefined;
  /** Set once the program is recorded: what belongs to it means nothing any more. */
  done: boolean;
}

/** The building of one program: its functions, each recorded once. */
export interface Build {
  readonly type: ProgTypeName;
  /** By the function as it was written (`func`). */
  readonly functions: Map<object, BuiltFunction>;
  /** The functions that are being recorded, outermost first. */
  readonly active: { readonly made: object; readonly name: string }[];
  /** How many loops have become functions so far, for their names. */
  loops: number;
}

/** A function of one's own, recorded for a program. */
export interface BuiltFunction extends Effects {
  readonly fn: IrFunction;
  /** Whether it takes the program's context behind its own arguments. */
  readonly takesContext: boolean;
  /** The helper that moves the packet, if one does. */
  readonly movesPacket: string | undefined;
}

/** What the program will run on. */
export interface Target extends IrTarget {
  /** Oldest kernel that must take the program. */
  readonly kernel: readonly [major: number, minor: number];
}

/** A loop being recorded. */
export interface Loop {
  readonly outer: Loop | undefined;
  /** Records that were open when it began: no others may be open when it goes around, or is left. */
  readonly open: ReadonlySet<OpenRecord>;
  /** The packet's epoch at each end of a path through its body. */
  readonly exitEpochs: number[];
  /** The scope of its body. */
  scope: Scope;
  /** Packet memory that was taken before the loop and is used in it. */
  used: Region | undefined;
  /** Whether its body must become a function of its own: it cannot give back then what was acquired outside. */
  readonly outlined: boolean;
  /** Whether its body gives back what was acquired outside, so that it cannot become a function. */
  releases: boolean;
  /** What the loops inside cost the verifier beyond what stands there once. */
  readonly inner: { insns: number; forks: number };
  /** The state of each path that left it with `$.break`. */
  readonly breaks: PathState[];
  /** Ends the path: out of the loop, or on to the next turn. */
  leave(how: "break" | "continue"): void;
}

/** What must be given back: a reserved record, a socket that a lookup found. */
export interface OpenRecord {
  /** What it is called in errors: `the record of 'events'`. */
  readonly name: string;
  /** What must happen to it, and that it has not: `submitted or discarded`, `neither submitted nor discarded`. */
  readonly done: string;
  readonly undone: string;
  /** What does it: `$.submit or $.discard`. */
  readonly remedy: string;
  /** The kernel function that gives it back, where there is but one. */
  readonly releasedBy?: string;
  /** Its memory, for the records of `$.reserve`. */
  readonly region: Region | undefined;
  /** Where it is, for a spin lock that is held. */
  readonly lock?: { readonly region: Region; readonly offset: number };
  readonly source: SourceRef | undefined;
}

/** A lexical scope: values made in it mean nothing outside. */
export interface Scope {
  readonly outer: Scope | undefined;
  /** False once its body has ended. */
  inside: boolean;
  /** The block that led into it: what stands in it is done whenever the scope is entered. */
  readonly from: IrBlock;
}

/** Starts recording a function: of a program of its own, or as a part of one that is being built. */
export function createRecorder(
  fn: IrFunction,
  target: Target,
  what: string,
  build: Build | ProgTypeName,
): Recorder {
  const entry: IrBlock = { hint: "entry", nodes: [], end: undefined };
  fn.blocks.push(entry);
  return {
    fn,
    target,
    block: entry,
    loop: undefined,
    epoch: 0,
    movedBy: "",
    onPacketMove: undefined,
    open: new Set(),
    torn: new Set(),
    scope: { outer: undefined, inside: true, from: entry },
    what,
    probeSlots: new Map(),
    build: typeof build === "string" ? { type: build, functions: new Map(), active: [], loops: 0 } : build,
    suspendedFor: undefined,
    done: false,
  };
}

/** The line of the caller outside of this library. */
export function here(): SourceRef | undefined {
  return captureSource(16);
}

/** A new block, which nothing goes to yet. */
export function newBlock(recorder: Recorder, hint: string): IrBlock {
  const block: IrBlock = { hint, nodes: [], end: undefined };
  recorder.fn.blocks.push(block);
  return block;
}

/** The block that nodes go to. Throws a LangError behind the end of a path. */
export function currentBlock(recorder: Recorder): IrBlock {
  if (recorder.suspendedFor !== undefined) {
    throw new LangError(
      `the body of function '${recorder.suspendedFor}' uses what belongs to its caller`,
      here(),
      "A function sees its arguments only: hand the value over as one, and use the $ of the function.",
    );
  }
  if (recorder.done) {
    throw new LangError(
      `this belongs to the program '${recorder.fn.name}', whose body has run to its end`,
      here(),
      "Use the $ and the values of the program that you are in. What programs share is in maps.",
    );
  }
  if (recorder.block === undefined) {
    throw new LangError(
      "nothing reaches this statement: every path before it has ended",
      here(),
      "Remove it, or move it before the $.return, $.break or $.continue that ends the path.",
    );
  }
  return recorder.block;
}

/** Appends a node, and gives it back. */
export function emit<Node extends IrNode>(recorder: Recorder, node: Node): Node {
  const { nodes } = currentBlock(recorder);
  if (node.kind === "call" && recorder.open.size > 0) checkNoLock(recorder, node);
  nodes.push(node);
  return node;
}

/** Refuses a helper under a lock. Some kernel functions may be called there, and on newer kernels functions of one's own. */
function checkNoLock({ open }: Recorder, { callee }: IrCall): void {
  if (callee.kind !== "helper" || callee.helper.name === "bpf_spin_unlock") return;
  const held = [...open].find(({ lock }) => lock !== undefined);
  if (held === undefined) return;
  throw new LangError(
    `${callee.helper.name} is called while ${held.name} is held`,
    here(),
    "Under a lock the kernel allows no calls: call it before $.bpf_spin_lock, or behind $.bpf_spin_unlock.",
  );
}

/** Ends the current block. */
export function end(recorder: Recorder, how: IrEnd): void {
  currentBlock(recorder).end = how;
  recorder.block = undefined;
}

/** Goes on to a block. */
export function jump(recorder: Recorder, to: IrBlock): void {
  end(recorder, { kind: "jump", to, source: here() });
}

/** Branches on a condition, short-circuit. */
export function branch(recorder: Recorder, tree: CondTree, yes: IrBlock, no: IrBlock): void {
  switch (tree.kind) {
    case "constant":
      jump(recorder, tree.value ? yes : no);
      return;
    case "not":
      branch(recorder, tree.of, no, yes);
      return;
    case "and":
    case "or": {
      const right = newBlock(recorder, tree.kind);
      if (tree.kind === "and") branch(recorder, tree.left, right, no);
      else branch(recorder, tree.left, yes, right);
      recorder.block = right;
      branch(recorder, tree.right, yes, no);
      return;
    }
    case "compare":
      compareAndBranch(recorder, tree, yes, no);
      return;
  }
}

function compareAndBranch(
  recorder: Recorder,
  { op, width, a, b }: { op: CompareOp; width: 32 | 64; a: IrValue; b: IrValue },
  yes: IrBlock,
  no: IrBlock,
): void {
  end(recorder, { kind: "branch", op, width, a, b, yes, no, source: here() });
}

/** A number as a value: it stands in no block. */
export function constant(value: bigint | number): IrConst {
  return { kind: "const", value: BigInt.asUintN(64, BigInt(value)), pointer: undefined, source: undefined };
}

/** A new variable. */
export function newVariable(name: string, pointer?: PointerKind): IrVar {
  return { name, pointer };
}

/** Reads a variable, here. */
export function get(recorder: Recorder, variable: IrVar): IrValue {
  return emit(recorder, { kind: "get", variable, pointer: variable.pointer, source: here() });
}

/** Writes a variable, here. */
export function set(recorder: Recorder, variable: IrVar, value: IrValue): void {
  emit(recorder, { kind: "set", variable, value, source: here() });
}

/** A new object in the stack frame. */
export function newSlot(
  recorder: Recorder,
  name: string,
  size: number,
  align: number,
  scratch: boolean,
): IrSlot {
  const slot: IrSlot = { name, size, align, scratch, source: here() };
  recorder.fn.slots.push(slot);
  return slot;
}

/** The address of an object of the stack frame. */
export function frame(slot: IrSlot, offset = 0): IrFrame {
  return { kind: "frame", slot, offset, pointer: "stack", source: undefined };
}

/** `pointer + number`. */
export function addToPointer(recorder: Recorder, pointer: IrValue, number: IrValue): IrValue {
  if (number.kind === "const" && number.value === 0n) return pointer;
  return emit(recorder, {
    kind: "binary",
    op: "add",
    width: 64,
    a: pointer,
    b: number,
    pointer: pointer.pointer,
    source: here(),
  });
}

/** Loads from a region. */
export function load(
  recorder: Recorder,
  region: Region,
  offset: number,
  size: 1 | 2 | 4 | 8,
  options: { readonly signed?: boolean; readonly pointer?: PointerKind } = {},
): IrValue {
  checkRegion(recorder, region);
  return emit(recorder, {
    kind: "load",
    size,
    signed: options.signed ?? false,
    base: region.base,
    offset,
    memory: memoryOf(region),
    volatile: false,
    pointer: options.pointer,
    source: here(),
  });
}

/** Stores into a region. */
export function store(
  recorder: Recorder,
  region: Region,
  offset: number,
  size: 1 | 2 | 4 | 8,
  value: IrValue,
): void {
  checkWritable(recorder, region, offset);
  emit(recorder, {
    kind: "store",
    size,
    base: region.base,
    offset,
    value,
    memory: memoryOf(region),
    volatile: false,
    source: here(),
  });
}

/** What was just recorded may have moved the packet: what was taken from it before is good no more. */
export function packetMoved(recorder: Recorder, by: string): void {
  recorder.epoch++;
  recorder.movedBy = by;
  recorder.onPacketMove?.();
}

/** Refuses memory that cannot be written, or not any more. */
export function checkWritable(recorder: Recorder, region: Region, offset = 0): void {
  checkRegion(recorder, region);
  const writable = typeof region.writable === "function" ? region.writable(offset) : region.writable;
  if (writable) return;
  throw new LangError(
    `${region.name} cannot be written${region.memory === "ctx" ? " there" : ""}`,
    here(),
    region.readOnly ?? "The kernel lets programs of this type read it, not write it.",
  );
}

/** The class of a region's memory, for telling which accesses may meet. */
export function memoryOf(region: Region): MemoryClass {
  return MEMORY_CLASS[region.memory];
}

/** Refuses memory whose address is not good any more, or not good here. */
export function checkRegion(recorder: Recorder, region: Region): void {
  if (region.scope.inside && !isWithin(recorder.scope, region.scope)) {
    throw new LangError(
      `${region.name} is used in another program or function than the one that has it`,
      here(),
      "A function sees its arguments only: hand over what it needs of it. What programs share is in maps.",
    );
  }
  if (!region.scope.inside) {
    throw new LangError(
      `${region.name} is used outside of the branch that it exists in`,
      here(),
      "Use it inside, and carry what you need outside in a $.let variable.",
    );
  }
  if (region.reference !== undefined && !recorder.open.has(region.reference)) {
    throw new LangError(
      `${region.name} cannot be used any more: it was ${region.reference.done}`,
      here(),
      `Use it first, then call ${region.reference.remedy}.`,
    );
  }
  if (region.memory === "packet" && region.epoch !== recorder.epoch) {
    throw new LangError(
      `${region.name} cannot be used any more: ${recorder.movedBy} may have moved the packet`,
      here(),
      "Take what you need from $.packet again: it starts at the packet's first byte.",
    );
  }
  if (region.memory === "packet") {
    for (let { loop } = recorder; loop !== undefined; loop = loop.outer) {
      if (!isWithin(region.scope, loop.scope)) loop.used = region;
    }
  }
  if (region.memory === "record" && ![...recorder.open].some((record) => record.region === region)) {
    throw new LangError(
      `${region.name} cannot be used any more: it was submitted or discarded`,
      here(),
      "Write it first, then submit it.",
    );
  }
}

function isWithin(scope: Scope, outer: Scope): boolean {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) if (at === outer) return true;
  return false;
}

/** What the paths that meet at a join must agree about. */
export interface PathState {
  readonly epoch: number;
  readonly open: ReadonlySet<OpenRecord>;
  readonly torn: ReadonlySet<OpenRecord>;
}

/** The state at this point. */
export function pathState({ epoch, open, torn }: Recorder): PathState {
  return { epoch, open, torn };
}

/** Goes on in a state. */
export function restore(recorder: Recorder, { epoch, open, torn }: PathState): void {
  recorder.epoch = epoch;
  recorder.open = open;
  recorder.torn = torn;
}

/** Goes on behind a join of paths, in the state that is true on each of them. */
export function joinPaths(recorder: Recorder, paths: readonly PathState[]): void {
  const open = new Set(
    [...(paths[0]?.open ?? [])].filter((record) => paths.every((path) => path.open.has(record))),
  );
  const torn = new Set(
    paths.flatMap((path) => [...path.torn, ...[...path.open].filter((record) => !open.has(record))]),
  );
  restore(recorder, { epoch: Math.max(0, ...paths.map(({ epoch }) => epoch)), open, torn });
}

/** Refuses to leave the function, or to go around a loop, with a record that is not done with. */
export function checkRecords(recorder: Recorder, open: ReadonlySet<OpenRecord>, where: string): void {
  const torn = [...recorder.torn][0];
  if (torn !== undefined) {
    throw new LangError(
      `${torn.name} is ${torn.done} on one path and not on another`,
      torn.source,
      `Call ${torn.remedy} on each path.`,
    );
  }
  const left = [...recorder.open].find((record) => !open.has(record));
  if (left !== undefined) {
    throw new LangError(
      `${left.name} is ${left.undone} ${where}`,
      left.source,
      `The kernel refuses a program that may keep it: call ${left.remedy} on each path.`,
    );
  }
}

/** Records a body in a scope of its own, which `from` leads into. */
export function inScope<Result>(recorder: Recorder, from: IrBlock, body: () => Result): Result {
  const outer = recorder.scope;
  const scope: Scope = { outer, inside: true, from };
  recorder.scope = scope;
  try {
    return body();
  } finally {
    scope.inside = false;
    recorder.scope = outer;
  }
}
