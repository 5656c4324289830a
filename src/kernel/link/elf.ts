import { TsbpfError } from "../../base/error.ts";

// A reader of ELF files that knows just enough for probes: where in the file a function begins. Both sizes, both byte
// orders. It reads what it needs and no more: an executable may have hundreds of megabytes.

/** Reads bytes of the file: exactly `length`, or fewer at its end. */
export type ReadAt = (offset: number, length: number) => Uint8Array;

/** A function of an executable or a library. */
export interface ElfFunction {
  /** Without its version: `malloc`, not `malloc@@GLIBC_2.2.5`. */
  readonly name: string;
  /** Bytes from the start of the file: what uprobes take. */
  readonly offset: number;
  /** Bytes of code; 0 where the file does not tell. */
  readonly size: number;
}

/**
 * Lists the functions that an ELF file defines, from its full symbol table where it has one, and else from that of the
 * dynamic linker. Functions that the dynamic linker chooses when it runs (`STT_GNU_IFUNC`) are left out.
 *
 * @throws TsbpfError where the file is no ELF file, or is damaged.
 */
export function* elfFunctions(read: ReadAt, what: string): Generator<ElfFunction> {
  const elf = readHeader(read, what);
  const segments = loadSegments(elf);
  for (const type of [SHT_SYMTAB, SHT_DYNSYM]) {
    for (const section of sections(elf))
      if (section.type === type) yield* functionsIn(elf, section, segments);
  }
}

const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const PT_LOAD = 1;
const SHN_UNDEF = 0;
/** More of anything than a real file has: what asks for more is damaged. */
const MAX_TABLE = 0x4000_0000;

interface Elf {
  readonly what: string;
  readonly read: ReadAt;
  readonly wide: boolean;
  readonly little: boolean;
  readonly sections: Table;
  readonly segments: Table;
}

interface Table {
  readonly offset: number;
  readonly count: number;
  readonly entrySize: number;
}

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  /** Of a symbol table: the index of the section with its names. */
  readonly link: number;
  readonly entrySize: number;
}

