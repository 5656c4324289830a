import { BTF_MAGIC, BTF_VERSION } from "../uapi/btf.ts";
import { BtfError } from "./error.ts";
import { BTF_HEADER_SIZE, BTF_KIND_NAMES, type BtfKind } from "./kind.ts";
import type { ByteOrder } from "./type.ts";

/** What a BTF blob consists of, checked: whatever is read from it later stays inside. */
export interface Sections {
  readonly byteOrder: ByteOrder;
  /** The type section, in this machine's byte order. */
  readonly words: Uint32Array;
  /** For each type the word that its record starts at. */
  readonly starts: Uint32Array;
  /** Where the type section starts in the blob, in bytes. */
  readonly typesStart: number;
  /** The string section; each string in it ends. */
  readonly strings: Uint8Array;
}

/**
 * Takes a blob apart.
 *
 * @param base - the BTF that it goes on from.
 * @throws BtfError where header, sections or records do not fit together.
 */
export function readSections(
  bytes: Uint8Array,
  base: { readonly byteOrder: ByteOrder } | undefined,
): Sections {
  const header = readHeader(bytes, base);
  const { byteOrder, types, strings } = header;
  const words = readWords(bytes, types, byteOrder);
  return {
    byteOrder,
    words,
    starts: indexRecords(words, header),
    typesStart: types.start,
    strings: bytes.subarray(strings.start, strings.end),
  };
}

/** The number of a type's kind, from the second word of its record. */
export const kindNumber = (info: number): number => (info >>> 24) & 0x7f;
/** How many members, values or parameters a type has, from the second word of its record. */
export const vlenOf = (info: number): number => info & 0xffffff;

interface Range {
  readonly start: number;
  readonly end: number;
}

interface Header {
  readonly byteOrder: ByteOrder;
  readonly types: Range;
  readonly strings: Range;
  /** Sizes of the records of kinds that we do not know, from the blob's own table. */
  readonly layout: readonly RecordLayout[];
}

/** Words after the 3 of `struct btf_type`. */
interface RecordLayout {
  readonly fixed: number;
  readonly perElement: number;
}

