import { suggest } from "../../base/suggest.ts";
import type { Btf } from "../decode.ts";
import { type FlatMember, findType, flatMembers, resolve, sizeOf } from "../lookup.ts";
import type { BtfTypeId, BtfTypes } from "../type.ts";
import { LayoutError } from "./error.ts";
import type { Layout } from "./layout.ts";
import { isBitField, type Member, memberLayout } from "./member.ts";
import type { Placed } from "./place.ts";
import type { StructLayout } from "./struct.ts";
import type { UnionLayout } from "./union.ts";

/** One way in which a layout and a struct of the kernel disagree. */
export interface LayoutDifference {
  /** Where: `bpf_sock_tuple.ipv4.sport`. */
  readonly path: string;
  /**
   * What differs: the `size` of a whole or of a member, its `offset`, its `byteOrder` or `sign`; `missing` is a member
   * that the kernel's struct does not have, `undeclared` one of its members where the layout has nothing but padding.
   */
  readonly what: "size" | "missing" | "undeclared" | "offset" | "byteOrder" | "sign";
  /** The whole sentence, path included. */
  readonly message: string;
}

/**
 * How a struct or union differs from the one of BTF, usually the running kernel's: names, offsets, sizes, bit fields,
 * signs, and byte order where the kernel's type tells it (`__be16`). No differences: an empty list.
 *
 * Members are compared by name, into nested structs. One of ours whose type has no C name (`union("", ...)`) stands
 * for an anonymous member of the kernel's. A kernel member where the layout has another
 * member, if only `padding`, is not missed.
 *
 * @throws LayoutError if there is no struct of that name.
 * @example
 * ```ts
 * const udphdr = struct("udphdr", { source: be16, dest: u16, length: be16, check: be16 });
 * for (const { message } of compareWithBtf(udphdr, vmlinux)) console.error(message);
 * // udphdr.dest: it is in host byte order, and BTF says big
 * // udphdr.length: BTF has no member of this name
 * ```
 */
export function compareWithBtf(layout: StructLayout | UnionLayout, btf: Btf): LayoutDifference[];
/**
 * How a struct or union differs from the type of this id, whatever that is called.
 *
 * @param id Which type to compare with.
 */
export function compareWithBtf(
  layout: StructLayout | UnionLayout,
  types: BtfTypes,
  id: BtfTypeId,
): LayoutDifference[];
export function compareWithBtf(
  layout: StructLayout | UnionLayout,
  types: Btf | BtfTypes,
  id: BtfTypeId = idByName(layout, types as Btf),
): LayoutDifference[] {
  const differences: LayoutDifference[] = [];
  compareRecord(layout, types, id, layout.name || layout.kind, (path, what, sentence) => {
    differences.push({ path, what, message: `${path}: ${sentence}` });
  });
  return differences;
}

type Report = (path: string, what: LayoutDifference["what"], sentence: string) => void;

function idByName({ kind, name }: StructLayout | UnionLayout, btf: Btf): BtfTypeId {
  const found = findType(btf, kind, name) ?? findType(btf, "typedef", name);
  if (found !== undefined) return found.id;
  throw new LayoutError(name || kind, `BTF has no ${kind} of this name to compare it with`);
}

function compareRecord(
  layout: StructLayout | UnionLayout,
  types: BtfTypes,
  id: BtfTypeId,
  path: string,
  report: Report,
): void {
  const theirSize = sizeOf(types, id);
  if (theirSize !== layout.size) {
    report(path, "size", `it has ${layout.size} bytes, and BTF says ${theirSize}`);
  }
  const theirs = new Map(flatMembers(types, id).map((member) => [member.name, member]));
  const ours = flatten(layout.placement.placed, theirs);
  for (const place of ours) {
    if (memberLayout(place.member).kind === "reserved" && !theirs.has(place.name)) continue;
    compareMember(place, types, theirs, `${path}.${place.name}`, report);
  }
  const isPadding = paddingOf(layout, ours);
  const ourNames = new Set(ours.map(({ name }) => name));
  for (const member of theirs.values()) {
    const { name, bitOffset } = member;
    if (ourNames.has(name) || !isPadding(bitOffset, bitOffset + bitsOf(types, member))) continue;
    report(`${path}.${name}`, "undeclared", `BTF has it at ${at(member)}, and the layout has nothing there`);
  }
}

