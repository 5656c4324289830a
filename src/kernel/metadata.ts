import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { createBtfBuilder } from "../btf/builder.ts";
import type { Btf } from "../btf/decode.ts";
import { mapCreate, mapFreeze, mapLookupElem, mapUpdateElem } from "../syscall/bpf-map.ts";
import { mapGetFdById } from "../syscall/bpf-object.ts";
import { progBindMap } from "../syscall/bpf-prog.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { BPF_F_RDONLY_PROG, BPF_MAP_TYPE_ARRAY } from "../uapi/bpf.ts";
import { loadBtf } from "./btf-load.ts";
import { readBtfById } from "./btf-read.ts";
import { withMemlock } from "./memlock.ts";
import { readMapInfo } from "./object-info.ts";
import { explainPermission } from "./privileges.ts";

// Programs carry facts about themselves in a frozen one-entry array map that is bound to them, by the convention of libbpf
// and bpftool: the map's name holds ".rodata", its value is a data section, and each variable is named bpf_metadata_*. So
// `bpftool prog show` prints them, and they are found from the program alone: without a pin, in any mount namespace.

/** Facts about a program: texts without NUL, and unsigned 32-bit numbers. The names are C identifiers. */
export type Metadata = Readonly<Record<string, string | number>>;

/** A metadata map: bind it to the programs that it describes, then close it. */
export interface MetadataMap extends Disposable {
  /** Id of the map, the same in every program that it is bound to. */
  readonly id: number;
  /** Makes a program carry it (kernel 5.10). */
  bind(program: { readonly fd: number; readonly name: string }): void;
}

const PREFIX = "bpf_metadata_";

/**
 * Creates a metadata map.
 *
 * @param name - begins the map's name; at most 8 characters.
 * @throws SyscallError where the kernel knows no data sections (before 5.2).
 */
export function createMetadata(given: Syscalls, name: string, metadata: Metadata): MetadataMap {
  const sys = withMemlock(given);
  const { btf: blob, section, value } = encodeSection(metadata);
  const loaded = loadBtf(sys, blob, `metadata '${name}'`);
  if (!(loaded instanceof Fd)) throw loaded; // the names of the facts are in the BTF: there is no metadata without it
  using btf = loaded;
  const fd = Fd.own(
    sys,
    explainPermission(["CAP_BPF"], () =>
      mapCreate(sys, {
        map_type: BPF_MAP_TYPE_ARRAY,
        map_name: `${name}.rodata`,
        key_size: 4,
        value_size: value.length,
        max_entries: 1,
        map_flags: BPF_F_RDONLY_PROG,
        btf_fd: btf.number,
        btf_value_type_id: section,
      }),
    ),
    `metadata '${name}'`,
  );
  try {
    mapUpdateElem(sys, fd.number, new Uint8Array(4), value);
    mapFreeze(sys, fd.number);
    return {
      id: readMapInfo(sys, fd.number).id,
      bind: (program) => progBindMap(sys, { prog_fd: program.fd, map_fd: fd.number }),
      [Symbol.dispose]: () => fd.close(),
    };
  } catch (error) {
    fd.close();
    throw error;
  }
}

/**
 * Reads the metadata in a map, or gives `undefined` where it is not a metadata map (any more). Needs CAP_SYS_ADMIN.
 */
export function readMetadata(sys: Syscalls, mapId: number): Metadata | undefined {
  const number = mapGetFdById(sys, mapId);
  if (number === undefined) return undefined;
  using map = Fd.own(sys, number, `map ${mapId}`);
  const info = readMapInfo(sys, map.number);
  const isData = info.type === BPF_MAP_TYPE_ARRAY && info.maxEntries === 1 && info.name.includes(".rodata");
  if (!isData || info.btfId === 0) return undefined;
  const value = new Uint8Array(info.valueSize);
  if (!mapLookupElem(sys, map.number, new Uint8Array(4), value)) return undefined;
  const btf = readBtfById(sys, info.btfId);
  return btf === undefined ? undefined : decodeSection(btf, info.btfValueTypeId, value);
}

/** A data section: its BTF, its type's id there, and its bytes. */
interface Section {
  readonly btf: Uint8Array;
  readonly section: number;
  readonly value: Uint8Array;
}

function encodeSection(metadata: Metadata): Section {
  const builder = createBtfBuilder({ byteOrder: LITTLE_ENDIAN ? "little" : "big" });
  const u32 = builder.int("unsigned int", 4, "unsigned");
  const char = builder.int("char", 1, "char");
  const entries: { type: number; offset: number; size: number }[] = [];
  const bytes: number[] = [];
  for (const [name, fact] of Object.entries(metadata)) {
    while (bytes.length % 4 !== 0) bytes.push(0);
    const encoded = typeof fact === "number" ? encodeU32(name, fact) : encodeText(name, fact);
    const type = typeof fact === "number" ? u32 : builder.array(char, encoded.length);
    entries.push({
      type: builder.var(`${PREFIX}${name}`, type, "global"),
      offset: bytes.length,
      size: encoded.length,
    });
    bytes.push(...encoded);
  }
  const section = builder.datasec(".rodata", bytes.length, entries);
  return { btf: builder.encode(), section, value: Uint8Array.from(bytes) };
}

function encodeText(name: string, text: string): readonly number[] {
  if (text.includes("\0")) throw new TsbpfError(`metadata '${name}': its text contains a NUL character`);
  return [...new TextEncoder().encode(text), 0];
}

function encodeU32(name: string, value: number): readonly number[] {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new TsbpfError(`metadata '${name}': ${value} is not an unsigned 32-bit number`);
  }
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, LITTLE_ENDIAN);
  return [...bytes];
}

/** Reads the facts by the section's own description, so that a version that writes others can still be read. */
function decodeSection(btf: Btf, section: number, value: Uint8Array): Metadata | undefined {
  const datasec = btf.type(section);
  if (datasec.kind !== "datasec") return undefined;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const facts: Record<string, string | number> = {};
  for (const { type, offset, size } of datasec.entries) {
    const variable = btf.type(type);
    if (variable.kind !== "var" || !variable.name.startsWith(PREFIX) || offset + size > value.length)
      continue;
    const of = btf.type(variable.type);
    const name = variable.name.slice(PREFIX.length);
    if (of.kind === "int" && size === 4) facts[name] = view.getUint32(offset, LITTLE_ENDIAN);
    if (of.kind === "array") {
      facts[name] = new TextDecoder().decode(value.subarray(offset, offset + size)).replace(/\0.*$/s, "");
    }
  }
  return Object.keys(facts).length === 0 ? undefined : facts;
}
