import { INT_ENCODING, LINKAGE } from "./encode.ts";
import { BtfError } from "./error.ts";
import { BTF_KIND_NAMES, type BtfKind, KSYM_NAME_LEN } from "./kind.ts";
import { indexNames, type NamedTypes, type NameIndex } from "./name-index.ts";
import { kindNumber, readSections, vlenOf } from "./sections.ts";
import {
  type BtfDatasecEntry,
  type BtfEnum64Value,
  type BtfEnumValue,
  type BtfIntEncoding,
  type BtfLinkage,
  type BtfMember,
  type BtfParam,
  type BtfType,
  type BtfTypeId,
  type BtfTypes,
  type BtfVoid,
  type ByteOrder,
  VOID,
} from "./type.ts";

/**
 * A BTF blob, read on demand: decoding finds where each type starts and no more; a type, a name or the index of names
 * is made when it is first asked for. In split BTF (a kernel module's) the ids and strings of the base come first, and
 * every question is answered for both.
 */
export interface Btf extends BtfTypes {
  /** The BTF that this one goes on from. */
  readonly base: Btf | undefined;
  /** First id of this blob itself: 1, or the base's `typeCount`. */
  readonly firstId: BtfTypeId;
  /** Bytes of strings, those of the base included. */
  readonly stringsLength: number;
  /** The kind of a type, without decoding it; `"unknown"` for one that came after this version of tsbpf. */
  kind(id: BtfTypeId): BtfKind | "void" | "unknown";
  /** The name of a type (of a tag, its value), without decoding the rest; empty if it has none. */
  name(id: BtfTypeId): string;
  /** The string at an offset; throws `BtfError` if it is outside the strings. */
  string(offset: number): string;
  /** Every type of that name, and of that kind if one is given; ids rise. Tags have no names. */
  ids(name: string, kind?: BtfKind): BtfTypeId[];
}

/** How to decode. */
export interface DecodeOptions {
  /** The BTF that this blob goes on from: the kernel's, for a module's. */
  readonly base?: Btf;
}

/**
 * Reads a BTF blob of either byte order: `/sys/kernel/btf/vmlinux`, a module's, what `BPF_OBJ_GET_INFO_BY_FD` gives.
 * The bytes are not copied: do not change them afterwards.
 *
 * Any bytes are safe to pass. Time and memory are bounded by the length of the blob.
 *
 * @throws BtfError saying what is wrong at which offset: here, if header or records do not fit together; when a type
 * is asked for, if that type refers to what does not exist.
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * const btf = decodeBtf(readFileSync("/sys/kernel/btf/vmlinux"));
 * const [id] = btf.ids("task_struct", "struct");
 * ```
 */
export function decodeBtf(bytes: Uint8Array, { base }: DecodeOptions = {}): Btf {
  const { byteOrder, words, starts, typesStart, strings } = readSections(bytes, base);
  const source: Source = {
    strings,
    text: createTextReader(strings),
    stringsStart: base?.stringsLength ?? 0,
    words,
    starts,
    typesStart,
    firstId: base?.typeCount ?? 1,
    typeCount: (base?.typeCount ?? 1) + starts.length,
    base,
  };
  return createBtf(source, byteOrder);
}

function createBtf(source: Source, byteOrder: ByteOrder): Btf {
  const { base, firstId, typeCount, words, starts } = source;
  const decoded = new Array<BtfType | undefined>(starts.length);
  let names: NameIndex | undefined;
  let pointerSize: number | undefined;

  const startOf = (id: BtfTypeId): number => {
    const start = starts[id - firstId];
    if (start === undefined)
      throw new BtfError(`no type has the id ${id}: there are ${typeCount}`, { typeId: id });
    return start;
  };
  const kindAt = (start: number): BtfKind | undefined => BTF_KIND_NAMES[kindNumber(words[start + 1] ?? 0)];

  const btf: Btf = {
    base,
    firstId,
    typeCount,
    byteOrder,
    stringsLength: source.stringsStart + source.strings.length,
    get pointerSize() {
      pointerSize ??= base?.pointerSize ?? longSize(btf) ?? 8;
      return pointerSize;
    },
    type(id) {
      if (id === VOID) return VOID_TYPE;
      if (base !== undefined && id < firstId) return base.type(id);
      const known = decoded[id - firstId];
      if (known !== undefined) return known;
      const type = decodeType(source, id, startOf(id));
      decoded[id - firstId] = type;
      return type;
    },
    kind(id) {
      if (id === VOID) return "void";
      if (base !== undefined && id < firstId) return base.kind(id);
      return kindAt(startOf(id)) ?? "unknown";
    },
    name(id) {
      if (id === VOID) return "";
      if (base !== undefined && id < firstId) return base.name(id);
      const start = startOf(id);
      return readString(source, words[start] ?? 0, start);
    },
    string: (offset) => readString(source, offset),
    ids(name, kind) {
      const found = base?.ids(name, kind) ?? [];
      if (name === "") return found;
      names ??= indexNames(source);
      for (const id of names.find(new TextEncoder().encode(name))) {
        if (kind === undefined || kindAt(startOf(id)) === kind) found.push(id);
      }
      return found;
    },
  };
  return btf;
}

