import {
  type MapLookupBatchAttr,
  type MapLookupBatchResult,
  mapDeleteBatch,
  mapLookupAndDeleteBatch,
  mapLookupBatch,
} from "../syscall/bpf-map.ts";
import { SyscallError } from "../syscall/errno.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** Map types whose entries the kernel reads and writes many at a time (5.6; LPM trie 5.7, per-CPU array 5.13, maps of maps 5.19). */
export type BatchMapType =
  | "hash"
  | "percpu_hash"
  | "lru_hash"
  | "lru_percpu_hash"
  | "array"
  | "percpu_array"
  | "lpm_trie"
  | "array_of_maps"
  | "hash_of_maps";

/** Map types that look up and delete in one step: an entry goes to exactly one taker (5.14, in batches 5.6). */
export type TakeMapType = "hash" | "percpu_hash" | "lru_hash" | "lru_percpu_hash";

/** Where a batch ended. */
export interface BatchCursor {
  /** The kernel's own words for it: a bucket's number, or the last key. Only the map that gave it understands them. */
  readonly position: Uint8Array;
}

/** What to read in one batch. */
export interface BatchRange {
  /** Where the batch before ended; default the beginning of the map. */
  readonly cursor?: BatchCursor | undefined;
  /** Entries to read, at most; more where a single bucket of a hash map holds more. Default 1024. */
  readonly count?: number;
}

/** Entries that were read in one batch. */
export interface MapBatch<Key, Value> {
  readonly entries: [Key, Value][];
  /** Where to go on; `undefined` at the end of the map. */
  readonly cursor: BatchCursor | undefined;
}

/** Entries as the kernel wrote them. */
export interface RawBatch {
  readonly count: number;
  readonly keys: DataView;
  readonly values: DataView;
  readonly cursor: BatchCursor | undefined;
}

/** A map as batches see it. */
export interface BatchedMap {
  readonly sys: Syscalls;
  readonly fd: number;
  readonly keySize: number;
  /** Bytes that the kernel copies for a value: of a per-CPU map those of every possible CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
}

/** Reads one batch, or takes it out of the map. */
export function readBatch(map: BatchedMap, { cursor, count = 1024 }: BatchRange, take: boolean): RawBatch {
  const call = take ? mapLookupAndDeleteBatch : mapLookupBatch;
  const out = new Uint8Array(Math.max(4, map.keySize)); // hash maps count buckets, the others give their last key
  for (let size = Math.min(Math.max(count, 1), Math.max(map.maxEntries, 1)); ; size *= 2) {
    const keys = new Uint8Array(size * map.keySize);
    const values = new Uint8Array(size * map.valueSize);
    const result = unlessBucketIsLarger(call, map.sys, {
      map_fd: map.fd,
      keys,
      values,
      count: size,
      in_batch: cursor?.position,
      out_batch: out,
    });
    if (result === undefined) continue;
    return {
      count: result.count,
      keys: new DataView(keys.buffer),
      values: new DataView(values.buffer),
      cursor: result.done ? undefined : { position: out },
    };
  }
}

/** `undefined` where one bucket holds more than was asked for: the kernel then does nothing and says ENOSPC. */
function unlessBucketIsLarger(
  call: (sys: Syscalls, attr: MapLookupBatchAttr) => MapLookupBatchResult,
  sys: Syscalls,
  attr: MapLookupBatchAttr,
): MapLookupBatchResult | undefined {
  try {
    return call(sys, attr);
  } catch (error) {
    if (error instanceof SyscallError && error.code === "ENOSPC") return undefined;
    throw error;
  }
}

/** Deletes keys, and counts those that were there. The kernel stops at one that is not: it goes on behind that. */
export function deleteBatch({ sys, fd, keySize }: BatchedMap, keys: Uint8Array): number {
  const count = keys.byteLength / keySize;
  let deleted = 0;
  for (let at = 0; at < count; ) {
    const rest = { map_fd: fd, keys: keys.subarray(at * keySize), count: count - at };
    try {
      return deleted + mapDeleteBatch(sys, rest);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== "ENOENT") throw error;
      const done = Number(error.args["done"]);
      deleted += done;
      at += done + 1;
    }
  }
  return deleted;
}
