import type { Misuse } from "../asm/misuse.ts";
import type { CompareOp, IrFunction, IrValue, IrVar, MemoryClass } from "./ir/ir.ts";
import type { A, HostKind, HostOf, ScalarKind, WidensTo, WireKind } from "./kind.ts";
import type { OpenRecord, Recorder, Scope } from "./recorder.ts";
import type { Region } from "./region.ts";

/** How the language's own code gets at what a value stands for. Not part of the public interface. */
export const internals: unique symbol = Symbol("tsbpf.lang");

/**
 * Where a view's memory is, for the compiler alone: there is no such property. A name of its own, since structs have members of
 * any name. Not part of the public interface.
 */
export declare const where: unique symbol;
declare const exits: unique symbol;
declare const wanted: unique symbol;

/**
 * The end of a path: what `$.return`, `$.break` and `$.continue` give. A body that gives it cannot fall through, and a
 * program is a body that must.
 */
export interface Exit {
  readonly [exits]: true;
}

/** An {@link Exit}, where one is wanted: the compiler quotes the sentence to whoever gives something else. */
export interface Ends<Sentence extends string> {
  readonly [exits]: true;
  readonly [wanted]?: Sentence;
}

/** What happens where something fails. */
export interface OrElse {
  /** Ends the path: `() => $.return(XDP_PASS)`. */
  readonly else: () => Ends<"an else must end its path: give what $.return(...), $.break() or $.continue() gives">;
}

/** What a branch or a loop runs: falls through, or ends its path. */
export type Body = () => unknown;

/** The layouts of integers: `u8` to `s64`, and those of the wire, `be16` to `le64`. */
export interface Scalar<K extends ScalarKind = ScalarKind> {
  readonly kind: K;
  readonly size: number;
}

/** Where a view's memory is. */
export type Memory = "packet" | "map_value" | "stack" | "record" | "ctx" | "kernel" | "user";

/** What a scalar stands for inside. */
export interface ScalarInternals {
  /** The value now. For a variable: what it holds at this point of the program. */
  read(): IrValue;
  readonly kind: ScalarKind;
  /** Where it can be written, if it can. */
  readonly place: Place | undefined;
  readonly recorder: Recorder;
  /** True for what is read wherever it is used: its memory may stand for its value. */
  readonly live?: boolean;
}

/**
 * What TypeScript cannot decide, since it is known only while the program runs. Every object counts as true in TypeScript: an
 * `if` without `$.` would take its branch always, and nothing would say so.
 */
export interface NotOfTypeScript {
  /**
   * There is no such method. The compiler takes what has one for a promise, and refuses it as a condition: "This condition will
   * always return true".
   *
   * @internal
   */
  readonly then: (known: (never: never) => void) => never;
}

/** A scalar's place in memory, or a variable. */
export type Place =
  | { readonly kind: "variable"; readonly variable: IrVar }
  | {
      readonly kind: "memory";
      readonly region: Region;
      readonly offset: number;
      readonly size: 1 | 2 | 4 | 8;
      /** Set for bit fields: lowest bit and number of bits within the loaded value. */
      readonly bits: { readonly shift: number; readonly width: number } | undefined;
    };

/**
 * A value of kind `K` that exists while the program runs.
 *
 * Arithmetic wraps around at the width of `K`, whatever the machine's registers are: a `u8` of 255 plus 1 is 0.
 */
export type Val<K extends ScalarKind = ScalarKind> = K extends HostKind
  ? HostVal<K>
  : K extends WireKind
    ? WireVal<K>
    : never;

interface ScalarBase<K extends ScalarKind> extends NotOfTypeScript {
  /** Its kind, as its layout calls it. */
  readonly kind: K;
  /** @internal */
  readonly [internals]: ScalarInternals;
}

/**
 * What an operation on a `K` takes beside it: a value of the same kind or of one that fits into it, or a constant. Anything
 * else is a compile-time error that is a sentence.
 */
export type Takes<K extends ScalarKind, Other> = Other extends number | bigint
  ? unknown
  : Other extends { readonly kind: infer J extends ScalarKind }
    ? J extends WidensTo<K>
      ? unknown
      : Misuse<Mismatch<K, J>>
    : Misuse<`this takes a value of kind ${K}, or a constant`>;

/** The sentence for two kinds that do not go together. */
export type Mismatch<K extends ScalarKind, J extends ScalarKind> = J extends WireKind
  ? K extends WireKind
    ? `${A<J>} is not ${A<K>}: they have different widths or byte orders`
    : `${A<J>} is in the byte order of the wire: convert it with .toHost() before it meets ${A<K>}`
  : K extends WireKind
    ? `${A<J>} is in the byte order of this machine: convert it with .to(${K}) before it meets ${A<K>}`
    : `${A<J>} may not fit into ${A<K>}: convert one of them with .to(...) first`;

/** A value or a constant that a `K` can be made of. Numbers are checked for their range when the program is built. */
export type Operand<K extends ScalarKind> = Val<WidensTo<K>> | number | bigint;