const VOID_TYPE: BtfVoid = { kind: "void" };

/** What the functions below read from. */
interface Source extends NamedTypes {
  readonly base: Btf | undefined;
  /** The string at an offset of {@link strings}. */
  readonly text: (start: number) => string;
  /** Where the type section starts in the blob, for messages. */
  readonly typesStart: number;
  readonly typeCount: number;
}

/** @param word the word that refers to the string, for messages */
function readString(source: Source, offset: number, word?: number): string {
  const { base, strings, stringsStart } = source;
  if (base !== undefined && offset < stringsStart) return base.string(offset);
  const start = offset - stringsStart;
  if (!Number.isInteger(start) || start < 0 || start >= strings.length) {
    throw new BtfError(
      `BTF string ${offset} is beyond the ${stringsStart + strings.length} bytes of strings`,
      {
        offset: word === undefined ? undefined : source.typesStart + word * 4,
      },
    );
  }
  return source.text(start);
}

/**
 * Gives the string that starts at an offset of the section.
 *
 * Decoding the section whole and cutting strings out of it is ten times faster than decoding them one by one, and
 * offsets are the same as long as each byte gives one character. A section that is not ASCII is read string by string.
 */
function createTextReader(section: Uint8Array): (start: number) => string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let whole: string | undefined;
  return (start) => {
    whole ??= decoder.decode(section);
    if (whole.length === section.length) return whole.slice(start, whole.indexOf("\0", start));
    return decoder.decode(section.subarray(start, section.indexOf(0, start)));
  };
}

/**
 * Decodes the record that starts at word `at`. No closures here: this runs for every member of every type, and
 * transpilers that keep function names make each closure dear.
 */