interface Segment {
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** Where the fields are: 64-bit files and 32-bit files have them in different places. */
const HEADER = {
  wide: { phoff: 32, shoff: 40, phentsize: 54, size: 64 },
  narrow: { phoff: 28, shoff: 32, phentsize: 42, size: 52 },
} as const;
const SECTION = {
  wide: { type: 4, offset: 24, length: 32, link: 40, entsize: 56, size: 64 },
  narrow: { type: 4, offset: 16, length: 20, link: 24, entsize: 36, size: 40 },
} as const;
const SEGMENT = {
  wide: { type: 0, offset: 8, vaddr: 16, filesz: 32, size: 56 },
  narrow: { type: 0, offset: 4, vaddr: 8, filesz: 16, size: 32 },
} as const;
const SYMBOL = {
  wide: { name: 0, info: 4, shndx: 6, value: 8, length: 16, size: 24 },
  narrow: { name: 0, info: 12, shndx: 14, value: 4, length: 8, size: 16 },
} as const;

function readHeader(read: ReadAt, what: string): Elf {
  const head = read(0, 64);
  const magic = head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46;
  if (!magic) throw new TsbpfError(`${what} is not an ELF file`);
  const wide = head[4] === 2;
  const little = head[5] === 1;
  const at = wide ? HEADER.wide : HEADER.narrow;
  if (head.length < at.size) throw damaged(what, "its header is cut off");
  const view = viewOf(head);
  const u16 = (offset: number): number => view.getUint16(offset, little);
  // e_phentsize, e_phnum, e_shentsize, e_shnum follow one another.
  const [phentsize, phnum, shentsize, shnum] = [0, 2, 4, 6].map((step) => u16(at.phentsize + step));
  const shoff = word(view, at.shoff, wide, little, what);
  const elf: Elf = {
    what,
    read,
    wide,
    little,
    segments: {
      offset: word(view, at.phoff, wide, little, what),
      count: phnum ?? 0,
      entrySize: phentsize ?? 0,
    },
    sections: { offset: shoff, count: shnum ?? 0, entrySize: shentsize ?? 0 },
  };
  if (shnum !== 0 || shoff === 0) return elf;
  // More sections than 16 bits count: their number is in the first one's size.
  const [first] = sections({ ...elf, sections: { ...elf.sections, count: 1 } });
  return { ...elf, sections: { ...elf.sections, count: first?.size ?? 0 } };
}

function sections(elf: Elf): Section[] {
  const at = elf.wide ? SECTION.wide : SECTION.narrow;
  return Array.from(entries(elf, elf.sections, at.size), (view) => ({
    type: view.getUint32(at.type, elf.little),
    offset: word(view, at.offset, elf.wide, elf.little, elf.what),
    size: word(view, at.length, elf.wide, elf.little, elf.what),
    link: view.getUint32(at.link, elf.little),
    entrySize: word(view, at.entsize, elf.wide, elf.little, elf.what),
  }));
}

function loadSegments(elf: Elf): Segment[] {
  const at = elf.wide ? SEGMENT.wide : SEGMENT.narrow;
  const segments = Array.from(entries(elf, elf.segments, at.size), (view) => ({
    type: view.getUint32(at.type, elf.little),
    offset: word(view, at.offset, elf.wide, elf.little, elf.what),
    address: word(view, at.vaddr, elf.wide, elf.little, elf.what),
    size: word(view, at.filesz, elf.wide, elf.little, elf.what),
  }));
  return segments.filter(({ type }) => type === PT_LOAD);
}

function* functionsIn(elf: Elf, table: Section, segments: readonly Segment[]): Generator<ElfFunction> {
  const at = elf.wide ? SYMBOL.wide : SYMBOL.narrow;
  const strings = sections(elf)[table.link];
  if (strings === undefined) throw damaged(elf.what, "a symbol table has no names");
  const names = bytesAt(elf, strings.offset, strings.size);
  const symbols = { offset: table.offset, count: Math.floor(table.size / at.size), entrySize: at.size };
  for (const view of entries(elf, symbols, at.size)) {
    const isFunction = (view.getUint8(at.info) & 0xf) === STT_FUNC;
    if (!isFunction || view.getUint16(at.shndx, elf.little) === SHN_UNDEF) continue;
    const address = word(view, at.value, elf.wide, elf.little, elf.what);
    const segment = segments.find((one) => address >= one.address && address < one.address + one.size);
    if (segment === undefined) continue;
    yield {
      name: nameAt(names, view.getUint32(at.name, elf.little)),
      offset: address - segment.address + segment.offset,
      size: word(view, at.length, elf.wide, elf.little, elf.what),
    };
  }
}

function* entries(elf: Elf, { offset, count, entrySize }: Table, least: number): Generator<DataView> {
  if (count === 0) return;
  if (entrySize < least) throw damaged(elf.what, `a table has entries of ${entrySize} bytes`);
  const bytes = bytesAt(elf, offset, count * entrySize);
  for (let i = 0; i < count; i++) yield viewOf(bytes.subarray(i * entrySize, (i + 1) * entrySize));
}

function bytesAt(elf: Elf, offset: number, length: number): Uint8Array {
  const bytes = length > MAX_TABLE ? new Uint8Array(0) : elf.read(offset, length);
  if (bytes.length === length) return bytes;
  throw damaged(elf.what, `${length} bytes at ${offset} are not there`);
}

function nameAt(names: Uint8Array, offset: number): string {
  const end = names.indexOf(0, offset);
  const name = new TextDecoder().decode(names.subarray(offset, end < 0 ? names.length : end));
  return name.replace(/@.*$/, "");
}

/** An address or offset, of 8 bytes or 4. */
function word(view: DataView, offset: number, wide: boolean, little: boolean, what: string): number {
  if (!wide) return view.getUint32(offset, little);
  const value = view.getBigUint64(offset, little);
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw damaged(what, `it has an offset of 0x${value.toString(16)}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(what: string, why: string): TsbpfError {
  return new TsbpfError(`${what} is a damaged ELF file: ${why}`);
}
