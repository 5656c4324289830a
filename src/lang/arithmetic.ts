import { LITTLE_ENDIAN } from "../base/host.ts";
import { LangError } from "./error.ts";
import type { BinaryOp, CompareOp, IrValue, UnaryOp, Width } from "./ir/ir.ts";
import { aKind, KINDS, type ScalarKind } from "./kind.ts";
import { constant, emit, here, type Recorder } from "./recorder.ts";
import type { CondTree } from "./value.ts";

// How kinds lie in a 64-bit register: unsigned ones zero-extended; s8, s16 and s32 sign-extended to 32 bits with zeros
// above; 64-bit ones as they are; wire kinds as their bytes load, zero-extended.

/** The language's arithmetic on two values. */
export type Arithmetic = "add" | "sub" | "mul" | "div" | "mod" | "and" | "or" | "xor" | "shl" | "shr";

/** Comparisons of the language. */
export type Comparison = "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "has";

/** Computes `a op b`, wrapped around at the width of the kind. */
export function arithmetic(
  recorder: Recorder,
  op: Arithmetic,
  kind: ScalarKind,
  a: IrValue,
  b: IrValue,
): IrValue {
  const { bits, signed } = KINDS[kind];
  if (signed && (op === "div" || op === "mod") && recorder.target.isa < 4) {
    throw new LangError(
      `${aKind(kind)} cannot be divided on kernels before 6.6, and this program is for ${recorder.target.kernel.join(".")}`,
      here(),
      'Divide unsigned values (.to(u32)), or build the program with { kernel: "6.6" }.',
    );
  }
  const result = binary(recorder, OPS[signed ? "signed" : "unsigned"][op], bits === 64 ? 64 : 32, a, b);
  return MAY_OVERFLOW.has(op) || (signed && op === "div") ? wrap(recorder, kind, result) : result;
}

/** `-a`. */
export function negate(recorder: Recorder, kind: ScalarKind, a: IrValue): IrValue {
  return wrap(recorder, kind, unary(recorder, "neg", KINDS[kind].bits === 64 ? 64 : 32, a));
}

/** `~a`. */
export function invert(recorder: Recorder, kind: ScalarKind, a: IrValue): IrValue {
  const { bits, signed } = KINDS[kind];
  const mask = signed && bits < 64 ? 0xffff_ffffn : (1n << BigInt(bits)) - 1n;
  return binary(recorder, "xor", bits === 64 ? 64 : 32, a, constant(mask));
}

/** The condition `a op b`. */
export function compare(op: Comparison, kind: ScalarKind, a: IrValue, b: IrValue): CondTree {
  const { bits, signed } = KINDS[kind];
  // 64-bit comparisons teach the verifier more; a constant above 2^31 fits 32-bit ones only.
  const wide = bits === 64 || (!signed && !(b.kind === "const" && b.value > 0x7fff_ffffn));
  return {
    kind: "compare",
    op: COMPARISONS[signed ? "signed" : "unsigned"][op],
    width: wide ? 64 : 32,
    a,
    b,
  };
}

/** A value of one kind as another, as a cast in C. Wire kinds swap where they must. */
export function convert(recorder: Recorder, from: ScalarKind, to: ScalarKind, value: IrValue): IrValue {
  if (from === to) return value;
  const order = KINDS[to].order;
  const wire = KINDS[from];
  if (wire.order !== "host") {
    const host = `u${wire.bits}` as const;
    return convert(recorder, host, to, swap(recorder, wire.order, wire.bits, value));
  }
  if (order !== "host") {
    const { bits } = KINDS[to];
    return swap(recorder, order, bits, convert(recorder, from, `u${bits}`, value));
  }
  const [a, b] = [KINDS[from], KINDS[to]];
  if (b.bits === 64) return a.signed && a.bits < 64 ? unary(recorder, "sext32", 64, value) : value;
  const cut = a.bits === 64 && b.bits === 32 ? unary(recorder, "zext32", 64, value) : value;
  const fits = b.bits === 32 || (a.bits < b.bits && !(a.signed && !b.signed));
  return fits ? cut : wrap(recorder, to, cut);
}

