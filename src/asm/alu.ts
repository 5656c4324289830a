import {
  BPF_ADD,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_AND,
  BPF_ARSH,
  BPF_DIV,
  BPF_END,
  BPF_K,
  BPF_LSH,
  BPF_MOD,
  BPF_MOV,
  BPF_MUL,
  BPF_NEG,
  BPF_OR,
  BPF_RSH,
  BPF_SUB,
  BPF_TO_BE,
  BPF_TO_LE,
  BPF_X,
  BPF_XOR,
} from "../uapi/bpf.ts";
import { AssembleError } from "./errors.ts";
import { checkRange, type Insn, insn } from "./insn.ts";
import { type Fits32, imm32, type Operand } from "./operand.ts";
import type { Register, WritableRegister } from "./register.ts";
import { captureSource } from "./source-position.ts";

// Arithmetic (RFC 9669, section 4.1):
//
//    7       4   3   2     0
//   +---------+-----+-------+
//   |   op    |  s  | class |   s: K constant, X register    class: ALU 32 bits, ALU64 64 bits
//   +---------+-----+-------+
//
// `off` tells signed division and modulo (1) and sign-extending moves (8, 16, 32) from the plain ones.

/**
 * An arithmetic instruction `dst = dst op src`.
 *
 * The constant of a 64-bit operation is sign-extended from 32 bits; a 32-bit operation zeroes the upper half of `dst`.
 *
 * @throws AssembleError when the constant does not fit.
 */
export type AluOperation = <const Source extends Operand>(
  dst: WritableRegister,
  src: Source & Fits32<Source>,
) => Insn<never, never>;

/** An arithmetic instruction on one register. */
export type UnaryOperation = (dst: WritableRegister) => Insn<never, never>;

/** A sign-extending move `dst = (sN)src`. Needs a kernel of 6.6 or newer. */
export type SignExtendingMove = (dst: WritableRegister, src: Register) => Insn<never, never>;

/** `dst = src`, 64 bits. */
export const mov: AluOperation = alu(BPF_ALU64, BPF_MOV);
/** `dst += src`, 64 bits. */
export const add: AluOperation = alu(BPF_ALU64, BPF_ADD);
/** `dst -= src`, 64 bits. */
export const sub: AluOperation = alu(BPF_ALU64, BPF_SUB);
/** `dst *= src`, 64 bits. */
export const mul: AluOperation = alu(BPF_ALU64, BPF_MUL);
/** `dst /= src`, unsigned 64 bits; 0 where `src` is 0. */
export const div: AluOperation = alu(BPF_ALU64, BPF_DIV);
/** `dst s/= src`, signed 64 bits, truncated towards 0; 0 where `src` is 0; -2^63 where that is divided by -1. Kernel 6.6. */
export const sdiv: AluOperation = alu(BPF_ALU64, BPF_DIV, 1);
/** `dst %= src`, unsigned 64 bits; unchanged where `src` is 0. */
export const mod: AluOperation = alu(BPF_ALU64, BPF_MOD);
/** `dst s%= src`, signed 64 bits, with the sign of `dst`; unchanged where `src` is 0. Kernel 6.6. */
export const smod: AluOperation = alu(BPF_ALU64, BPF_MOD, 1);
/** `dst |= src`, 64 bits. */
export const or: AluOperation = alu(BPF_ALU64, BPF_OR);
/** `dst &= src`, 64 bits. */
export const and: AluOperation = alu(BPF_ALU64, BPF_AND);
/** `dst ^= src`, 64 bits. */
export const xor: AluOperation = alu(BPF_ALU64, BPF_XOR);
/** `dst <<= src`, 64 bits; a register counts modulo 64. */
export const lsh: AluOperation = alu(BPF_ALU64, BPF_LSH);
/** `dst >>= src`, 64 bits, zeroes shifted in. */
export const rsh: AluOperation = alu(BPF_ALU64, BPF_RSH);
/** `dst s>>= src`, 64 bits, the sign shifted in. */
export const arsh: AluOperation = alu(BPF_ALU64, BPF_ARSH);
/** `dst = -dst`, 64 bits. */
export const neg: UnaryOperation = unary(BPF_ALU64 | BPF_NEG, 0);

