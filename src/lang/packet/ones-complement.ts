import { LITTLE_ENDIAN } from "../../base/host.ts";
import { binary, unary } from "../arithmetic.ts";
import type { IrValue } from "../ir/ir.ts";
import { constant, load, type Recorder } from "../recorder.ts";
import type { Region } from "../region.ts";
import { chunkSize } from "../view.ts";

// The arithmetic of the Internet checksum (RFC 1071): 16-bit words, added up modulo 0xffff. Words are taken as they lie in
// memory. That is right on every machine: the sum of swapped words is the swapped sum. Since 0x10000 is 1 modulo 0xffff, words
// of 32 bits may be added in 64 bits, and what is above 16 bits is added to what is below in the end.

/** A number that stands for its value modulo 0xffff, and what it can be at least and at the most. */
export interface Sum {
  readonly value: IrValue;
  readonly min: bigint;
  readonly max: bigint;
}

/** The sum of nothing. */
export const ZERO: Sum = { value: constant(0), min: 0n, max: 0n };

/** A number as a summand. */
export function summand(value: IrValue, bits: 16 | 32): Sum {
  return { value, min: 0n, max: (1n << BigInt(bits)) - 1n };
}

/** `a + b`. */
export function plus(recorder: Recorder, a: Sum, b: Sum): Sum {
  return {
    value: isZero(a) ? b.value : isZero(b) ? a.value : binary(recorder, "add", 64, a.value, b.value),
    min: a.min + b.min,
    max: a.max + b.max,
  };
}

/** `a - b`. */
export function minus(recorder: Recorder, a: Sum, b: Sum): Sum {
  return {
    value: isZero(b) ? a.value : binary(recorder, "sub", 64, a.value, b.value),
    min: a.min - b.max,
    max: a.max - b.min,
  };
}

/** The sum of the words that lie at a place. A last odd byte counts as if a zero followed. */
export function sumOf(recorder: Recorder, region: Region, offset: number, size: number): Sum {
  let sum = ZERO;
  for (let at = 0; at < size; ) {
    // Words of 32 bits are the widest whose sum has room for carries.
    const chunk = Math.min(4, chunkSize(region, offset + at, size - at)) as 1 | 2 | 4;
    const loaded = load(recorder, region, offset + at, chunk);
    const last = chunk === 1 && !LITTLE_ENDIAN;
    const word = last ? binary(recorder, "lsh", 64, loaded, constant(8)) : loaded;
    sum = plus(recorder, sum, summand(word, chunk === 4 ? 32 : 16));
    at += chunk;
  }
  return sum;
}

/** A sum as a number of about 16 bits, with its sign, that is the same modulo 0xffff: for one that is used more than once. */
export function folded(recorder: Recorder, sum: Sum): Sum {
  return sum.max < 1n << 24n && sum.min > -(1n << 24n) ? sum : folded(recorder, foldOnce(recorder, sum));
}

/** A sum as a number from 0 to 2^32-1 that is the same modulo 0xffff, and not 0 unless the sum itself is. */
export function fold32(recorder: Recorder, sum: Sum): Sum {
  let at = sum;
  while (at.max >= 1n << 31n || at.min < -(1n << 30n)) at = foldOnce(recorder, at);
  return positive(recorder, at);
}

/**
 * The checksum of data: the complement of its sum in 16 bits, as it lies in memory. Where it may not be 0, as that of UDP, 0 is
 * 0xffff.
 */
export function checksumOfSum(recorder: Recorder, sum: Sum, neverZero: boolean): IrValue {
  let at = sum;
  while (at.max >= 1n << 31n || at.min < -(1n << 30n)) at = foldOnce(recorder, at);
  at = positive(recorder, at);
  // With one more before folding and one less after it, multiples of 0xffff become 0 instead of 0xffff.
  if (neverZero) at = plus(recorder, at, { value: constant(1), min: 1n, max: 1n });
  while (at.max > 0x1fffen) at = foldOnce(recorder, at);
  const high = binary(recorder, "rsh", 64, at.value, constant(16));
  const last = at.max <= 0xffffn ? at.value : binary(recorder, "add", 64, at.value, high);
  // ~(x - 1) is -x.
  const complement = neverZero
    ? unary(recorder, "neg", 64, last)
    : binary(recorder, "xor", 64, last, constant(0xffff));
  return binary(recorder, "and", 64, complement, constant(0xffff));
}

function isZero(sum: Sum): boolean {
  return sum.min === 0n && sum.max === 0n;
}

/** What is above 16 bits, with its sign, added to what is below. */
function foldOnce(recorder: Recorder, { value, min, max }: Sum): Sum {
  const low = binary(recorder, "and", 64, value, constant(0xffff));
  const high = binary(recorder, min < 0n ? "arsh" : "rsh", 64, value, constant(16));
  return {
    value: binary(recorder, "add", 64, low, high),
    min: min >> 16n,
    max: 0xffffn + (max >> 16n),
  };
}

/** Above 0, by adding a multiple of 0xffff. */
function positive(recorder: Recorder, sum: Sum): Sum {
  if (sum.min >= 0n) return sum;
  const multiple = (-sum.min / 0xffffn + 1n) * 0xffffn;
  return plus(recorder, sum, { value: constant(multiple), min: multiple, max: multiple });
}