/** Between the machine's byte order and another; the same both ways. */
export function swap(
  recorder: Recorder,
  order: "big" | "little",
  bits: 8 | 16 | 32 | 64,
  value: IrValue,
): IrValue {
  if ((order === "little") === LITTLE_ENDIAN || bits === 8) return value;
  if (value.kind === "const") return constant(swapped(value.value, bits));
  return unary(recorder, `${order === "big" ? "be" : "le"}${bits}` as UnaryOp, bits === 64 ? 64 : 32, value);
}

/**
 * A number of TypeScript as a constant of a kind, in the bytes that the kind has in memory.
 *
 * @throws LangError if it does not fit.
 */
export function constantOf(kind: ScalarKind, value: number | bigint): IrValue {
  const { bits, signed, order } = KINDS[kind];
  const max = signed ? (1n << BigInt(bits - 1)) - 1n : (1n << BigInt(bits)) - 1n;
  const min = signed ? -(1n << BigInt(bits - 1)) : 0n;
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    const big = Number.isInteger(value);
    throw new LangError(
      `${value} is ${big ? "not exact as a number" : "not an integer"}, and stands where ${aKind(kind)} is wanted`,
      here(),
      big ? `Write it as a bigint: ${BigInt(value)}n.` : "Programs compute with integers only.",
    );
  }
  const exact = BigInt(value);
  if (exact < min || exact > max) {
    throw new LangError(
      `${exact} does not fit into ${aKind(kind)}, which holds ${min} to ${max}`,
      here(),
      "Arithmetic wraps around; constants must fit.",
    );
  }
  if (order !== "host" && (order === "little") !== LITTLE_ENDIAN) return constant(swapped(exact, bits));
  return constant(signed && bits < 64 ? BigInt.asUintN(32, exact) : BigInt.asUintN(64, exact));
}

/** Cuts a 32-bit or 64-bit result to the kind's own width. */
function wrap(recorder: Recorder, kind: ScalarKind, value: IrValue): IrValue {
  const { bits, signed } = KINDS[kind];
  if (bits >= 32) return value;
  if (signed) return unary(recorder, bits === 8 ? "sext8" : "sext16", 32, value);
  return binary(recorder, "and", 32, value, constant(bits === 8 ? 0xff : 0xffff));
}

/** Emits `a op b` on registers. */
export function binary(recorder: Recorder, op: BinaryOp, width: Width, a: IrValue, b: IrValue): IrValue {
  return emit(recorder, { kind: "binary", op, width, a, b, pointer: undefined, source: here() });
}

/** Emits `op a` on a register. */
export function unary(recorder: Recorder, op: UnaryOp, width: Width, a: IrValue): IrValue {
  return emit(recorder, { kind: "unary", op, width, a, pointer: undefined, source: here() });
}

function swapped(value: bigint, bits: number): bigint {
  let result = 0n;
  for (let at = 0; at < bits; at += 8) result = (result << 8n) | ((value >> BigInt(at)) & 0xffn);
  return result;
}

const MAY_OVERFLOW: ReadonlySet<Arithmetic> = new Set(["add", "sub", "mul", "shl"]);

const UNSIGNED_OPS: Readonly<Record<Arithmetic, BinaryOp>> = {
  add: "add",
  sub: "sub",
  mul: "mul",
  div: "div",
  mod: "mod",
  and: "and",
  or: "or",
  xor: "xor",
  shl: "lsh",
  shr: "rsh",
};
const OPS = {
  unsigned: UNSIGNED_OPS,
  signed: { ...UNSIGNED_OPS, div: "sdiv", mod: "smod", shr: "arsh" } as Readonly<
    Record<Arithmetic, BinaryOp>
  >,
};

const COMPARISONS: Readonly<Record<"signed" | "unsigned", Readonly<Record<Comparison, CompareOp>>>> = {
  unsigned: { eq: "eq", ne: "ne", lt: "lt", le: "le", gt: "gt", ge: "ge", has: "set" },
  signed: { eq: "eq", ne: "ne", lt: "slt", le: "sle", gt: "sgt", ge: "sge", has: "set" },
};