/** Whether any bit of a range is one that no member of the layout has. What is behind the layout's end is none. */
function paddingOf({ size }: Layout, placed: readonly Placed[]): (fromBit: number, toBit: number) => boolean {
  const isPadding = new Array<boolean>(size * 8).fill(true);
  for (const { bitOffset, bitSize } of placed) isPadding.fill(false, bitOffset, bitOffset + bitSize);
  return (fromBit, toBit) => isPadding.slice(fromBit, toBit).includes(true);
}

/** Ours, with the members of a nameless struct or union in its place, unless BTF knows the member by its name. */
function flatten(
  placed: readonly Placed[],
  theirs: ReadonlyMap<string, FlatMember>,
  base = 0,
): readonly Placed[] {
  return placed.flatMap((place) => {
    const inner = asRecord(memberLayout(place.member));
    const moved = { ...place, bitOffset: place.bitOffset + base };
    if (inner === undefined || inner.name !== "" || theirs.has(place.name)) return [moved];
    return flatten(inner.placement.placed, theirs, moved.bitOffset);
  });
}

function compareMember(
  { name, member, bitOffset, bitSize }: Placed,
  types: BtfTypes,
  theirMembers: ReadonlyMap<string, FlatMember>,
  path: string,
  report: Report,
): void {
  const theirs = theirMembers.get(name);
  if (theirs === undefined) {
    const hint = suggest(name, [...theirMembers.keys()]);
    report(path, "missing", `BTF has no member of this name${hint === undefined ? "" : `. ${hint}`}`);
    return;
  }
  if (theirs.bitOffset !== bitOffset) {
    const ours = at({ bitOffset, bitfieldSize: isBitField(member) ? bitSize : 0 });
    report(path, "offset", `it is at ${ours}, and BTF says ${at(theirs)}`);
  }
  const inner = asRecord(memberLayout(member));
  const type = types.type(resolve(types, theirs.type));
  if (inner !== undefined && (type.kind === "struct" || type.kind === "union")) {
    compareRecord(inner, types, theirs.type, path, report);
    return;
  }
  const theirBits = bitsOf(types, theirs);
  if (theirBits !== bitSize) {
    report(path, "size", `it has ${amount(bitSize)}, and BTF says ${amount(theirBits)}`);
    return;
  }
  compareInteger(member, types, theirs.type, path, report);
}

function compareInteger(member: Member, types: BtfTypes, id: BtfTypeId, path: string, report: Report): void {
  const layout = memberLayout(member);
  if (!("order" in layout) || !("signed" in layout)) return;
  const type = types.type(resolve(types, id));
  const isInteger = type.kind === "int" && (type.encoding === "signed" || type.encoding === "unsigned");
  // A char's sign is the compiler's choice.
  if (isInteger && type.name !== "char" && layout.kind !== "bool") {
    const theirs = type.encoding;
    const ours = layout.signed === true ? "signed" : "unsigned";
    if (ours !== theirs) report(path, "sign", `it is ${ours}, and BTF says ${theirs}`);
  }
  const order = wireOrder(types, id);
  if (order !== undefined && order !== layout.order) {
    report(path, "byteOrder", `it is in ${layout.order} byte order, and BTF says ${order}`);
  }
}

/** The byte order that a typedef's name tells: `__be16`, `__le32`. Kernel structs often have a plain integer instead. */
function wireOrder(types: BtfTypes, id: BtfTypeId): "big" | "little" | undefined {
  for (let at = id; at !== 0; ) {
    const type = types.type(at);
    if (type.kind === "typedef") {
      if (/^__be(16|32|64)$/.test(type.name)) return "big";
      if (/^__le(16|32|64)$/.test(type.name)) return "little";
    } else if (type.kind !== "const" && type.kind !== "volatile" && type.kind !== "typeTag") {
      return undefined;
    }
    at = type.type;
  }
  return undefined;
}

function asRecord(layout: Layout): StructLayout | UnionLayout | undefined {
  return layout.kind === "struct" || layout.kind === "union"
    ? (layout as StructLayout | UnionLayout)
    : undefined;
}

function bitsOf(types: BtfTypes, { type, bitfieldSize }: FlatMember): number {
  return bitfieldSize === 0 ? sizeOf(types, type) * 8 : bitfieldSize;
}

function at({ bitOffset, bitfieldSize }: { bitOffset: number; bitfieldSize: number }): string {
  return bitfieldSize === 0 ? `offset ${bitOffset / 8}` : `bit ${bitOffset}`;
}

function amount(bits: number): string {
  if (bits % 8 !== 0) return `${bits} bits`;
  return bits === 8 ? "1 byte" : `${bits / 8} bytes`;
}
