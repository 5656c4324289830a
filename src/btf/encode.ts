import { BTF_MAGIC, BTF_MAX_NAME_OFFSET, BTF_VERSION } from "../uapi/btf.ts";
import { BtfError } from "./error.ts";
import { BTF_HEADER_SIZE, BTF_KIND, BTF_MAX_SIZE, BTF_PORTABLE_MAX_VLEN, type BtfKind } from "./kind.ts";
import type { BtfIntEncoding, BtfLinkage, BtfMember, BtfType, ByteOrder } from "./type.ts";

/**
 * The record of one type: `struct btf_type` and what follows it. Every field of every kind is a `u32`, so a record is
 * a list of words, whatever the byte order.
 *
 * @param stringOffset gives the offset of a string in the string section; the empty string is at 0.
 * @throws BtfError if a value does not fit its field.
 */
export function encodeType(type: BtfType, stringOffset: (text: string) => number): number[] {
  switch (type.kind) {
    case "int": {
      const { name, size, encoding, bits, bitOffset } = type;
      const data =
        (INT_ENCODING[encoding] << 24) | (field(bitOffset, 8, "bit offset") << 16) | field(bits, 8, "bits");
      return [stringOffset(name), info("int"), field(size, 32, "size"), data >>> 0];
    }
    case "ptr":
    case "volatile":
    case "const":
    case "restrict":
      return [0, info(type.kind), type.type];
    case "typedef":
      return [stringOffset(type.name), info("typedef"), type.type];
    case "array":
      return [0, info("array"), 0, type.type, type.indexType, field(type.length, 32, "length")];
    case "struct":
    case "union": {
      const { name, size, members } = type;
      const hasBitfields = members.some((member) => member.bitfieldSize > 0);
      const words = [
        stringOffset(name),
        info(type.kind, members.length, hasBitfields),
        field(size, 32, "size"),
      ];
      for (const member of members) {
        words.push(stringOffset(member.name), member.type, memberOffset(member, hasBitfields));
      }
      return words;
    }
    case "enum": {
      const { name, size, signed, values } = type;
      const words = [stringOffset(name), info("enum", values.length, signed), field(size, 32, "size")];
      for (const { name, value } of values) words.push(stringOffset(name), enumWord(name, value, signed));
      return words;
    }
    case "enum64": {
      const { name, size, signed, values } = type;
      const words = [stringOffset(name), info("enum64", values.length, signed), field(size, 32, "size")];
      for (const { name, value } of values)
        words.push(stringOffset(name), ...enum64Words(name, value, signed));
      return words;
    }
    case "fwd":
      return [stringOffset(type.name), info("fwd", 0, type.of === "union"), 0];
    case "func":
      return [stringOffset(type.name), info("func", LINKAGE[type.linkage]), type.type];
    case "funcProto": {
      const { params, variadic } = type;
      const words = [0, info("funcProto", params.length + (variadic ? 1 : 0)), type.type];
      for (const param of params) words.push(stringOffset(param.name), param.type);
      if (variadic) words.push(0, 0);
      return words;
    }
    case "var":
      return [stringOffset(type.name), info("var"), type.type, LINKAGE[type.linkage]];
    case "datasec": {
      const { name, size, entries } = type;
      const words = [stringOffset(name), info("datasec", entries.length), field(size, 32, "size")];
      for (const entry of entries) {
        words.push(entry.type, field(entry.offset, 32, "offset"), field(entry.size, 32, "size"));
      }
      return words;
    }
    case "float":
      return [stringOffset(type.name), info("float"), field(type.size, 32, "size")];
    case "declTag":
      return [
        stringOffset(type.value),
        info("declTag", 0, type.attribute),
        type.type,
        type.component >>> 0, // -1 is the declaration itself
      ];
    case "typeTag":
      return [stringOffset(type.value), info("typeTag", 0, type.attribute), type.type];
  }
}

/**
 * A whole blob: header, then types, then strings.
 *
 * @param records the types' words, in the order of their ids
 * @param strings the string section, starting with a NUL
 * @throws BtfError if the result is larger than the kernel takes (16 MiB).
 */
