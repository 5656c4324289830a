/** Unsigned integers in the machine's byte order. */
export type UnsignedKind = "u8" | "u16" | "u32" | "u64";
/** Signed integers in the machine's byte order, two's complement. */
export type SignedKind = "s8" | "s16" | "s32" | "s64";
/** Integers that can be computed with. */
export type HostKind = UnsignedKind | SignedKind;
/** Integers in the byte order of a protocol: moved, compared for equality and combined bit by bit, nothing else. */
export type WireKind = "be16" | "be32" | "be64" | "le16" | "le32" | "le64";
/** Every kind of scalar, by the name that its layout has. */
export type ScalarKind = HostKind | WireKind;

/** The kinds whose every value `K` can hold too. */
export type WidensTo<K extends ScalarKind> = K extends keyof Widening ? Widening[K] : K;

interface Widening {
  u8: "u8";
  u16: "u8" | "u16";
  u32: "u8" | "u16" | "u32";
  u64: "u8" | "u16" | "u32" | "u64";
  s8: "s8";
  s16: "s8" | "s16" | "u8";
  s32: "s8" | "s16" | "s32" | "u8" | "u16";
  s64: "s8" | "s16" | "s32" | "s64" | "u8" | "u16" | "u32";
}

/** A kind with its article, as it is read out: `a u8`, `an s8`. */
export type A<K extends ScalarKind> = K extends SignedKind | `le${string}` ? `an ${K}` : `a ${K}`;

/** The host kind of the same width, for a wire kind. */
export type HostOf<K extends WireKind> = `u${K extends `${"be" | "le"}${infer Bits}` ? Bits : never}` &
  HostKind;

/** What is known of a kind. */
export interface KindFacts {
  readonly bits: 8 | 16 | 32 | 64;
  readonly signed: boolean;
  readonly order: "host" | "big" | "little";
}

/** Facts by kind. */
export const KINDS: Readonly<Record<ScalarKind, KindFacts>> = {
  u8: { bits: 8, signed: false, order: "host" },
  u16: { bits: 16, signed: false, order: "host" },
  u32: { bits: 32, signed: false, order: "host" },
  u64: { bits: 64, signed: false, order: "host" },
  s8: { bits: 8, signed: true, order: "host" },
  s16: { bits: 16, signed: true, order: "host" },
  s32: { bits: 32, signed: true, order: "host" },
  s64: { bits: 64, signed: true, order: "host" },
  be16: { bits: 16, signed: false, order: "big" },
  be32: { bits: 32, signed: false, order: "big" },
  be64: { bits: 64, signed: false, order: "big" },
  le16: { bits: 16, signed: false, order: "little" },
  le32: { bits: 32, signed: false, order: "little" },
  le64: { bits: 64, signed: false, order: "little" },
};

/** Whether a layout's kind is a scalar of the language. */
export function isScalarKind(kind: string): kind is ScalarKind {
  return Object.hasOwn(KINDS, kind);
}

/** Whether every value of `from` is one of `to`. */
export function widens(from: ScalarKind, to: ScalarKind): boolean {
  const [a, b] = [KINDS[from], KINDS[to]];
  if (a.order !== "host" || b.order !== "host") return from === to;
  if (a.signed === b.signed) return a.bits <= b.bits;
  return b.signed && a.bits < b.bits;
}

/** A kind with its article. */
export function aKind<K extends ScalarKind>(kind: K): A<K> {
  return `${/^(s|le)/.test(kind) ? "an" : "a"} ${kind}` as A<K>;
}
