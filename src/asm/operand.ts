import { checkRange } from "./insn.ts";
import type { Misuse } from "./misuse.ts";
import type { Register } from "./register.ts";

/** The second operand of an ALU or jump instruction: a register, or a constant that is encoded in 32 bits. */
export type Operand = Register | number | bigint;

/**
 * Turns a constant that cannot be encoded in 32 bits into a compile-time error that says so. Numeric literals of more
 * than ten digits and bigints are caught here; what a type cannot see is range-checked when the instruction is built.
 */
export type Fits32<Value> = Value extends bigint
  ? Misuse<TooWide>
  : Value extends number
    ? `${Value}` extends `-${infer Digits}`
      ? ElevenDigits<Digits>
      : ElevenDigits<`${Value}`>
    : unknown;

/** The compile-time error for a constant that is too wide. */
export type TooWide =
  "this instruction takes a 32-bit constant: load a 64-bit one into a register with lddw first";

type ElevenDigits<Text extends string> =
  Text extends `${infer _0}${infer _1}${infer _2}${infer _3}${infer _4}${infer _5}${infer _6}${infer _7}${infer _8}${infer _9}${infer _10}${string}`
    ? _10 extends ""
      ? unknown
      : Misuse<TooWide>
    : unknown;

/**
 * A constant as the signed 32 bits that are encoded. Instructions that work on 32 bits (`unsigned` allowed) take
 * -2^31..2^32-1; those that work on 64 bits sign-extend the constant, so they take -2^31..2^31-1 only.
 *
 * @throws AssembleError when it is out of range.
 */
export function imm32(value: number, unsigned: boolean): number {
  const max = unsigned ? 0xffff_ffff : 0x7fff_ffff;
  checkRange(
    "imm",
    value,
    -0x8000_0000,
    max,
    "Load a wider constant into a register with lddw, and use the register.",
  );
  return value | 0;
}
