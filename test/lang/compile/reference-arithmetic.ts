import type { BinaryOp, CompareOp, UnaryOp, Width } from "../../../src/lang/ir/ir.ts";

/**
 * Arithmetic as RFC 9669 defines it, written a second time, without a look at the compiler's: that of the compiler is
 * what is tested.
 */
export function evaluate(op: BinaryOp, width: Width, left: bigint, right: bigint): bigint {
  const modulus = 1n << BigInt(width);
  const a = left % modulus;
  const b = right % modulus;
  const shift = b % BigInt(width);
  switch (op) {
    case "add":
      return (a + b) % modulus;
    case "sub":
      return (a - b + modulus) % modulus;
    case "mul":
      return (a * b) % modulus;
    case "div":
      return b === 0n ? 0n : a / b;
    case "mod":
      return b === 0n ? a : a % b;
    case "sdiv":
      return b === 0n ? 0n : unsigned(signed(a, modulus) / signed(b, modulus), modulus);
    case "smod":
      return b === 0n ? a : unsigned(signed(a, modulus) % signed(b, modulus), modulus);
    case "or":
      return a | b;
    case "and":
      return a & b;
    case "xor":
      return a ^ b;
    case "lsh":
      return (a << shift) % modulus;
    case "rsh":
      return a >> shift;
    case "arsh":
      return unsigned(signed(a, modulus) >> shift, modulus);
  }
}

/** One value, as the instruction of this name treats it; little-endian machines. */
export function evaluateUnary(op: UnaryOp, width: Width, value: bigint): bigint {
  const modulus = 1n << BigInt(width);
  switch (op) {
    case "neg":
      return unsigned(-(value % modulus), modulus);
    case "zext32":
      return value % (1n << 32n);
    case "sext8":
      return unsigned(signed(value % 256n, 256n), modulus);
    case "sext16":
      return unsigned(signed(value % 65_536n, 65_536n), modulus);
    case "sext32":
      return unsigned(signed(value % (1n << 32n), 1n << 32n), modulus);
    case "le16":
      return value % 65_536n;
    case "le32":
      return value % (1n << 32n);
    case "le64":
      return value;
    case "be16":
      return reversed(value, 2);
    case "be32":
      return reversed(value, 4);
    case "be64":
      return reversed(value, 8);
  }
}

/** Whether a conditional jump is taken. */
export function holds(op: CompareOp, width: Width, left: bigint, right: bigint): boolean {
  const modulus = 1n << BigInt(width);
  const [a, b] = [left % modulus, right % modulus];
  const [sa, sb] = [signed(a, modulus), signed(b, modulus)];
  const results: Readonly<Record<CompareOp, boolean>> = {
    eq: a === b,
    ne: a !== b,
    gt: a > b,
    ge: a >= b,
    lt: a < b,
    le: a <= b,
    sgt: sa > sb,
    sge: sa >= sb,
    slt: sa < sb,
    sle: sa <= sb,
    set: (a & b) !== 0n,
    nset: (a & b) === 0n,
  };
  return results[op];
}

function signed(value: bigint, modulus: bigint): bigint {
  return value >= modulus / 2n ? value - modulus : value;
}

function unsigned(value: bigint, modulus: bigint): bigint {
  return ((value % modulus) + modulus) % modulus;
}

function reversed(value: bigint, bytes: number): bigint {
  let result = 0n;
  for (let index = 0; index < bytes; index++) result = result * 256n + ((value >> BigInt(8 * index)) % 256n);
  return result;
}