/** `wdst = wsrc`, 32 bits. */
export const mov32: AluOperation = alu(BPF_ALU, BPF_MOV);
/** `wdst += wsrc`, 32 bits. */
export const add32: AluOperation = alu(BPF_ALU, BPF_ADD);
/** `wdst -= wsrc`, 32 bits. */
export const sub32: AluOperation = alu(BPF_ALU, BPF_SUB);
/** `wdst *= wsrc`, 32 bits. */
export const mul32: AluOperation = alu(BPF_ALU, BPF_MUL);
/** `wdst /= wsrc`, unsigned 32 bits; 0 where `wsrc` is 0. */
export const div32: AluOperation = alu(BPF_ALU, BPF_DIV);
/** `wdst s/= wsrc`, signed 32 bits, truncated towards 0; 0 where `wsrc` is 0; -2^31 where that is divided by -1. Kernel 6.6. */
export const sdiv32: AluOperation = alu(BPF_ALU, BPF_DIV, 1);
/** `wdst %= wsrc`, unsigned 32 bits; where `wsrc` is 0 the lower half is unchanged. */
export const mod32: AluOperation = alu(BPF_ALU, BPF_MOD);
/** `wdst s%= wsrc`, signed 32 bits, with the sign of `wdst`; where `wsrc` is 0 the lower half is unchanged. Kernel 6.6. */
export const smod32: AluOperation = alu(BPF_ALU, BPF_MOD, 1);
/** `wdst |= wsrc`, 32 bits. */
export const or32: AluOperation = alu(BPF_ALU, BPF_OR);
/** `wdst &= wsrc`, 32 bits. */
export const and32: AluOperation = alu(BPF_ALU, BPF_AND);
/** `wdst ^= wsrc`, 32 bits. */
export const xor32: AluOperation = alu(BPF_ALU, BPF_XOR);
/** `wdst <<= wsrc`, 32 bits; a register counts modulo 32. */
export const lsh32: AluOperation = alu(BPF_ALU, BPF_LSH);
/** `wdst >>= wsrc`, 32 bits, zeroes shifted in. */
export const rsh32: AluOperation = alu(BPF_ALU, BPF_RSH);
/** `wdst s>>= wsrc`, 32 bits, the sign shifted in. */
export const arsh32: AluOperation = alu(BPF_ALU, BPF_ARSH);
/** `wdst = -wdst`, 32 bits. */
export const neg32: UnaryOperation = unary(BPF_ALU | BPF_NEG, 0);

/** `dst = (s8)src`, extended to 64 bits. */
export const movsx8: SignExtendingMove = movsx(BPF_ALU64, 8);
/** `dst = (s16)src`, extended to 64 bits. */
export const movsx16: SignExtendingMove = movsx(BPF_ALU64, 16);
/** `dst = (s32)src`, extended to 64 bits. */
export const movsx32: SignExtendingMove = movsx(BPF_ALU64, 32);
/** `wdst = (s8)wsrc`, extended to 32 bits. */
export const mov32sx8: SignExtendingMove = movsx(BPF_ALU, 8);
/** `wdst = (s16)wsrc`, extended to 32 bits. */
export const mov32sx16: SignExtendingMove = movsx(BPF_ALU, 16);

// Byte order (RFC 9669, section 4.2): for class ALU, s tells little (K) or big endian (X), imm the width in bits. With
// class ALU64 and s = K the bytes are swapped whatever the machine's order.

