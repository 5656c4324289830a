import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { BtfBuilder, BtfMemberInit } from "../builder.ts";
import { bitFieldAccess, bitFieldCodec } from "./bit-field.ts";
import { LayoutError, show } from "./error.ts";
import type { Infer, InferInput, Layout } from "./layout.ts";
import {
  type BitField,
  type BitFieldBase,
  checkAlign,
  isBitField,
  type Member,
  type MemberLayout,
  type Members,
  memberLayout,
} from "./member.ts";
import type { Placed, RecordOptions } from "./place.ts";

/** One member of a struct or union, in its place: what a program loads, and a codec for it alone. */
export interface Field<Of extends Layout = Layout> {
  readonly name: string;
  /** The layout of its value. */
  readonly layout: Of;
  /** Bytes from the start of the struct. For a bit field, of the load that contains it. */
  readonly offset: number;
  /** Bytes. For a bit field, of the load that contains it. */
  readonly size: number;
  /** Reads this member of the struct at `structOffset`, without the others. */
  read(view: DataView, structOffset: number): Infer<Of>;
  /** Writes this member of the struct at `structOffset` and leaves the others alone. */
  write(view: DataView, structOffset: number, value: InferInput<Of>): void;
}

/**
 * A bit field in its place: a program loads `size` bytes at `offset` in host byte order, shifts right by `shift` and
 * keeps `width` bits. The load is the smallest aligned one (1, 2, 4 or 8 bytes); only a packed struct can have a bit
 * field that none contains, and then these are the bytes that it touches.
 */
export interface BitsInPlace<Base extends BitFieldBase = BitFieldBase> extends Field<Base> {
  /** The bit field's lowest bit within the loaded value. */
  readonly shift: number;
  /** Number of bits. */
  readonly width: number;
}

/** The fields of a struct or union by name. */
export type Fields<M extends Members> = {
  readonly [Name in keyof M]: M[Name] extends BitField<infer Base>
    ? BitsInPlace<Base>
    : Field<MemberLayout<M[Name]>>;
};

/**
 * Byte offsets by name. Members of nested structs and unions are there by path, `"peer.port"`, counted from the start
 * of the outermost one. Bit fields have no offset, as in C.
 */
export type Offsets<M extends Members> = { readonly [Path in OffsetPath<M>]: number };

/** A name or path that {@link Offsets} has. */
export type OffsetPath<M extends Members> = {
  [Name in keyof M & string]: M[Name] extends BitField
    ? never
    : MemberLayout<M[Name]> extends { readonly members: infer Inner extends Members }
      ? Name | `${Name}.${OffsetPath<Inner>}`
      : Name;
}[keyof M & string];

/** Makes the fields of a laid out record. */
export function fieldsOf(placed: readonly Placed[], recordSize: number): Field[] {
  return placed.map((place) => {
    const { name, member, bitOffset } = place;
    return isBitField(member)
      ? bitsInPlace(member, place, recordSize)
      : plainField(name, member, bitOffset / 8);
  });
}

function plainField(name: string, member: Member, offset: number): Field {
  const layout = memberLayout(member);
  return Object.freeze({
    name,
    layout,
    offset,
    size: layout.size,
    read: (view: DataView, structOffset: number): unknown => layout.read(view, structOffset + offset),
    write: (view: DataView, structOffset: number, value: unknown): void =>
      layout.write(view, structOffset + offset, value),
  });
}

function bitsInPlace(member: BitField, { name, bitOffset }: Placed, recordSize: number): BitsInPlace {
  const { base, width } = member;
  return Object.freeze({
    name,
    layout: base,
    ...bitFieldAccess(bitOffset, width, recordSize, LITTLE_ENDIAN),
    width,
    ...bitFieldCodec(member, bitOffset),
  });
}

/** Offsets by path, as {@link Offsets} has them. */
export function offsetsOf(placed: readonly Placed[]): Record<string, number> {
  const offsets: Record<string, number> = {};
  for (const { name, member, bitOffset } of placed) {
    if (isBitField(member)) continue;
    offsets[name] = bitOffset / 8;
    const layout = memberLayout(member);
    if (!("offset" in layout)) continue;
    for (const [path, offset] of Object.entries(layout.offset as Record<string, number>)) {
      offsets[`${name}.${path}`] = bitOffset / 8 + offset;
    }
  }
  return Object.freeze(offsets);
}

/** The members as BTF has them. */
export function btfMembers(placed: readonly Placed[], builder: BtfBuilder): BtfMemberInit[] {
  return placed.map(({ name, member, bitOffset }) => ({
    name,
    type: memberLayout(member).btf(builder),
    bitOffset,
    bitfieldSize: isBitField(member) ? member.width : 0,
  }));
}

/**
 * The members as a list, checked as far as C would check them.
 *
 * @throws LayoutError for names that are no C identifiers, for none at all, for a bad alignment.
 */
export function checkRecord(
  what: string,
  name: string,
  members: Members,
  options: RecordOptions,
): (readonly [string, Member])[] {
  const list = Object.entries(members);
  if (name !== "" && !isIdentifier(name)) throw new LayoutError(what, `${show(name)} is not a C identifier`);
  if (list.length === 0) throw new LayoutError(name || what, "it has no members");
  if (options.align !== undefined) checkAlign(name || what, options.align);
  for (const [member] of list) {
    if (!isIdentifier(member)) {
      throw new LayoutError(name || what, `member ${show(member)} is not a C identifier`);
    }
  }
  return list;
}

// A property of this name would be an object's prototype.
function isIdentifier(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && name !== "__proto__";
}
