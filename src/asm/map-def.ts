import type { Infer, Layout } from "../btf/layout/index.ts";
import { BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, type bpf_map_type } from "../uapi/bpf.ts";
import { AssembleError } from "./errors.ts";
import { checkRange } from "./insn.ts";

/** Name of a map type: that of the kernel, in lower case without `BPF_MAP_TYPE_`. */
export type MapTypeName = keyof typeof bpf_map_type extends `BPF_MAP_TYPE_${infer Name}`
  ? Lowercase<Name>
  : never;

/**
 * The description of a map: plain data, with no kernel object behind it. A program refers to a map by its definition
 * (`lddw(r1, mapFd(cpus))`); the loader puts the fd of the map that was created from it in its place.
 */
export interface MapDef<
  Type extends MapTypeName = MapTypeName,
  Key = unknown,
  Value = unknown,
  Inner = unknown,
> {
  readonly kind: "map";
  /** At most 15 characters of `[A-Za-z0-9_.]`, as the kernel asks. */
  readonly name: string;
  readonly type: Type;
  /** Layout of a key; none for maps without keys (queues, ring buffers). */
  readonly key: Layout<Key> | undefined;
  /** Layout of a value (of one CPU's value in a per-CPU map); none for maps without values (ring buffers). */
  readonly value: Layout<Value> | undefined;
  readonly maxEntries: number;
  /** `BPF_F_*` flags of map creation. */
  readonly flags: number;
  /** The definition of the maps in a map of maps; `undefined` for other types. */
  readonly inner: Inner;
  /** The kernel's `map_extra`: hash functions of a Bloom filter, address of an arena; `undefined` for 0. */
  readonly extra: number | bigint | undefined;
  /** Global data is a section of variables, and not one value: the section's name. */
  readonly section?: DataSection;
}

/** A section of global data, as compilers name them. */
export type DataSection = ".rodata" | ".data" | ".bss";

/** A {@link MapDef} that also knows the layouts themselves, for programs that go through the members of keys and values. */
export type TypedMapDef<
  Type extends MapTypeName = MapTypeName,
  Key extends Layout = Layout,
  Value extends Layout = Layout,
  Inner = unknown,
> = Omit<MapDef<Type, Infer<Key>, Infer<Value>, Inner>, "key" | "value"> & {
  readonly key: [Key] extends [never] ? Layout<never> | undefined : Key;
  readonly value: [Value] extends [never] ? Layout<never> | undefined : Value;
};

/** What {@link mapDef} takes. */
export interface MapDefOptions<
  Type extends MapTypeName,
  Key extends Layout,
  Value extends Layout,
  Inner = undefined,
> {
  readonly name: string;
  readonly type: Type;
  readonly key?: Key;
  readonly value?: Value;
  /** Entries at most; bytes of a ring buffer, pages of an arena, 0 of local storage and of cgroup storage. */
  readonly maxEntries: number;
  /**
   * Default none. Those without which the kernel makes no map of the type are added: `BPF_F_NO_PREALLOC` for an LPM trie and
   * for local storage, `BPF_F_MMAPABLE` for an arena.
   */
  readonly flags?: number;
  /** For a map of maps: what the maps in it look like. */
  readonly inner?: Inner;
  /** `map_extra` (kernel 5.16): of a Bloom filter the number of hash functions, 1 to 15; of an arena its address. */
  readonly extra?: number | bigint;
}

/**
 * Describes a map.
 *
 * @throws AssembleError when the name or the number of entries is not one that the kernel can take.
 * @example
 * ```ts
 * const hits = mapDef({ name: "hits", type: "percpu_array", key: u32, value: u64, maxEntries: 1 });
 * ```
 */
export function mapDef<
  const Type extends MapTypeName,
  Key extends Layout = never,
  Value extends Layout = never,
  Inner extends MapDef | undefined = undefined,
>(options: MapDefOptions<Type, Key, Value, Inner>): TypedMapDef<Type, NoInfer<Key>, NoInfer<Value>, Inner> {
  const { name, type, key, value, maxEntries, inner, extra } = options;
  checkObjectName("map", name);
  checkRange(`maxEntries of map '${name}'`, maxEntries, 0, 0xffff_ffff);
  checkRange(`flags of map '${name}'`, options.flags ?? 0, 0, 0xffff_ffff);
  checkInner(name, type, inner);
  const flags = ((options.flags ?? 0) | (NEEDED_FLAGS[type] ?? 0)) >>> 0;
  const def: MapDef = { kind: "map", name, type, key, value, maxEntries, flags, inner, extra };
  return Object.freeze(def) as TypedMapDef<Type, Key, Value, Inner>;
}

/** Flags without which the kernel makes no map of a type. */
const NEEDED_FLAGS: { readonly [Type in MapTypeName]?: number } = {
  lpm_trie: BPF_F_NO_PREALLOC,
  sk_storage: BPF_F_NO_PREALLOC,
  inode_storage: BPF_F_NO_PREALLOC,
  task_storage: BPF_F_NO_PREALLOC,
  cgrp_storage: BPF_F_NO_PREALLOC,
  arena: BPF_F_MMAPABLE,
};

function checkInner(name: string, type: MapTypeName, inner: MapDef | undefined): void {
  const ofMaps = type === "array_of_maps" || type === "hash_of_maps";
  if (ofMaps === (inner !== undefined)) return;
  const what = ofMaps ? "is a map of maps, and does not say of which" : `of type ${type} has no maps in it`;
  throw new AssembleError(
    `map '${name}' ${what}`,
    {},
    "The option `inner` is the definition of the maps in a map of maps, and only there.",
  );
}

/**
 * Refuses a name that the kernel would refuse or cut (`bpf_obj_name_cpy`: at most 15 of `[A-Za-z0-9_.]`).
 *
 * @throws AssembleError
 */
export function checkObjectName(what: string, name: string): void {
  if (/^[A-Za-z0-9_.]{1,15}$/.test(name)) return;
  throw new AssembleError(
    `'${name}' is not a name for a ${what}`,
    {},
    "The kernel takes 1 to 15 letters, digits, '_' and '.'.",
  );
}
