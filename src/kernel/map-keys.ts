import type { MapTypeName } from "../asm/map-def.ts";
import { mapGetNextKey, mapLookupBatch } from "../syscall/bpf-map.ts";
import { SyscallError } from "../syscall/errno.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** What walking a map needs to know about it. */
export interface WalkedMap {
  readonly sys: Syscalls;
  readonly fd: () => number;
  readonly type: MapTypeName;
  readonly keySize: number;
  /** Bytes that the kernel writes for a value: of a per-CPU map those of every possible CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
}

/** Some entries, one after the other in memory that the walk uses again when it goes on. */
export interface Batch {
  readonly count: number;
  /** `keySize` bytes each. */
  readonly keys: DataView;
  /** `valueSize` bytes each; `undefined` where the walk reads keys only. */
  readonly values: DataView | undefined;
}

/**
 * Walks over a map, in the kernel's order. Entries may come and go meanwhile: one that is there from the beginning to the
 * end is given exactly once, another one at most once.
 *
 * Hash maps are read in batches (kernel 5.6): the kernel walks from bucket to bucket and so cannot lose its way, and only
 * one batch is in memory. Elsewhere the way leads from key to key. Where the kernel starts over when it does not find the
 * key that it goes on from (LPM trie, devmap_hash, sockhash, and hash maps before 5.6), keys that were given are
 * remembered, and the walk ends after a round that brought nothing new.
 */
export function* walkMap(map: WalkedMap): Generator<Batch, void> {
  if (!HASHED.includes(map.type) || (yield* walkByBatch(map)) === "unsupported") yield* walkByKey(map);
}

/** Maps with buckets and batch operations. */
const HASHED: readonly MapTypeName[] = ["hash", "percpu_hash", "lru_hash", "lru_percpu_hash"];

/** Maps whose keys are the numbers from 0 on: the kernel counts up, whatever became of the last one. */
const INDEXED: readonly MapTypeName[] = [
  "array",
  "percpu_array",
  "prog_array",
  "perf_event_array",
  "cgroup_array",
  "array_of_maps",
  "devmap",
  "sockmap",
  "cpumap",
  "xskmap",
  "reuseport_sockarray",
];

/** Entries of the first batch; more where a single bucket holds more. */
const BATCH = 128;

function* walkByBatch(map: WalkedMap): Generator<Batch, "unsupported" | "done"> {
  const { sys, keySize, valueSize } = map;
  let size = Math.min(BATCH, map.maxEntries);
  let keys = new Uint8Array(size * keySize);
  let values = new Uint8Array(size * valueSize);
  let position: Uint8Array | undefined; // a bucket's number; hash maps want 4 bytes for it
  for (;;) {
    const out_batch = new Uint8Array(Math.max(4, keySize));
    let read: { readonly count: number; readonly done: boolean };
    try {
      read = mapLookupBatch(sys, {
        map_fd: map.fd(),
        keys,
        values,
        count: size,
        in_batch: position,
        out_batch,
      });
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      const unknown = error.code === "EINVAL" || error.code === "ENOTSUPP";
      if (unknown && position === undefined) return "unsupported";
      if (error.code !== "ENOSPC") throw error;
      size *= 2; // a bucket with more entries than that
      keys = new Uint8Array(size * keySize);
      values = new Uint8Array(size * valueSize);
      continue;
    }
    yield { count: read.count, keys: new DataView(keys.buffer), values: new DataView(values.buffer) };
    if (read.done) return "done";
    position = out_batch;
  }
}

function* walkByKey(map: WalkedMap): Generator<Batch, void> {
  const seen = INDEXED.includes(map.type) ? undefined : new Set<string>();
  let at: Uint8Array | undefined;
  for (let known = 0; known <= map.maxEntries; ) {
    const key = new Uint8Array(map.keySize);
    if (!mapGetNextKey(map.sys, map.fd(), at, key)) return;
    at = key;
    const text = seen === undefined ? "" : Buffer.from(key.buffer).toString("latin1");
    if (seen?.has(text)) {
      known++;
      continue;
    }
    known = 0;
    seen?.add(text);
    yield { count: 1, keys: new DataView(key.buffer), values: undefined };
  }
}