/** `dst = le16 dst`: the low 16 bits between host and little-endian order; the rest is zeroed. */
export const le16: UnaryOperation = unary(BPF_ALU | BPF_END | BPF_TO_LE, 16);
/** `dst = le32 dst`: the low 32 bits between host and little-endian order; the rest is zeroed. */
export const le32: UnaryOperation = unary(BPF_ALU | BPF_END | BPF_TO_LE, 32);
/** `dst = le64 dst`: 64 bits between host and little-endian order. */
export const le64: UnaryOperation = unary(BPF_ALU | BPF_END | BPF_TO_LE, 64);
/** `dst = be16 dst`: the low 16 bits between host and big-endian order; the rest is zeroed. */
export const be16: UnaryOperation = unary(BPF_ALU | BPF_END | BPF_TO_BE, 16);
/** `dst = be32 dst`: the low 32 bits between host and big-endian order; the rest is zeroed. */
export const be32: UnaryOperation = unary(BPF_ALU | BPF_END | BPF_TO_BE, 32);
/** `dst = be64 dst`: 64 bits between host and big-endian order. */
export const be64: UnaryOperation = unary(BPF_ALU | BPF_END | BPF_TO_BE, 64);
/** `dst = bswap16 dst`: the low 16 bits swapped, the rest zeroed. Kernel 6.6. */
export const bswap16: UnaryOperation = unary(BPF_ALU64 | BPF_END | BPF_TO_LE, 16);
/** `dst = bswap32 dst`: the low 32 bits swapped, the rest zeroed. Kernel 6.6. */
export const bswap32: UnaryOperation = unary(BPF_ALU64 | BPF_END | BPF_TO_LE, 32);
/** `dst = bswap64 dst`: all eight bytes swapped. Kernel 6.6. */
export const bswap64: UnaryOperation = unary(BPF_ALU64 | BPF_END | BPF_TO_LE, 64);

/**
 * `dst = addr_space_cast(src, dstSpace, srcSpace)`: turns an arena pointer (address space 1) into a kernel pointer
 * (address space 0), or the other way round. Kernel 6.9.
 *
 * @param dstSpace - address space of the result, 0 or 1.
 * @param srcSpace - address space of `src`, 0 or 1.
 * @throws AssembleError when an address space is not 0..65535.
 */
export function addrSpaceCast(
  dst: WritableRegister,
  src: Register,
  dstSpace: number,
  srcSpace: number,
): Insn<never, never> {
  checkRange("address space", dstSpace, 0, 0xffff);
  checkRange("address space", srcSpace, 0, 0xffff);
  return insn({
    code: BPF_ALU64 | BPF_MOV | BPF_X,
    dst_reg: dst.number,
    src_reg: src.number,
    off: BPF_ADDR_SPACE_CAST,
    imm: (dstSpace << 16) | srcSpace,
  });
}

function alu(opClass: number, op: number, off = 0): AluOperation {
  return (dst: WritableRegister, src: Operand) => {
    if (typeof src === "object") {
      return insn({ code: opClass | op | BPF_X, dst_reg: dst.number, src_reg: src.number, off });
    }
    const imm = imm32(Number(src), opClass === BPF_ALU);
    if (op === BPF_DIV || op === BPF_MOD) checkDivisor(imm);
    if (op === BPF_LSH || op === BPF_RSH || op === BPF_ARSH) {
      checkRange("shift count", imm, 0, opClass === BPF_ALU ? 31 : 63);
    }
    return insn({ code: opClass | op | BPF_K, dst_reg: dst.number, off, imm });
  };
}

// The verifier refuses a constant zero divisor ("div by zero"), while a register may hold one.
function checkDivisor(imm: number): void {
  if (imm !== 0) return;
  throw new AssembleError("the divisor is the constant 0", { source: captureSource()?.position() });
}

function unary(code: number, imm: number): UnaryOperation {
  return (dst) => insn({ code, dst_reg: dst.number, imm });
}

function movsx(opClass: number, bits: number): SignExtendingMove {
  return (dst, src) =>
    insn({ code: opClass | BPF_MOV | BPF_X, dst_reg: dst.number, src_reg: src.number, off: bits });
}
