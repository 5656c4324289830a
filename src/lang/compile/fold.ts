import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { BinaryOp, CompareOp, IrBinary, IrConst, IrUnary, IrValue, UnaryOp, Width } from "../ir/ir.ts";
import { possibleBits, upTo } from "./bits.ts";
import { swap } from "./swap.ts";

/** A simpler value that is the same as this one, or the value itself. */
export function simplify(value: IrValue): IrValue {
  if (value.kind === "binary") return simplifyBinary(value);
  return value.kind === "unary" ? simplifyUnary(value) : value;
}

/** Computes an operation as the machine does; the result is what the 64-bit register holds. */
export function evaluate(op: BinaryOp, width: Width, left: bigint, right: bigint): bigint {
  const a = BigInt.asUintN(width, left);
  const b = BigInt.asUintN(width, right);
  const [sa, sb] = [BigInt.asIntN(width, a), BigInt.asIntN(width, b)];
  const count = b & BigInt(width - 1);
  const results: Record<BinaryOp, () => bigint> = {
    add: () => a + b,
    sub: () => a - b,
    mul: () => a * b,
    div: () => (b === 0n ? 0n : a / b),
    mod: () => (b === 0n ? a : a % b),
    sdiv: () => (b === 0n ? 0n : sa / sb),
    smod: () => (b === 0n ? sa : sa % sb),
    or: () => a | b,
    and: () => a & b,
    xor: () => a ^ b,
    lsh: () => a << count,
    rsh: () => a >> count,
    arsh: () => sa >> count,
  };
  return BigInt.asUintN(width, results[op]());
}

/** Computes an operation on one value as the machine does. */
export function evaluateUnary(op: UnaryOp, width: Width, value: bigint): bigint {
  switch (op) {
    case "neg":
      return BigInt.asUintN(width, -value);
    case "zext32":
      return BigInt.asUintN(32, value);
    case "sext8":
    case "sext16":
    case "sext32":
      return BigInt.asUintN(width, BigInt.asIntN(Number(op.slice(4)), value));
    default: {
      const bits = Number(op.slice(2));
      return swap(op, BigInt.asUintN(bits, value), bits);
    }
  }
}

/** Whether a comparison of two numbers holds. */
export function holds(op: CompareOp, width: Width, left: bigint, right: bigint): boolean {
  const a = BigInt.asUintN(width, left);
  const b = BigInt.asUintN(width, right);
  const [sa, sb] = [BigInt.asIntN(width, a), BigInt.asIntN(width, b)];
  switch (op) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "sgt":
      return sa > sb;
    case "sge":
      return sa >= sb;
    case "slt":
      return sa < sb;
    case "sle":
      return sa <= sb;
    case "set":
      return (a & b) !== 0n;
    case "nset":
      return (a & b) === 0n;
  }
}

const COMMUTES: ReadonlySet<BinaryOp> = new Set(["add", "mul", "and", "or", "xor"]);

function simplifyBinary(node: IrBinary): IrValue {
  const { op, width } = node;
  if (node.a.kind === "const" && node.b.kind === "const") {
    return number(evaluate(op, width, node.a.value, node.b.value));
  }
  if (node.a.kind === "const" && COMMUTES.has(op)) [node.a, node.b] = [node.b, node.a];
  const { a, b } = node;
  if (b.kind !== "const") return op === "sub" ? distance(node, a, b) : node;
  const right = BigInt.asUintN(width, b.value);
  const pointer = a.pointer !== undefined;
  // With a width of 32 the upper half becomes zero, too: the value itself is the same only where it is zero already.
  const keepsA = width === 64 || pointer || possibleBits(a) >> 32n === 0n;
  if (right === 0n) {
    if (op === "mul" || op === "and" || op === "div" || op === "sdiv") return number(0n);
    if (keepsA) return a; // + - | ^ << >> s>> and modulo 0
    return node;
  }
  if (pointer) return combineAdds(node, a, right);
  const power = right & (right - 1n) ? undefined : BigInt(right.toString(2).length - 1);
  if (op === "mul" && power !== undefined)
    return power === 0n && keepsA ? a : { ...node, op: "lsh", b: number(power) };
  if (op === "div" && power !== undefined)
    return power === 0n && keepsA ? a : { ...node, op: "rsh", b: number(power) };
  if (op === "mod" && power !== undefined)
    return simplifyBinary({ ...node, op: "and", b: number(right - 1n) });
  if (op === "and" && width === 64 && right === 0xffff_ffffn) {
    return simplifyUnary({
      kind: "unary",
      op: "zext32",
      width: 64,
      a,
      pointer: undefined,
      source: node.source,
    });
  }
  if (op === "and") {
    const bits = possibleBits(a);
    if ((bits & ~right) === 0n && keepsA) return a;
    if ((bits & right) === 0n) return number(0n);
    if (a.kind === "binary" && a.op === "and" && a.b.kind === "const" && a.width === width) {
      return { ...node, a: a.a, b: number(a.b.value & right) };
    }
  }
  if (op === "add" || op === "sub") return combineAdds(node, a, right);
  return node;
}

