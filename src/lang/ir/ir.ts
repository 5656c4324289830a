import type { LddwSource } from "../../asm/load-store.ts";
import type { SourceRef } from "../../asm/source-position.ts";
import type { Helper } from "../../uapi/helper.ts";

/**
 * The intermediate representation between the structured language and instructions: a control-flow graph of blocks whose
 * nodes compute values.
 *
 * Every value is the content of one 64-bit register. The language's types are gone here: whoever builds the graph has put
 * masks and sign extensions where `u8` or `s16` need them. A node of `width` 32 computes in 32 bits and leaves zeros in
 * the upper half, as BPF's ALU32 does; one of `width` 64 computes in 64.
 *
 * The front end builds it with mutable variables ({@link IrGet}, {@link IrSet}); the compiler turns those into
 * {@link IrPhi} and works on single assignments from then on. The graph is mutable, and belongs to whoever holds it.
 */
export interface IrFunction {
  /** A C identifier: the name of the program, or of the subprogram. */
  readonly name: string;
  /** Values that are there when it starts, in r1 to r5. A program has one: its context. */
  readonly params: readonly IrParam[];
  /** The first one is the entry. Blocks that nothing reaches are dropped by the compiler. */
  readonly blocks: IrBlock[];
  /** The objects of its stack frame. */
  readonly slots: IrSlot[];
}

/** A run of nodes that is entered at its top only, and left at its end only. */
export interface IrBlock {
  /** What it is for, as the stem of its label: `then`, `loop`. The compiler makes labels unique. */
  readonly hint: string;
  /** In order. Phis come first. */
  nodes: IrNode[];
  /** Where it goes; `undefined` while it is being built. */
  end: IrEnd | undefined;
}

/** An object in the stack frame. Where it lies is decided by the compiler. */
export interface IrSlot {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** 1, 2, 4 or 8. */
  readonly align: number;
  /**
   * True for the copy of a key or value that is written right before one call and never read after it: slots of this
   * kind may share memory with each other.
   */
  readonly scratch: boolean;
  /** The line that asked for it. */
  readonly source: SourceRef | undefined;
}

/** A mutable variable of the language, one register wide. */
export interface IrVar {
  readonly name: string;
  /** Set where it holds a pointer. */
  readonly pointer: PointerKind | undefined;
}

/**
 * What a value points to, as far as the verifier tells kinds apart; a value without is a number.
 *
 * The verifier's rules for them: no 32-bit arithmetic; nothing but + and - with numbers; spilled with 8 bytes or not at
 * all. `packet`: what a bounds check proves holds for this very value and what is derived from it by adding constants; a
 * value that was made by adding an unknown number must never be computed a second time. `ctx`: accessed at constant
 * offsets, which must stand in the load or store itself (never added to the pointer first).
 */
export type PointerKind = "ctx" | "packet" | "packet_end" | "stack" | "map" | "map_value" | "memory";

/** 32 or 64 bits. */
export type Width = 32 | 64;

/** Arithmetic on two values; the names of the instructions' operations. Division by zero gives 0, modulo its left side. */
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "mod"
  | "sdiv"
  | "smod"
  | "or"
  | "and"
  | "xor"
  | "lsh"
  | "rsh"
  | "arsh";

/**
 * Arithmetic on one value. `zext32` keeps the lower half; `sext8`, `sext16` and `sext32` sign-extend the low bits to
 * `width`; `be16`, `be32` and `be64` convert between host and big-endian order, `le16`... likewise, and zero the rest.
 */
export type UnaryOp =
  | "neg"
  | "zext32"
  | "sext8"
  | "sext16"
  | "sext32"
  | "be16"
  | "be32"
  | "be64"
  | "le16"
  | "le32"
  | "le64";

/** Conditions of branches: as jumps name them. `set` tests bits, `nset` is its opposite. */
export type CompareOp =
  | "eq"
  | "ne"
  | "gt"
  | "ge"
  | "lt"
  | "le"
  | "sgt"
  | "sge"
  | "slt"
  | "sle"
  | "set"
  | "nset";

interface NodeBase {
  /** The line of TypeScript that wrote it. */
  readonly source: SourceRef | undefined;
}

interface ValueBase extends NodeBase {
  /** Set where the value is a pointer. */
  readonly pointer: PointerKind | undefined;
}

/** A number, as the 64 bits of a register: 0 to 2^64-1. */
export interface IrConst extends ValueBase {
  readonly kind: "const";
  readonly value: bigint;
}

/** An argument of the function: r1 + index at its start. */
export interface IrParam extends ValueBase {
  readonly kind: "param";
  readonly index: number;
}

/** `a op b`. Where one of them is a pointer it is `a`, the operation is add or sub, and the width 64. */
export interface IrBinary extends ValueBase {
  readonly kind: "binary";
  readonly op: BinaryOp;
  readonly width: Width;
  a: IrValue;
  b: IrValue;
}

/** `op a`. */
export interface IrUnary extends ValueBase {
  readonly kind: "unary";
  readonly op: UnaryOp;
  readonly width: Width;
  a: IrValue;
}

/**
 * What a load reads or a store writes, for telling which accesses may meet: accesses to different memories never do.
 * `stack` accesses meet where their slots are the same. `any` meets all.
 */
export type MemoryClass = "ctx" | "packet" | "stack" | "map_value" | "any";

