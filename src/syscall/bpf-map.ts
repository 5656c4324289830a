import { LITTLE_ENDIAN } from "../base/host.ts";
import { bpf_cmd, bpf_map_type } from "../uapi/bpf.ts";
import { bpf_attr_batch, bpf_attr_map_create, bpf_attr_map_elem } from "../uapi/bpf-attr.ts";
import { ENOENT } from "../uapi/errno.ts";
import { BpfAttr, writeU64 } from "./attr.ts";
import { type BpfCmd, bpf, bpfOrNone, bpfRaw, enumName } from "./bpf.ts";
import { SyscallError } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/** Fields of `BPF_MAP_CREATE`, as the kernel names them. */
export interface MapCreateAttr {
  readonly map_type: number;
  /** Bytes of a key; 0 for maps without keys. */
  readonly key_size: number;
  /** Bytes of a value; 0 for maps without values. */
  readonly value_size: number;
  readonly max_entries: number;
  readonly map_flags?: number | undefined;
  /** For maps of maps: a map that inner maps must look like. */
  readonly inner_map_fd?: number | undefined;
  readonly numa_node?: number | undefined;
  /** At most 15 letters, digits, `_` or `.`. */
  readonly map_name?: string | undefined;
  readonly map_ifindex?: number | undefined;
  readonly btf_fd?: number | undefined;
  readonly btf_key_type_id?: number | undefined;
  readonly btf_value_type_id?: number | undefined;
  readonly btf_vmlinux_value_type_id?: number | undefined;
  /** Per-type extra: Bloom filter hash count, arena address (5.16+). */
  readonly map_extra?: number | bigint | undefined;
  /** Needs `BPF_F_VTYPE_BTF_OBJ_FD` (6.9+). */
  readonly value_type_btf_obj_fd?: number | undefined;
  /** Needs `BPF_F_TOKEN_FD` (6.9+). */
  readonly map_token_fd?: number | undefined;
}

/**
 * Creates a map; returns its descriptor, which is close-on-exec and the caller's to close.
 *
 * @throws `SyscallError`: EPERM (no CAP_BPF, or before 5.11 RLIMIT_MEMLOCK), EINVAL, E2BIG, ENOMEM.
 */
export function mapCreate(sys: Syscalls, a: MapCreateAttr): number {
  const attr = new BpfAttr(sys, bpf_attr_map_create)
    .u32("map_type", a.map_type)
    .u32("key_size", a.key_size)
    .u32("value_size", a.value_size)
    .u32("max_entries", a.max_entries)
    .u32("map_flags", a.map_flags)
    .u32("inner_map_fd", a.inner_map_fd)
    .u32("numa_node", a.numa_node)
    .name("map_name", a.map_name)
    .u32("map_ifindex", a.map_ifindex)
    .u32("btf_fd", a.btf_fd)
    .u32("btf_key_type_id", a.btf_key_type_id)
    .u32("btf_value_type_id", a.btf_value_type_id)
    .u32("btf_vmlinux_value_type_id", a.btf_vmlinux_value_type_id)
    .u64("map_extra", a.map_extra)
    .s32("value_type_btf_obj_fd", a.value_type_btf_obj_fd)
    .s32("map_token_fd", a.map_token_fd);
  return bpf(sys, "BPF_MAP_CREATE", attr, () => ({
    map_type: enumName(bpf_map_type, "BPF_MAP_TYPE_", a.map_type),
    map_name: a.map_name,
    key_size: a.key_size,
    value_size: a.value_size,
    max_entries: a.max_entries,
    map_flags: a.map_flags,
  }));
}

/**
 * Copies the value of `key` into `value`; `false` if the map has no such key.
 *
 * The kernel is not told how long the buffers are: it reads `key_size` bytes of `key` and writes `value_size` bytes to
 * `value` (for per-CPU maps `roundup(value_size, 8)` for each possible CPU), **past the end of a shorter buffer**. The
 * same goes for every function here. Check the sizes once, where the map is made or opened.
 *
 * @param key - `undefined` for maps without keys (queue, stack).
 */
export function mapLookupElem(
  sys: Syscalls,
  mapFd: number,
  key: Uint8Array | undefined,
  value: Uint8Array,
  flags = 0,
): boolean {
  return elementOrNone(sys, "BPF_MAP_LOOKUP_ELEM", mapFd, key, value, flags);
}

/** Like {@link mapLookupElem}, and removes the entry (queue and stack 4.20+, hash maps 5.14+). */
export function mapLookupAndDeleteElem(
  sys: Syscalls,
  mapFd: number,
  key: Uint8Array | undefined,
  value: Uint8Array,
  flags = 0,
): boolean {
  return elementOrNone(sys, "BPF_MAP_LOOKUP_AND_DELETE_ELEM", mapFd, key, value, flags);
}

/**
 * Sets the value of `key`. `flags`: `BPF_ANY` 0, `BPF_NOEXIST` 1, `BPF_EXIST` 2, `BPF_F_LOCK` 4.
 *
 * @throws `SyscallError`: EEXIST and ENOENT as the flags ask, E2BIG when the map is full or the key out of range.
 */
