import { BTF_KIND_NAMES } from "./kind.ts";
import { kindNumber } from "./sections.ts";
import type { BtfTypeId } from "./type.ts";

/** What an index of names is made from. */
export interface NamedTypes {
  /** The BTF that the blob goes on from. */
  readonly base: { string(offset: number): string } | undefined;
  readonly strings: Uint8Array;
  /** Offset of the first of them: where the base's end. */
  readonly stringsStart: number;
  readonly words: Uint32Array;
  readonly starts: Uint32Array;
  readonly firstId: BtfTypeId;
}

/** A blob's own types by name. */
export interface NameIndex {
  /** Ids of the types whose name has these bytes; they rise. */
  find(name: Uint8Array): Iterable<BtfTypeId>;
}

/**
 * A chained hash table over the names' bytes, so that no name becomes a JavaScript string before someone asks for it.
 * Chains keep ids in rising order.
 */
export function indexNames(source: NamedTypes): NameIndex {
  const { words, starts, firstId } = source;
  const mask = 2 ** Math.ceil(Math.log2(Math.max(starts.length, 2))) - 1;
  const heads = new Int32Array(mask + 1).fill(-1);
  const next = new Int32Array(starts.length);
  for (let index = starts.length - 1; index >= 0; index--) {
    const start = starts[index] ?? 0;
    if (!NAMED_KINDS[kindNumber(words[start + 1] ?? 0)]) continue;
    const hash = hashName(source, words[start] ?? 0) & mask;
    next[index] = heads[hash] ?? -1;
    heads[hash] = index;
  }

  return {
    *find(name) {
      for (let index = heads[hashBytes(name, 0) & mask] ?? -1; index >= 0; index = next[index] ?? -1) {
        if (isName(source, words[starts[index] ?? 0] ?? 0, name)) yield firstId + index;
      }
    },
  };
}

function hashName({ base, strings, stringsStart }: NamedTypes, offset: number): number {
  // In a module's BTF a name may be one of the kernel's strings.
  if (offset < stringsStart) return hashBytes(new TextEncoder().encode(base?.string(offset)), 0);
  return hashBytes(strings, offset - stringsStart);
}

function isName({ base, strings, stringsStart }: NamedTypes, offset: number, name: Uint8Array): boolean {
  if (offset < stringsStart) return base?.string(offset) === new TextDecoder().decode(name);
  const start = offset - stringsStart;
  for (let index = 0; index < name.length; index++) {
    if (strings[start + index] !== name[index]) return false;
  }
  return strings[start + name.length] === 0;
}

/** FNV-1a of the bytes up to a NUL or the end. */
function hashBytes(bytes: Uint8Array, start: number): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0) break;
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash ^ (hash >>> 15);
}

const NAMED_KINDS: readonly boolean[] = BTF_KIND_NAMES.map(
  (kind) => kind !== undefined && kind !== "declTag" && kind !== "typeTag",
);