/** A value in the machine's byte order. */
export interface HostVal<K extends HostKind = HostKind> extends ScalarBase<K> {
  /** Sum, modulo 2^bits. */
  add<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Difference, modulo 2^bits. */
  sub<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Product, modulo 2^bits. */
  mul<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Quotient, truncated towards 0; 0 where the divisor is 0. Of signed values: kernel 6.6. */
  div<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Remainder, with the sign of the dividend; the dividend where the divisor is 0. Of signed values: kernel 6.6. */
  mod<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Bitwise and. */
  and<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Bitwise or. */
  or<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Bitwise exclusive or. */
  xor<const O>(other: O & Takes<K, O>): HostVal<K>;
  /** Shifted left. A count that is not a constant counts modulo 64 for 64-bit values, modulo 32 for others. */
  shl(count: HostVal<"u8" | "u16" | "u32" | "u64"> | number): HostVal<K>;
  /** Shifted right: zeros come in, or the sign for a signed value. Counts as {@link shl}. */
  shr(count: HostVal<"u8" | "u16" | "u32" | "u64"> | number): HostVal<K>;
  /** All bits inverted. */
  not(): HostVal<K>;
  /** 0 minus it, modulo 2^bits. */
  neg(): HostVal<K>;
  /** Equal. */
  eq<const O>(other: O & Takes<K, O>): Cond;
  /** Not equal. */
  ne<const O>(other: O & Takes<K, O>): Cond;
  /** Less than, signed for signed values. */
  lt<const O>(other: O & Takes<K, O>): Cond;
  /** Less than or equal. */
  le<const O>(other: O & Takes<K, O>): Cond;
  /** Greater than. */
  gt<const O>(other: O & Takes<K, O>): Cond;
  /** Greater than or equal. */
  ge<const O>(other: O & Takes<K, O>): Cond;
  /** Has any of these bits set. */
  has<const O>(bits: O & Takes<K, O>): Cond;
  /**
   * As another kind, as a cast in C: wider kinds extend (by sign where this one is signed), narrower ones keep the low bits,
   * wire kinds swap where they must.
   */
  to<J extends ScalarKind>(layout: Scalar<J>): Val<J>;
}

/** A value in the byte order of the wire. It compares for equality, with its own kind and with constants. */
export interface WireVal<K extends WireKind = WireKind> extends ScalarBase<K> {
  /** Equal. A constant is meant as people write it: `0x0800`, not its bytes swapped. */
  eq<const O>(other: O & Takes<K, O>): Cond;
  /** Not equal. */
  ne<const O>(other: O & Takes<K, O>): Cond;
  /** Has any of these bits set. */
  has<const O>(bits: O & Takes<K, O>): Cond;
  /** Bitwise and. */
  and<const O>(other: O & Takes<K, O>): WireVal<K>;
  /** Bitwise or. */
  or<const O>(other: O & Takes<K, O>): WireVal<K>;
  /** Bitwise exclusive or. */
  xor<const O>(other: O & Takes<K, O>): WireVal<K>;
  /** All bits inverted. */
  not(): WireVal<K>;
  /** In the machine's byte order. */
  toHost(): HostVal<HostOf<K>>;
  /** The same bytes, taken as a number of the machine as they are: for hashing, where the order does not matter. */
  raw(): HostVal<HostOf<K>>;
}

/** A variable: reads what it holds at that point of the program. */
export type Var<K extends ScalarKind = ScalarKind> = Val<K> & {
  /** Gives it another value. */
  set<const O>(value: O & Takes<K, O>): void;
};

/**
 * A scalar in memory. As a value it is what was there when the field was read, `view.field`; `set` writes it.
 *
 * @typeParam M - where the memory is: atomic operations take the values of maps only.
 */
export type Ref<K extends ScalarKind = ScalarKind, M extends Memory = Memory> = Val<K> & {
  /** @internal */
  readonly [where]: M;
  /** Writes the field. */
  set<const O>(value: O & Takes<K, O>): void;
};

/** What is inside of a condition. */
export type CondTree =
  | {
      readonly kind: "compare";
      readonly op: CompareOp;
      readonly width: 32 | 64;
      readonly a: IrValue;
      readonly b: IrValue;
    }
  | { readonly kind: "and" | "or"; readonly left: CondTree; readonly right: CondTree }
  | { readonly kind: "not"; readonly of: CondTree }
  | { readonly kind: "constant"; readonly value: boolean };

/** A condition: true or false while the program runs. */
export interface Cond extends NotOfTypeScript {
  /** Both. The values on both sides are computed either way; only the jump is saved. */
  and(other: Cond): Cond;
  /** Any of the two. */
  or(other: Cond): Cond;
  /** The opposite. */
  not(): Cond;
  /** 1 or 0. */
  toU32(): HostVal<"u32">;
  /** @internal */
  readonly [internals]: CondTree;
}

/** What a pointer stands for inside. */
export interface PointerInternals {
  readonly value: IrValue;
  /** Set where the object must be given back. */
  readonly reference?: OpenRecord | undefined;
  /** The body that it exists in. */
  readonly scope?: Scope | undefined;
}

/** A pointer to an object of the kernel that helpers take and give. */
export interface Pointer<Tag extends string = string> {
  readonly tag: Tag;
  /** @internal */
  readonly [internals]: PointerInternals;
}

/** A pointer that may be null: {@link Pointer} inside `$.ifPresent`. */
export interface Nullable<Tag extends string = string> {
  readonly nullable: Tag;
  /** @internal */
  readonly [internals]: PointerInternals;
}

/** Anything with an address that helpers can read and write: views, buffers, fields. */
export interface Addressable<M extends Memory = Memory> {
  /** @internal */
  readonly [where]: M;
  /** @internal */
  readonly [internals]: object;
}

/** A function of the language, built. */
export interface FunctionInternals {
  readonly fn: IrFunction;
}

/** Memory classes by where a view's memory is. */
export const MEMORY_CLASS: Readonly<Record<Memory, MemoryClass>> = {
  packet: "packet",
  map_value: "map_value",
  stack: "stack",
  record: "map_value",
  ctx: "ctx",
  kernel: "any",
  user: "any",
};
