import { LayoutError, show } from "./error.ts";
import type { Infer, InferInput, Layout } from "./layout.ts";
import type { Integer } from "./number.ts";
import type { ReservedLayout } from "./reserved.ts";

/** What a struct or union is made of: layouts, bit fields, and layouts with an alignment of their own. */
export type Member = Layout | BitField | Aligned;

/** Members by name, in the order in which they lie in memory. */
export type Members = Readonly<Record<string, Member>>;

/** An integer in host byte order, `bool` or an enum: what a bit field can be of. */
export type BitFieldBase = Layout & Integer<"host">;

/** A bit field: a member, not a layout, since it has no address. Made by {@link bits}. */
export interface BitField<Base extends BitFieldBase = BitFieldBase> {
  readonly kind: "bits";
  /** Its declared type: how its value reads, and the unit that it does not cross in a struct that is not packed. */
  readonly base: Base;
  /** Number of bits. */
  readonly width: number;
}

/** A member with an alignment of its own. Made by {@link aligned}. */
export interface Aligned<Of extends Layout = Layout> {
  readonly kind: "aligned";
  readonly of: Of;
  /** Bytes. */
  readonly align: number;
}

/** The layout of a member's value. */
export type MemberLayout<M extends Member> =
  M extends BitField<infer Base> ? Base : M extends Aligned<infer Of> ? Of : M extends Layout ? M : never;

/** The names of the members that are part of the value: all but the reserved ones. */
export type ValueNames<M extends Members> = {
  [Name in keyof M]: MemberLayout<M[Name]> extends ReservedLayout ? never : Name;
}[keyof M] &
  string;

/** What a member reads. */
export type MemberValue<M extends Member> = Infer<MemberLayout<M>>;

/** What a member writes. */
export type MemberInput<M extends Member> = InferInput<MemberLayout<M>>;

/**
 * A bit field of `width` bits, as C's `__u32 name : width`. On a little-endian machine the first bit field of a unit
 * takes its lowest bits, on a big-endian one its highest.
 *
 * @throws LayoutError if the base has no bits to give or has fewer.
 * @example
 * ```ts
 * struct("iphdr_start", { ihl: bits(u8, 4), version: bits(u8, 4), tos: u8, tot_len: be16 });
 * struct("options", { verbose: bits(bool, 1), level: bits(u32, 3) });
 * ```
 */
export function bits<Base extends BitFieldBase>(base: Base, width: number): BitField<Base> {
  if (base.order !== "host") {
    throw new LayoutError(base.kind, "only integers in host byte order, bool and enums have bit fields");
  }
  const most = base.kind === "bool" ? 1 : base.size * 8;
  if (!Number.isInteger(width) || width < 1 || width > most) {
    throw new LayoutError(base.kind, `a bit field of ${show(width)} bits: it can have 1 to ${most}`);
  }
  return Object.freeze({ kind: "bits", base, width });
}

/**
 * A member that starts at a multiple of `align` bytes, as C's `__attribute__((aligned(align)))` after its name. It
 * keeps its size; the struct is aligned with it.
 *
 * @throws LayoutError if `align` is no power of two.
 * @example
 * ```ts
 * struct("slots", { hot: u64, cold: aligned(u64, 64) }); // cold at 64, 128 bytes in all
 * ```
 */
export function aligned<Of extends Layout>(of: Of, align: number): Aligned<Of> {
  checkAlign(of.kind, align);
  return Object.freeze({ kind: "aligned", of, align });
}

/** Refuses what is no alignment. */
export function checkAlign(what: string, align: number): void {
  if (Number.isInteger(align) && align > 0 && align <= 2 ** 28 && Number.isInteger(Math.log2(align))) return;
  throw new LayoutError(what, `alignment ${show(align)} is not a power of two`);
}

/** The layout of a member's value, as data. */
export function memberLayout(member: Member): Layout {
  if (isBitField(member)) return member.base;
  return isAligned(member) ? member.of : member;
}

/** Whether a member is a bit field. */
export function isBitField(member: Member): member is BitField {
  return member.kind === "bits";
}

/** Whether a member has an alignment of its own. */
export function isAligned(member: Member): member is Aligned {
  return member.kind === "aligned";
}