/** `*(base + offset)`, zero-extended, or sign-extended to 64 bits where `signed`. Host byte order. */
export interface IrLoad extends ValueBase {
  readonly kind: "load";
  /** Bytes: 1, 2, 4 or 8. */
  readonly size: 1 | 2 | 4 | 8;
  readonly signed: boolean;
  base: IrValue;
  offset: number;
  readonly memory: MemoryClass;
  /** True: never left out, merged with another, or moved (what other CPUs write; a context's `data` is not). */
  readonly volatile: boolean;
}

/** `*(base + offset) = value`. */
export interface IrStore extends NodeBase {
  readonly kind: "store";
  readonly size: 1 | 2 | 4 | 8;
  base: IrValue;
  offset: number;
  value: IrValue;
  readonly memory: MemoryClass;
  readonly volatile: boolean;
}

/** Atomic operations; `fetch` variants give the old value. */
export type AtomicOp =
  | "add"
  | "or"
  | "and"
  | "xor"
  | "fetch_add"
  | "fetch_or"
  | "fetch_and"
  | "fetch_xor"
  | "xchg"
  | "cmpxchg";

/** An atomic operation on 4 or 8 bytes of memory. Its value, the old content, exists for the fetching ones only. */
export interface IrAtomic extends ValueBase {
  readonly kind: "atomic";
  readonly op: AtomicOp;
  readonly size: 4 | 8;
  base: IrValue;
  offset: number;
  value: IrValue;
  /** `cmpxchg`: what the memory must hold for `value` to be stored. It goes through r0. */
  expected: IrValue | undefined;
  readonly memory: MemoryClass;
}

/** What is called. */
export type IrCallee =
  | { readonly kind: "helper"; readonly helper: Helper }
  | { readonly kind: "kfunc"; readonly name: string }
  | { readonly kind: "function"; readonly fn: IrFunction };

/** A call: at most five arguments; its value is r0. r1 to r5 are lost. */
export interface IrCall extends ValueBase {
  readonly kind: "call";
  readonly callee: IrCallee;
  readonly args: IrValue[];
  /** Memory that it may write. */
  readonly writes: readonly MemoryClass[];
  /**
   * Memory that it may read. A call that reads or writes `stack` knows only slots whose addresses are among its arguments, or
   * were stored in memory before.
   */
  readonly reads: readonly MemoryClass[];
  /** True where it may be left out if nobody uses its value. */
  readonly removable: boolean;
  /** True where two calls with the same arguments give the same value (`bpf_get_smp_processor_id`). */
  readonly pure: boolean;
  /** True where it never comes back (a tail call comes back where it fails, so not that). */
  readonly noReturn?: boolean;
}

/** A 64-bit address that the loader knows: of a map, of a map's value, of a kernel variable. */
export interface IrAddress extends ValueBase {
  readonly kind: "address";
  readonly target: LddwSource | { readonly kind: "function"; readonly fn: IrFunction };
}

/** The address `offset` bytes into an object of the stack frame. */
export interface IrFrame extends ValueBase {
  readonly kind: "frame";
  readonly slot: IrSlot;
  readonly offset: number;
}

/** Reads a variable. Gone after single assignment. */
export interface IrGet extends ValueBase {
  readonly kind: "get";
  readonly variable: IrVar;
}

/** Writes a variable. Gone after single assignment. */
export interface IrSet extends NodeBase {
  readonly kind: "set";
  readonly variable: IrVar;
  value: IrValue;
}

/** One of several values, by the block that control came from. */
export interface IrPhi extends ValueBase {
  readonly kind: "phi";
  readonly variable: IrVar;
  inputs: { readonly from: IrBlock; value: IrValue }[];
  /** At the head of a loop over the kernel's iterator: from turn to turn the verifier forgets what a number can be. */
  readonly widened: boolean;
}

/** Everything that has a value. */
export type IrValue =
  | IrConst
  | IrParam
  | IrBinary
  | IrUnary
  | IrLoad
  | IrAtomic
  | IrCall
  | IrAddress
  | IrFrame
  | IrGet
  | IrPhi;

/** Everything that stands in a block. Constants, parameters and frame addresses may be used without standing anywhere. */
export type IrNode = IrValue | IrStore | IrSet;

/** How a block ends. */
export type IrEnd =
  | { readonly kind: "jump"; to: IrBlock; readonly source: SourceRef | undefined }
  | {
      readonly kind: "branch";
      op: CompareOp;
      width: Width;
      a: IrValue;
      b: IrValue;
      yes: IrBlock;
      no: IrBlock;
      readonly source: SourceRef | undefined;
    }
  | { readonly kind: "return"; value: IrValue; readonly source: SourceRef | undefined }
  /**
   * `may_goto` (kernel 6.9): goes on to `next`, or to `out` once the kernel's count for the program is used up.
   */
  | { readonly kind: "may_goto"; next: IrBlock; out: IrBlock; readonly source: SourceRef | undefined };

/** What the compiler may assume of the kernel. */
export interface IrTarget {
  /**
   * Instruction set as compilers number it: 3 has 32-bit jumps (kernel 5.1), 4 has sign-extending moves and loads, byte
   * swaps, signed division and long jumps (kernel 6.6).
   */
  readonly isa: 3 | 4;
}
