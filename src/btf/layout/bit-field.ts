import { LITTLE_ENDIAN } from "../../base/host.ts";
import { LayoutError, show } from "./error.ts";
import type { BitField } from "./member.ts";

/** The part of a bit field that lies in one byte and in one 32-bit half of the value. */
export interface BitPart {
  /** Byte, from the start of the struct. */
  readonly byte: number;
  /** The part's lowest bit within the byte. */
  readonly shift: number;
  readonly width: number;
  /** The part's lowest bit within the value. */
  readonly valueBit: number;
}

/**
 * Cuts a bit field into parts.
 *
 * Bit n of a struct is bit n % 8 of byte n / 8, counted from the lowest bit on a little-endian machine and from the
 * highest on a big-endian one; so is the order of a value's bits.
 *
 * ```
 *   little-endian, { a: 3, b: 7 }        big-endian, { a: 3, b: 7 }
 *   byte 0        byte 1                 byte 0        byte 1
 *   7  . . 3 2  0 7 . . 2 1 0            7 5 4  . . 0  7 6 5 .. 0
 *  +--------+---+-------+---+           +---+--------+---+-------+
 *  | b 4..0 | a |       |b65|           | a | b 6..2 |b10|       |
 *  +--------+---+-------+---+           +---+--------+---+-------+
 * ```
 */
export function bitParts(bitOffset: number, width: number, littleEndian: boolean): readonly BitPart[] {
  const parts: BitPart[] = [];
  for (let bit = bitOffset; bit < bitOffset + width; ) {
    const inByte = bit % 8;
    let count = Math.min(8 - inByte, bitOffset + width - bit);
    const done = bit - bitOffset;
    // A part stays on one side of bit 32 of the value; the value's top bits come first on a big-endian machine.
    const toBoundary = littleEndian ? 32 - done : width - done - 32;
    if (toBoundary > 0) count = Math.min(count, toBoundary);
    parts.push({
      byte: Math.floor(bit / 8),
      shift: littleEndian ? inByte : 8 - inByte - count,
      width: count,
      valueBit: littleEndian ? done : width - done - count,
    });
    bit += count;
  }
  return parts;
}

/** Reads and writes a bit field at the offset of its struct. */
export interface BitFieldCodec {
  read(view: DataView, structOffset: number): unknown;
  write(view: DataView, structOffset: number, value: unknown): void;
}

/**
 * The codec of a bit field. The value goes through memory of the declared type, so whatever that type reads and
 * refuses (names of an enum, booleans, bigints) its bit fields read and refuse too.
 */
export function bitFieldCodec(field: BitField, bitOffset: number): BitFieldCodec {
  const { base, width } = field;
  const parts = bitParts(bitOffset, width, LITTLE_ENDIAN);
  const memory = new DataView(new ArrayBuffer(8));
  const low = base.size === 8 && !LITTLE_ENDIAN ? 4 : 0;
  const high = 4 - low;

  const min = base.signed ? -(2n ** BigInt(width - 1)) : 0n;
  const max = base.signed ? 2n ** BigInt(width - 1) - 1n : 2n ** BigInt(width) - 1n;
  const doesNotFit = (value: unknown): LayoutError =>
    new LayoutError(base.kind, `${show(value)} does not fit ${width} bits, which hold ${min} to ${max}`);

  const load = (): [low: number, high: number] => {
    switch (base.size) {
      case 1:
        return [memory.getInt8(0), 0];
      case 2:
        return [memory.getInt16(0, LITTLE_ENDIAN), 0];
      case 4:
        return [memory.getInt32(0, LITTLE_ENDIAN), 0];
      default:
        return [memory.getInt32(low, LITTLE_ENDIAN), memory.getInt32(high, LITTLE_ENDIAN)];
    }
  };
  const store = (lowBits: number, highBits: number): void => {
    switch (base.size) {
      case 1:
        memory.setInt8(0, lowBits);
        return;
      case 2:
        memory.setInt16(0, lowBits, LITTLE_ENDIAN);
        return;
      case 4:
        memory.setInt32(0, lowBits, LITTLE_ENDIAN);
        return;
      default:
        memory.setInt32(low, lowBits, LITTLE_ENDIAN);
        memory.setInt32(high, highBits, LITTLE_ENDIAN);
    }
  };
  /** The value that `width` bits give when they are read back. */
  const extend = (lowBits: number, highBits: number): void => {
    const unused = width <= 32 ? 32 - width : 64 - width;
    if (width <= 32) {
      const extended = base.signed ? (lowBits << unused) >> unused : (lowBits << unused) >>> unused;
      store(extended, base.signed && extended < 0 ? -1 : 0);
    } else {
      store(lowBits, base.signed ? (highBits << unused) >> unused : (highBits << unused) >>> unused);
    }
  };

  return {
    read: (view, structOffset) => {
      let lowBits = 0;
      let highBits = 0;
      for (const { byte, shift, width, valueBit } of parts) {
        const bits = (view.getUint8(structOffset + byte) >> shift) & ((1 << width) - 1);
        if (valueBit < 32) lowBits |= bits << valueBit;
        else highBits |= bits << (valueBit - 32);
      }
      extend(lowBits, highBits);
      return base.read(memory, 0);
    },
    write: (view, structOffset, value) => {
      // Before the declared type names its own, wider range.
      if ((typeof value === "number" || typeof value === "bigint") && (value < min || value > max)) {
        throw doesNotFit(value);
      }
      base.write(memory, 0, value);
      const [lowBits, highBits] = load();
      extend(lowBits, highBits);
      const [lowRead, highRead] = load();
      if (lowRead !== lowBits || highRead !== highBits) throw doesNotFit(value);
      for (const { byte, shift, width, valueBit } of parts) {
        const bits = valueBit < 32 ? lowBits >>> valueBit : highBits >>> (valueBit - 32);
        const mask = ((1 << width) - 1) << shift;
        const at = structOffset + byte;
        view.setUint8(at, (view.getUint8(at) & ~mask) | ((bits << shift) & mask));
      }
    },
  };
}

/** Where a program finds a bit field: load `size` bytes at `offset`, shift right by `shift`, keep `width` bits. */
export interface BitFieldAccess {
  readonly offset: number;
  readonly size: number;
  readonly shift: number;
}

/**
 * The smallest aligned load that holds the whole bit field, or, where a packed struct has it across every such
 * boundary, the bytes that it touches.
 */
export function bitFieldAccess(
  bitOffset: number,
  width: number,
  structSize: number,
  littleEndian: boolean,
): BitFieldAccess {
  const last = bitOffset + width - 1;
  const access = (start: number, bits: number): BitFieldAccess => ({
    offset: start / 8,
    size: bits / 8,
    shift: littleEndian ? bitOffset - start : start + bits - 1 - last,
  });
  for (const bits of [8, 16, 32, 64]) {
    const start = Math.floor(bitOffset / bits) * bits;
    if (last < start + bits && start + bits <= structSize * 8) return access(start, bits);
  }
  const start = Math.floor(bitOffset / 8) * 8;
  return access(start, (Math.floor(last / 8) + 1) * 8 - start);
}