function readHeader(bytes: Uint8Array, base: { readonly byteOrder: ByteOrder } | undefined): Header {
  if (bytes.length < BTF_HEADER_SIZE) {
    throw new BtfError(`BTF of ${bytes.length} bytes is shorter than its header (${BTF_HEADER_SIZE})`, {
      offset: 0,
    });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const byteOrder = byteOrderOf(view);
  const little = byteOrder === "little";
  const word = (offset: number): number => view.getUint32(offset, little);
  const version = view.getUint8(2);
  if (version !== BTF_VERSION) {
    throw new BtfError(`BTF version ${version}: only ${BTF_VERSION} is known`, { offset: 2 });
  }
  if (base !== undefined && base.byteOrder !== byteOrder) {
    throw new BtfError(`BTF is ${byteOrder}-endian and its base ${base.byteOrder}-endian`, { offset: 0 });
  }
  const headerLength = word(4);
  if (headerLength < BTF_HEADER_SIZE || headerLength > bytes.length) {
    throw new BtfError(
      `BTF header of ${headerLength} bytes: it has at least ${BTF_HEADER_SIZE}, and the blob ${bytes.length}`,
      { offset: 4 },
    );
  }
  const section = (what: string, at: number): Range => {
    const start = headerLength + word(at);
    const end = start + word(at + 4);
    if (end > bytes.length) {
      throw new BtfError(`BTF ${what} section is at ${start}..${end}, the blob has ${bytes.length} bytes`, {
        offset: at,
      });
    }
    return { start, end };
  };
  const types = section("type", 8);
  const strings = section("string", 16);
  if ((types.start - headerLength) % 4 !== 0 || (types.end - types.start) % 4 !== 0) {
    throw new BtfError(`BTF type section at ${types.start}..${types.end} is no whole number of words`, {
      offset: 8,
    });
  }
  checkStrings(bytes, strings, base);
  const layout = headerLength >= 32 ? readLayout(bytes, section("layout", 24)) : [];
  return { byteOrder, types, strings, layout };
}

function byteOrderOf(view: DataView): ByteOrder {
  if (view.getUint16(0, true) === BTF_MAGIC) return "little";
  if (view.getUint16(0, false) === BTF_MAGIC) return "big";
  const magic = view.getUint16(0, true).toString(16).padStart(4, "0");
  throw new BtfError(`no BTF: it starts with 0x${magic}, not 0x${BTF_MAGIC.toString(16)}`, { offset: 0 });
}

// With a NUL at the end no string can run out of its section.
function checkStrings(bytes: Uint8Array, { start, end }: Range, base: object | undefined): void {
  if (start === end) {
    if (base !== undefined) return;
    throw new BtfError("BTF has no strings, not even the empty one", { offset: 20 });
  }
  if (base === undefined && bytes[start] !== 0) {
    throw new BtfError("BTF strings do not start with the empty one", { offset: start });
  }
  if (bytes[end - 1] !== 0) throw new BtfError("BTF strings do not end with a NUL", { offset: end - 1 });
}

/** `struct btf_layout { u8 info_sz, elem_sz; u16 flags; }` for each kind (headers of Linux 7.2). */
function readLayout(bytes: Uint8Array, { start, end }: Range): RecordLayout[] {
  const layout: RecordLayout[] = [];
  for (let at = start; at + 4 <= end; at += 4) {
    layout.push({ fixed: (bytes[at] ?? 0) / 4, perElement: (bytes[at + 1] ?? 0) / 4 });
  }
  return layout;
}

/** The section as words: a view of the bytes if they are aligned and in the host's order, else a copy. */
function readWords(bytes: Uint8Array, { start, end }: Range, byteOrder: ByteOrder): Uint32Array {
  const count = (end - start) / 4;
  if (byteOrder === HOST_ORDER) {
    if ((bytes.byteOffset + start) % 4 === 0) {
      return new Uint32Array(bytes.buffer, bytes.byteOffset + start, count);
    }
    return new Uint32Array(bytes.slice(start, end).buffer, 0, count);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
  const words = new Uint32Array(count);
  for (let index = 0; index < count; index++)
    words[index] = view.getUint32(index * 4, byteOrder === "little");
  return words;
}

const HOST_ORDER: ByteOrder = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? "little" : "big";

/** Finds where each record starts. One pass; each record moves it on by at least 3 words. */
function indexRecords(words: Uint32Array, { layout, types }: Header): Uint32Array {
  const starts = new Uint32Array(Math.ceil(words.length / 3));
  let count = 0;
  let at = 0;
  while (at < words.length) {
    if (at + 3 > words.length) {
      throw new BtfError("BTF type section ends within a type", { offset: types.start + at * 4 });
    }
    const info = words[at + 1] ?? 0;
    const kind = kindNumber(info);
    const fixed = FIXED_WORDS[kind] ?? layout[kind]?.fixed;
    const perElement = ELEMENT_WORDS[kind] ?? layout[kind]?.perElement;
    if (fixed === undefined || perElement === undefined || kind === 0) {
      throw new BtfError(`BTF type of unknown kind ${kind}, and no table that tells its size`, {
        offset: types.start + at * 4 + 4,
      });
    }
    const size = 3 + fixed + perElement * vlenOf(info);
    if (!Number.isInteger(size) || at + size > words.length) {
      throw new BtfError(
        `BTF ${BTF_KIND_NAMES[kind] ?? "type"} of ${size * 4} bytes does not fit the ${(words.length - at) * 4} left`,
        { offset: types.start + at * 4 },
      );
    }
    starts[count++] = at;
    at += size;
  }
  return starts.slice(0, count);
}

const FIXED_WORDS: readonly number[] = recordWords({ int: 1, array: 3, var: 1, declTag: 1 });
const ELEMENT_WORDS: readonly number[] = recordWords({
  struct: 3,
  union: 3,
  enum: 2,
  enum64: 3,
  funcProto: 2,
  datasec: 3,
});

function recordWords(words: Partial<Record<BtfKind, number>>): number[] {
  return BTF_KIND_NAMES.map((name) => (name === undefined ? 0 : (words[name] ?? 0)));
}
