import type { MapTypeName } from "../../asm/map-def.ts";
import type { MapCreateAttr } from "../../syscall/bpf-map.ts";
import { BPF_F_MMAPABLE, BPF_F_NO_PREALLOC } from "../../uapi/bpf.ts";
import { ENOTSUPP } from "../../uapi/errno.ts";
import { mapTypeNumber } from "../map-type.ts";
import type { Verdict } from "./answer.ts";
import type { Attempt, Attempts } from "./attempt.ts";

/** A map type that can be asked for. */
export type ProbedMapType = Exclude<MapTypeName, "unspec" | `${string}_deprecated`>;

/** How to create the smallest map of a type. */
export interface MapTypeProbe {
  /** The kernel that brought the type. */
  readonly since: string;
  /** Sizes and flags, where they are not `u32 -> u32` with one entry. */
  readonly attr?: Partial<MapCreateAttr>;
  /** What it takes besides: a map to look like, BTF of key and value. */
  readonly with?: "inner map" | "BTF";
  /** Errors that only a kernel with this type gives. */
  readonly yesTo?: readonly number[];
}

/** Whether the kernel has this type of map, found out by creating a small one. */
export function probeMapType(attempts: Attempts, type: ProbedMapType): Verdict {
  const { attr, with: extra, yesTo } = MAP_TYPES[type];
  const full: MapCreateAttr = { map_type: mapTypeNumber(type), ...WORDS, ...attr };
  return attempts.conclude(create(attempts, full, extra), yesTo);
}

function create(attempts: Attempts, attr: MapCreateAttr, extra: MapTypeProbe["with"]): Attempt {
  if (extra === "inner map") {
    const inner: MapCreateAttr = { map_type: mapTypeNumber("array"), ...WORDS };
    return attempts.map(inner, (inner_map_fd) => attempts.map({ ...attr, inner_map_fd }));
  }
  if (extra === "BTF") {
    return attempts.btf(
      (builder) => builder.int("int", 4, "signed"),
      (btf_fd) => attempts.map({ ...attr, btf_fd, btf_key_type_id: 1, btf_value_type_id: 1 }),
    );
  }
  return attempts.map(attr);
}

const WORDS = { key_size: 4, value_size: 4, max_entries: 1 };
/** Local storage: values hang on other objects, and there is no number of them. */
const STORAGE = { attr: { max_entries: 0, map_flags: BPF_F_NO_PREALLOC }, with: "BTF" } as const;
/** The key is `struct bpf_cgroup_storage_key`, 16 bytes; from 5.9 on a bare cgroup id will do as well. */
const CGROUP_STORAGE = { attr: { key_size: 16, max_entries: 0 } } as const;
/** A multiple of the page, wherever: the largest pages are 64 KiB. */
const RING = { attr: { key_size: 0, value_size: 0, max_entries: 0x1_0000 } } as const;

/** Every map type, with how to create it. */
export const MAP_TYPES: Readonly<Record<ProbedMapType, MapTypeProbe>> = {
  hash: { since: "3.19" },
  array: { since: "3.19" },
  prog_array: { since: "4.2" },
  perf_event_array: { since: "4.3" },
  percpu_hash: { since: "4.6" },
  percpu_array: { since: "4.6" },
  stack_trace: { since: "4.6", attr: { value_size: 8 } },
  cgroup_array: { since: "4.8" },
  lru_hash: { since: "4.10" },
  lru_percpu_hash: { since: "4.10" },
  lpm_trie: { since: "4.11", attr: { key_size: 8, map_flags: BPF_F_NO_PREALLOC } },
  array_of_maps: { since: "4.12", with: "inner map" },
  hash_of_maps: { since: "4.12", with: "inner map" },
  devmap: { since: "4.14" },
  sockmap: { since: "4.14" },
  cpumap: { since: "4.15" },
  xskmap: { since: "4.18" },
  sockhash: { since: "4.18" },
  cgroup_storage: { since: "4.19", ...CGROUP_STORAGE },
  reuseport_sockarray: { since: "4.19", attr: { value_size: 8 } },
  percpu_cgroup_storage: { since: "4.20", ...CGROUP_STORAGE },
  queue: { since: "4.20", attr: { key_size: 0 } },
  stack: { since: "4.20", attr: { key_size: 0 } },
  sk_storage: { since: "5.2", ...STORAGE },
  devmap_hash: { since: "5.4" },
  // Type 1 of the kernel's BTF is no struct of operations: ENOTSUPP from a kernel that looks it up.
  struct_ops: { since: "5.6", attr: { btf_vmlinux_value_type_id: 1 }, yesTo: [ENOTSUPP] },
  ringbuf: { since: "5.8", ...RING },
  inode_storage: { since: "5.10", ...STORAGE },
  task_storage: { since: "5.11", ...STORAGE },
  bloom_filter: { since: "5.16", attr: { key_size: 0 } },
  user_ringbuf: { since: "6.1", ...RING },
  cgrp_storage: { since: "6.2", ...STORAGE },
  arena: { since: "6.9", attr: { key_size: 0, value_size: 0, map_flags: BPF_F_MMAPABLE } },
  insn_array: { since: "6.19", attr: { value_size: 16 } },
  rhash: { since: "7.2", attr: { map_flags: BPF_F_NO_PREALLOC } },
};
