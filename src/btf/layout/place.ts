import { isAligned, isBitField, type Member } from "./member.ts";

/** Where a member lies. */
export interface Placed {
  readonly name: string;
  readonly member: Member;
  /** Bits from the start of the struct. */
  readonly bitOffset: number;
  /** Bits that it takes. */
  readonly bitSize: number;
}

/** A struct or union laid out. */
export interface Placement {
  /** Bytes, padding at the end included. */
  readonly size: number;
  /** Bytes. */
  readonly align: number;
  readonly placed: readonly Placed[];
}

/** How a struct or union departs from the usual layout. */
export interface RecordOptions {
  /** No padding: C's `__attribute__((packed))`. */
  readonly packed?: boolean;
  /** At least this alignment, in bytes: C's `__attribute__((aligned(align)))`. */
  readonly align?: number;
}

/**
 * Lays members out one after the other as the C ABIs of 64-bit machines do (System V AMD64 psABI 3.1.2, AAPCS64 10.1.8):
 * each at the next multiple of its alignment, a bit field at the next bit unless it would cross a unit of its declared
 * type. In a packed struct nothing is aligned but what asks for it, and bit fields cross whatever they like.
 */
export function placeInOrder(
  members: readonly (readonly [string, Member])[],
  options: RecordOptions,
): Placement {
  let align = options.align ?? 1;
  let end = 0;
  const placed = members.map(([name, member]): Placed => {
    const memberAlign = alignOf(member, options.packed === true);
    align = Math.max(align, memberAlign);
    const bitSize = bitSizeOf(member);
    let bitOffset: number;
    if (!isBitField(member)) {
      bitOffset = roundUp(end, memberAlign * 8);
    } else {
      const unit = member.base.size * 8;
      const crosses = Math.floor(end / unit) !== Math.floor((end + bitSize - 1) / unit);
      bitOffset = crosses && options.packed !== true ? roundUp(end, unit) : end;
    }
    end = bitOffset + bitSize;
    return { name, member, bitOffset, bitSize };
  });
  return { size: roundUp(Math.ceil(end / 8), align), align, placed };
}

/** Lays members out one upon the other: the layout of a union. */
export function placeTogether(
  members: readonly (readonly [string, Member])[],
  options: RecordOptions,
): Placement {
  let align = options.align ?? 1;
  let bits = 0;
  const placed = members.map(([name, member]): Placed => {
    align = Math.max(align, alignOf(member, options.packed === true));
    const bitSize = bitSizeOf(member);
    bits = Math.max(bits, bitSize);
    return { name, member, bitOffset: 0, bitSize };
  });
  return { size: roundUp(Math.ceil(bits / 8), align), align, placed };
}

function alignOf(member: Member, packed: boolean): number {
  if (isAligned(member)) return Math.max(member.align, packed ? 1 : member.of.align);
  if (packed) return 1;
  return isBitField(member) ? member.base.align : member.align;
}

function bitSizeOf(member: Member): number {
  if (isBitField(member)) return member.width;
  return 8 * (isAligned(member) ? member.of.size : member.size);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