export function encodeBlob(
  records: readonly (readonly number[])[],
  strings: Uint8Array,
  order: ByteOrder,
): Uint8Array {
  const typeLength = 4 * records.reduce((sum, words) => sum + words.length, 0);
  const size = BTF_HEADER_SIZE + typeLength + strings.length;
  if (size > BTF_MAX_SIZE) {
    throw new BtfError(`BTF of ${size} bytes is larger than the ${BTF_MAX_SIZE} that the kernel takes`);
  }
  const little = order === "little";
  const blob = new Uint8Array(size);
  const view = new DataView(blob.buffer);
  view.setUint16(0, BTF_MAGIC, little);
  view.setUint8(2, BTF_VERSION);
  let at = 4;
  const put = (word: number): void => {
    view.setUint32(at, word, little);
    at += 4;
  };
  for (const word of [BTF_HEADER_SIZE, 0, typeLength, typeLength, strings.length]) put(word);
  for (const words of records) for (const word of words) put(word);
  blob.set(strings, at);
  return blob;
}

/** Numbers of `BTF_INT_*`. */
export const INT_ENCODING: Readonly<Record<BtfIntEncoding, number>> = {
  unsigned: 0,
  signed: 1,
  char: 2,
  bool: 4,
};

/** Numbers of `BTF_FUNC_*` and `BTF_VAR_*`. */
export const LINKAGE: Readonly<Record<BtfLinkage, number>> = { static: 0, global: 1, extern: 2 };

function info(kind: BtfKind, vlen = 0, kindFlag = false): number {
  if (vlen > BTF_PORTABLE_MAX_VLEN) {
    throw new BtfError(`${kind} with ${vlen} elements: BTF has room for ${BTF_PORTABLE_MAX_VLEN}`);
  }
  return ((kindFlag ? 1 << 31 : 0) | (BTF_KIND[kind] << 24) | vlen) >>> 0;
}

function memberOffset({ name, bitOffset, bitfieldSize }: BtfMember, hasBitfields: boolean): number {
  const what = (part: string): string => `${part} of member '${name}'`;
  if (!hasBitfields) return field(bitOffset, 32, what("bit offset"));
  return (
    ((field(bitfieldSize, 8, what("bitfield size")) << 24) |
      field(bitOffset, 24, what("bit offset in a struct with bitfields"))) >>>
    0
  );
}

function enumWord(name: string, value: number, signed: boolean): number {
  const fits = signed ? value === (value | 0) : value === value >>> 0;
  if (!fits)
    throw new BtfError(`enum value ${name} = ${value} is no ${signed ? "signed" : "unsigned"} 32-bit number`);
  return value >>> 0;
}

function enum64Words(name: string, value: bigint, signed: boolean): [low: number, high: number] {
  const fits = value === (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value));
  if (!fits)
    throw new BtfError(`enum value ${name} = ${value} is no ${signed ? "signed" : "unsigned"} 64-bit number`);
  return [Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n))];
}

function field(value: number, bits: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
    throw new BtfError(`${what} ${value} is no whole number of ${bits} bits`);
  }
  return value;
}

/** A growing string section that holds each string once. */
export interface StringTable {
  /** Where the string is, adding it if it is new. Throws `BtfError` for a NUL in it, or when the section is full. */
  offset(text: string): number;
  /** The section: a NUL, then every string with its NUL, in UTF-8. */
  bytes(): Uint8Array;
}

/** An empty string section; in split BTF its offsets go on from `start`, where the base's section ends. */
export function createStringTable(start = 0): StringTable {
  const encoder = new TextEncoder();
  const chunks: Uint8Array[] = [];
  const offsets = new Map<string, number>([["", 0]]);
  // In split BTF offset 0 is the base's empty string; the section of its own needs none.
  let length = start === 0 ? 1 : 0;
  return {
    offset(text) {
      const known = offsets.get(text);
      if (known !== undefined) return known;
      if (text.includes("\0")) throw new BtfError(`BTF string ${JSON.stringify(text)} has a NUL in it`);
      const bytes = encoder.encode(text);
      const offset = start + length;
      if (offset > BTF_MAX_NAME_OFFSET) throw new BtfError("BTF string section is full (16 MiB)");
      offsets.set(text, offset);
      chunks.push(bytes);
      length += bytes.length + 1;
      return offset;
    },
    bytes() {
      const section = new Uint8Array(length);
      let at = start === 0 ? 1 : 0;
      for (const chunk of chunks) {
        section.set(chunk, at);
        at += chunk.length + 1;
      }
      return section;
    },
  };
}