export function mapUpdateElem(
  sys: Syscalls,
  mapFd: number,
  key: Uint8Array | undefined,
  value: Uint8Array,
  flags = 0,
): void {
  bpf(sys, "BPF_MAP_UPDATE_ELEM", elementAttr(sys, mapFd, key, value, flags), () =>
    elementArgs(mapFd, key, flags),
  );
}

/** Removes `key`; `false` if the map had no such key. */
export function mapDeleteElem(sys: Syscalls, mapFd: number, key: Uint8Array): boolean {
  return elementOrNone(sys, "BPF_MAP_DELETE_ELEM", mapFd, key, undefined, 0);
}

/**
 * Copies the key after `key` (the first one for `undefined`) into `nextKey`; `false` after the last.
 *
 * A hash map starts over when `key` has been deleted meanwhile: bound the walk by `max_entries`.
 */
export function mapGetNextKey(
  sys: Syscalls,
  mapFd: number,
  key: Uint8Array | undefined,
  nextKey: Uint8Array,
): boolean {
  const attr = new BpfAttr(sys, bpf_attr_map_elem)
    .u32("map_fd", mapFd)
    .ptr("key", key)
    .ptr("next_key", nextKey);
  return bpfOrNone(sys, "BPF_MAP_GET_NEXT_KEY", attr, () => elementArgs(mapFd, key, 0)) !== undefined;
}

/** Makes the map read-only for system calls, for good (5.2+). BPF programs may still write. */
export function mapFreeze(sys: Syscalls, mapFd: number): void {
  bpf(sys, "BPF_MAP_FREEZE", new BpfAttr(sys, bpf_attr_map_elem).u32("map_fd", mapFd), () => ({
    map_fd: mapFd,
  }));
}

/** The fields the batch commands share. */
export interface MapBatchAttr {
  readonly map_fd: number;
  /** `count` keys, one after the other. */
  readonly keys: Uint8Array | undefined;
  /** `count` values, one after the other; absent for deletes. */
  readonly values?: Uint8Array | undefined;
  /** How many entries to process, at most. */
  readonly count: number;
  readonly elem_flags?: number | undefined;
  readonly flags?: number | undefined;
}

/** Fields of a batch lookup. */
export interface MapLookupBatchAttr extends MapBatchAttr {
  /** Where to go on: the `out_batch` of the last call; `undefined` starts at the beginning. */
  readonly in_batch: Uint8Array | undefined;
  /** Where the kernel writes its position. Hash maps need at least 4 bytes, others `key_size`. */
  readonly out_batch: Uint8Array;
}

/** What a batch lookup read. */
export interface MapLookupBatchResult {
  /** How many entries of `keys` and `values` are filled. */
  readonly count: number;
  /** Whether that was the end of the map. */
  readonly done: boolean;
}

/**
 * Reads up to `count` entries at once (5.6+).
 *
 * @throws `SyscallError`: ENOSPC when one hash bucket holds more than `count` entries (ask for more), ENOTSUPP (524)
 * for map types without batch operations.
 */
export function mapLookupBatch(sys: Syscalls, a: MapLookupBatchAttr): MapLookupBatchResult {
  return lookupBatch(sys, "BPF_MAP_LOOKUP_BATCH", a);
}

/** Like {@link mapLookupBatch}, and removes what it read (5.6+). */
export function mapLookupAndDeleteBatch(sys: Syscalls, a: MapLookupBatchAttr): MapLookupBatchResult {
  return lookupBatch(sys, "BPF_MAP_LOOKUP_AND_DELETE_BATCH", a);
}

/** Sets `count` entries at once (5.6+); on failure the error's `done` argument is how many had been set. */
export function mapUpdateBatch(sys: Syscalls, a: MapBatchAttr): number {
  return changeBatch(sys, "BPF_MAP_UPDATE_BATCH", a);
}

/** Removes `count` entries at once (5.6+); on failure the error's `done` argument is how many had been removed. */
export function mapDeleteBatch(sys: Syscalls, a: MapBatchAttr): number {
  return changeBatch(sys, "BPF_MAP_DELETE_BATCH", a);
}

/** Element access through two buffers that stay the same: no allocation per call. */
export interface MapElement {
  /** The key every call uses; write it before the call. */
  readonly key: Uint8Array;
  /** The value that lookups fill and updates send. */
  readonly value: Uint8Array;
  /** As {@link mapLookupElem}. */
  lookup(flags?: number): boolean;
  /** As {@link mapLookupAndDeleteElem}. */
  lookupAndDelete(flags?: number): boolean;
  /** As {@link mapUpdateElem}. */
  update(flags?: number): void;
  /** As {@link mapDeleteElem}. */
  delete(): boolean;
}