/** `(x + 3) - (x + 1)` as 2. */
function distance(node: IrBinary, a: IrValue, b: IrValue): IrValue {
  const [[left, far], [right, near]] = [rootOf(a, node.width), rootOf(b, node.width)];
  return left === right ? number(BigInt.asUintN(node.width, far - near)) : node;
}

/** A value as another one and a number that is added to it. */
function rootOf(value: IrValue, width: Width): [root: IrValue, number: bigint] {
  if (value.kind !== "binary" || value.op !== "add" || value.width !== width) return [value, 0n];
  return value.b.kind === "const" ? [value.a, value.b.value] : [value, 0n];
}

/** `(x + 1) + 2` as `x + 3`, and subtraction of a constant as addition. */
function combineAdds(node: IrBinary, a: IrValue, right: bigint): IrValue {
  const { op, width } = node;
  if (op !== "add" && op !== "sub") return node;
  const by = op === "add" ? right : -right;
  if (a.kind === "binary" && a.op === "add" && a.width === width && a.b.kind === "const") {
    const sum = BigInt.asUintN(width, a.b.value + by);
    if (sum === 0n && (width === 64 || possibleBits(a.a) >> 32n === 0n)) return a.a;
    return { ...node, op: "add", a: a.a, b: number(sum) };
  }
  return op === "sub" ? { ...node, op: "add", b: number(BigInt.asUintN(width, by)) } : node;
}

const LOWER_HALVES: ReadonlySet<BinaryOp> = new Set(["add", "sub", "mul", "and", "or", "xor"]);

function simplifyUnary(node: IrUnary): IrValue {
  const { op, width, a } = node;
  if (a.kind === "const") return number(evaluateUnary(op, width, a.value));
  if (op === "zext32" && possibleBits(a) <= 0xffff_ffffn) return a;
  // The lower half of a sum is the sum of the lower halves; of two pointers' difference, too.
  if (op === "zext32" && a.kind === "binary" && LOWER_HALVES.has(a.op) && a.pointer === undefined) {
    return { ...a, width: 32 };
  }
  if (op === "zext32" && a.kind === "binary" && a.op === "lsh" && a.b.kind === "const" && a.b.value < 32n) {
    return { ...a, width: 32 };
  }
  if (op === "zext32" && a.kind === "unary" && (a.op === "neg" || a.op === "sext8" || a.op === "sext16")) {
    return { ...a, width: 32 };
  }
  // What was extended to 32 bits is extended to 64 at once.
  if (op === "sext32" && width === 64 && a.kind === "unary" && (a.op === "sext8" || a.op === "sext16")) {
    return { ...a, width: 64 };
  }
  if (op === "sext32" && possibleBits(a) <= 0x7fff_ffffn) return a;
  if (op === "sext16" && possibleBits(a) <= 0x7fffn) return a;
  if (op === "sext8" && possibleBits(a) <= 0x7fn) return a;
  if (op === (LITTLE_ENDIAN ? "le16" : "be16") && possibleBits(a) <= upTo(16)) return a;
  if (op === (LITTLE_ENDIAN ? "le32" : "be32") && possibleBits(a) <= upTo(32)) return a;
  return node;
}

/** A simpler value whose lower `bits` are the same, for whoever looks at those only. */
export function lowerBits(value: IrValue, bits: number): IrValue {
  const { kind, pointer } = value;
  if (pointer !== undefined) return value;
  if (kind === "unary" && value.a.pointer === undefined) {
    const kept = EXTENDS.get(value.op);
    return kept !== undefined && kept >= bits ? lowerBits(value.a, bits) : value;
  }
  if (kind !== "binary" || value.op !== "and" || value.b.kind !== "const") return value;
  const mask = upTo(bits);
  return (value.b.value & mask) === mask && value.a.pointer === undefined ? lowerBits(value.a, bits) : value;
}

/** How many bits the extensions keep as they are. */
const EXTENDS: ReadonlyMap<UnaryOp, number> = new Map([
  ["zext32", 32],
  ["sext32", 32],
  ["sext16", 16],
  ["sext8", 8],
]);

/** A constant. */
export function number(value: bigint): IrConst {
  return { kind: "const", value, pointer: undefined, source: undefined };
}