function decodeType(source: Source, id: BtfTypeId, at: number): BtfType {
  const { words } = source;
  const info = words[at + 1] ?? 0;
  const sizeOrType = words[at + 2] ?? 0;
  const vlen = vlenOf(info);
  const kindFlag = info >>> 31 === 1;
  const kind = BTF_KIND_NAMES[kindNumber(info)];
  const body = at + 3;
  switch (kind) {
    case "int": {
      const data = words[body] ?? 0;
      const encoding = INT_ENCODINGS[(data >>> 24) & 0xf];
      if (encoding === undefined) fail(source, id, body, `unknown int encoding ${(data >>> 24) & 0xf}`);
      const [bits, bitOffset] = [data & 0xff, (data >>> 16) & 0xff];
      return { kind, name: nameAt(source, id, at), size: sizeOrType, encoding, bits, bitOffset };
    }
    case "ptr":
    case "volatile":
    case "const":
    case "restrict":
      return { kind, type: ref(source, id, at + 2) };
    case "typedef":
      return { kind, name: nameAt(source, id, at), type: ref(source, id, at + 2) };
    case "array":
      return {
        kind,
        type: ref(source, id, body),
        indexType: ref(source, id, body + 1),
        length: words[body + 2] ?? 0,
      };
    case "struct":
    case "union": {
      const members: BtfMember[] = [];
      for (let m = body; m < body + vlen * 3; m += 3) {
        const offset = words[m + 2] ?? 0;
        members.push({
          name: nameAt(source, id, m),
          type: ref(source, id, m + 1),
          bitOffset: kindFlag ? offset & 0xffffff : offset,
          bitfieldSize: kindFlag ? offset >>> 24 : 0,
        });
      }
      return { kind, name: nameAt(source, id, at), size: sizeOrType, members };
    }
    case "enum": {
      const values: BtfEnumValue[] = [];
      for (let v = body; v < body + vlen * 2; v += 2) {
        const value = words[v + 1] ?? 0;
        values.push({ name: nameAt(source, id, v), value: kindFlag ? value | 0 : value });
      }
      return { kind, name: nameAt(source, id, at), size: sizeOrType, signed: kindFlag, values };
    }
    case "enum64": {
      const values: BtfEnum64Value[] = [];
      for (let v = body; v < body + vlen * 3; v += 3) {
        const value = (BigInt(words[v + 2] ?? 0) << 32n) | BigInt(words[v + 1] ?? 0);
        values.push({ name: nameAt(source, id, v), value: kindFlag ? BigInt.asIntN(64, value) : value });
      }
      return { kind, name: nameAt(source, id, at), size: sizeOrType, signed: kindFlag, values };
    }
    case "fwd":
      return { kind, name: nameAt(source, id, at), of: kindFlag ? "union" : "struct" };
    case "func":
      return {
        kind,
        name: nameAt(source, id, at),
        type: ref(source, id, at + 2),
        linkage: LINKAGES[vlen] ?? fail(source, id, at + 1, `unknown linkage ${vlen}`),
      };
    case "funcProto": {
      const last = body + (vlen - 1) * 2;
      const variadic = vlen > 0 && words[last] === 0 && words[last + 1] === VOID;
      const params: BtfParam[] = [];
      for (let p = body; p < (variadic ? last : last + 2); p += 2) {
        params.push({ name: nameAt(source, id, p), type: ref(source, id, p + 1) });
      }
      return { kind, type: ref(source, id, at + 2), params, variadic };
    }
    case "var": {
      const linkage = LINKAGES[words[body] ?? 0];
      if (linkage === undefined) fail(source, id, body, `unknown linkage ${words[body]}`);
      return { kind, name: nameAt(source, id, at), type: ref(source, id, at + 2), linkage };
    }
    case "datasec": {
      const entries: BtfDatasecEntry[] = [];
      for (let e = body; e < body + vlen * 3; e += 3) {
        entries.push({ type: ref(source, id, e), offset: words[e + 1] ?? 0, size: words[e + 2] ?? 0 });
      }
      return { kind, name: nameAt(source, id, at), size: sizeOrType, entries };
    }
    case "float":
      return { kind, name: nameAt(source, id, at), size: sizeOrType };
    case "declTag": {
      const component = (words[body] ?? 0) | 0;
      return { kind, value: text(source, at), type: ref(source, id, at + 2), component, attribute: kindFlag };
    }
    case "typeTag":
      return { kind, value: text(source, at), type: ref(source, id, at + 2), attribute: kindFlag };
    case undefined:
      return fail(source, id, at + 1, `kind ${kindNumber(info)} came after this version of tsbpf`);
  }
}

function text(source: Source, word: number): string {
  const offset = source.words[word] ?? 0;
  return offset === 0 ? "" : readString(source, offset, word);
}

/** A name: the kernel takes none longer, and a blob of a megabyte can give one of a megabyte to every member. */
function nameAt(source: Source, id: BtfTypeId, word: number): string {
  const name = text(source, word);
  if (name.length >= KSYM_NAME_LEN) {
    fail(source, id, word, `name of ${name.length} characters, the kernel takes ${KSYM_NAME_LEN - 1}`);
  }
  return name;
}

function ref(source: Source, id: BtfTypeId, word: number): BtfTypeId {
  const to = source.words[word] ?? 0;
  if (to >= source.typeCount) fail(source, id, word, `refers to type ${to}, there are ${source.typeCount}`);
  return to;
}

function fail(source: Source, id: BtfTypeId, word: number, what: string): never {
  throw new BtfError(`BTF type ${id}: ${what}`, { offset: source.typesStart + word * 4, typeId: id });
}

const INT_ENCODINGS: readonly (BtfIntEncoding | undefined)[] = byNumber(INT_ENCODING);
const LINKAGES: readonly (BtfLinkage | undefined)[] = byNumber(LINKAGE);

function byNumber<Name extends string>(numbers: Readonly<Record<Name, number>>): (Name | undefined)[] {
  const names: (Name | undefined)[] = [];
  for (const [name, number] of Object.entries(numbers) as [Name, number][]) names[number] = name;
  return names;
}

/** What the size of a pointer is told by, as in libbpf: the kernel's `long` is as wide as its pointers. */
function longSize(btf: Btf): number | undefined {
  for (const name of ["long int", "long", "long unsigned int", "unsigned long"]) {
    for (const id of btf.ids(name, "int")) {
      const type = btf.type(id);
      if (type.kind === "int" && (type.size === 4 || type.size === 8)) return type.size;
    }
  }
  return undefined;
}