/**
 * The hot path: one encoded attribute over the caller's two buffers, re-used for every call.
 *
 * The buffers must be as long as {@link mapLookupElem} says and must not be transferred to another thread.
 *
 * @param map - What owns the descriptor; asked on every call, so a closed map is an error and not another file.
 *
 * @example
 * const element = mapElement(sys, fd, new Uint8Array(4), new Uint8Array(8));
 * element.key[0] = 3;
 * if (element.lookup()) console.log(element.value);
 */
export function mapElement(
  sys: Syscalls,
  map: { readonly number: number },
  key: Uint8Array,
  value: Uint8Array,
): MapElement {
  const encode = (sent: Uint8Array | undefined): EncodedAttr => {
    const { bytes } = elementAttr(sys, map.number, key, sent, 0);
    return { bytes, view: new DataView(bytes.buffer) };
  };
  const withValue = encode(value);
  // A delete with a value, even an ignored one, is EINVAL.
  const withoutValue = encode(undefined);
  const call = (cmd: BpfCmd, { bytes, view }: EncodedAttr, flags: number): number => {
    view.setUint32(bpf_attr_map_elem.map_fd, map.number, LITTLE_ENDIAN);
    writeU64(view, bpf_attr_map_elem.flags, flags);
    return sys.bpf(bpf_cmd[cmd], bytes);
  };
  const callOrNone = (cmd: BpfCmd, attr: EncodedAttr, flags: number): boolean => {
    const result = call(cmd, attr, flags);
    if (result >= 0) return true;
    if (result === -ENOENT) return false;
    throw new SyscallError(`bpf(${cmd})`, -result, elementArgs(map.number, key, flags));
  };
  return {
    key,
    value,
    lookup: (flags = 0) => callOrNone("BPF_MAP_LOOKUP_ELEM", withValue, flags),
    lookupAndDelete: (flags = 0) => callOrNone("BPF_MAP_LOOKUP_AND_DELETE_ELEM", withValue, flags),
    update(flags = 0) {
      const result = call("BPF_MAP_UPDATE_ELEM", withValue, flags);
      if (result < 0)
        throw new SyscallError("bpf(BPF_MAP_UPDATE_ELEM)", -result, elementArgs(map.number, key, flags));
    },
    delete: () => callOrNone("BPF_MAP_DELETE_ELEM", withoutValue, 0),
  };
}

interface EncodedAttr {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

function elementAttr(
  sys: Syscalls,
  mapFd: number,
  key: Uint8Array | undefined,
  value: Uint8Array | undefined,
  flags: number,
): BpfAttr<typeof bpf_attr_map_elem> {
  return new BpfAttr(sys, bpf_attr_map_elem)
    .u32("map_fd", mapFd)
    .ptr("key", key)
    .ptr("value", value)
    .u64("flags", flags);
}

function elementOrNone(
  sys: Syscalls,
  cmd: BpfCmd,
  mapFd: number,
  key: Uint8Array | undefined,
  value: Uint8Array | undefined,
  flags: number,
): boolean {
  const attr = elementAttr(sys, mapFd, key, value, flags);
  return bpfOrNone(sys, cmd, attr, () => elementArgs(mapFd, key, flags)) !== undefined;
}

function lookupBatch(sys: Syscalls, cmd: BpfCmd, a: MapLookupBatchAttr): MapLookupBatchResult {
  const attr = batchAttr(sys, a).ptr("in_batch", a.in_batch).ptr("out_batch", a.out_batch);
  const done = bpfOrNone(sys, cmd, attr, () => ({ map_fd: a.map_fd, count: a.count })) === undefined;
  return { count: attr.getU32("count"), done };
}

function changeBatch(sys: Syscalls, cmd: BpfCmd, a: MapBatchAttr): number {
  const attr = batchAttr(sys, a);
  const result = bpfRaw(sys, cmd, attr);
  const done = attr.getU32("count");
  if (result < 0) throw new SyscallError(`bpf(${cmd})`, -result, { map_fd: a.map_fd, count: a.count, done });
  return done;
}

function batchAttr(sys: Syscalls, a: MapBatchAttr): BpfAttr<typeof bpf_attr_batch> {
  return new BpfAttr(sys, bpf_attr_batch)
    .u32("map_fd", a.map_fd)
    .ptr("keys", a.keys)
    .ptr("values", a.values)
    .u32("count", a.count)
    .u64("elem_flags", a.elem_flags)
    .u64("flags", a.flags);
}

function elementArgs(
  mapFd: number,
  key: Uint8Array | undefined,
  flags: number,
): { map_fd: number; key?: string; flags?: number } {
  return {
    map_fd: mapFd,
    ...(key === undefined || key.byteLength === 0 ? {} : { key: hex(key) }),
    ...(flags === 0 ? {} : { flags }),
  };
}

function hex(bytes: Uint8Array): string {
  const shown = bytes.byteLength > 32 ? bytes.subarray(0, 32) : bytes;
  return (
    Buffer.from(shown.buffer, shown.byteOffset, shown.byteLength).toString("hex") +
    (shown === bytes ? "" : "...")
  );
}
