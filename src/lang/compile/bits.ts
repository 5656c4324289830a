import type { IrValue } from "../ir/ir.ts";

const ALL = 0xffff_ffff_ffff_ffffn;

/**
 * The bits of a value that may be set: all others are certainly 0. It uses only what the verifier tracks too (sizes of
 * loads, masks, shifts, byte swaps), so that what is left out because of it is not missed there.
 */
export function possibleBits(value: IrValue, depth = 6): bigint {
  if (value.pointer !== undefined) return ALL;
  switch (value.kind) {
    case "const":
      return value.value;
    case "load":
      return value.signed ? ALL : upTo(value.size * 8);
    case "binary": {
      const limit = upTo(value.width);
      if (depth === 0) return limit;
      const a = possibleBits(value.a, depth - 1) & limit;
      const b = possibleBits(value.b, depth - 1) & limit;
      const count = value.b.kind === "const" ? value.b.value & BigInt(value.width - 1) : undefined;
      switch (value.op) {
        case "and":
          return a & b;
        case "or":
        case "xor":
          return a | b;
        case "add":
          return upTo(Math.max(bitLength(a), bitLength(b)) + 1) & limit;
        case "mul":
          return upTo(bitLength(a) + bitLength(b)) & limit;
        // Divisions and shifts by an unknown number tell the verifier nothing, though they make numbers smaller.
        case "rsh":
          return count === undefined ? limit : a >> count;
        case "lsh":
          return count === undefined ? limit : (a << count) & limit;
        default:
          return limit;
      }
    }
    case "unary":
      switch (value.op) {
        case "be16":
        case "le16":
          return 0xffffn;
        case "be32":
        case "le32":
        case "zext32":
          return 0xffff_ffffn;
        default:
          return upTo(value.width);
      }
    case "phi":
      if (depth === 0 || value.widened) return ALL;
      return value.inputs.reduce(
        (all, input) =>
          all | (input.value === value ? 0n : possibleBits(input.value, Math.min(depth - 1, 2))),
        0n,
      );
    default:
      return ALL;
  }
}

/** 2^bits - 1. */
export function upTo(bits: number): bigint {
  return bits >= 64 ? ALL : (1n << BigInt(bits)) - 1n;
}

function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}
