import type { MapTypeName } from "../asm/map-def.ts";
import { bpf_map_type } from "../uapi/bpf.ts";

/** The number of a map type. */
export function mapTypeNumber(type: MapTypeName): number {
  return bpf_map_type[`BPF_MAP_TYPE_${type.toUpperCase()}` as keyof typeof bpf_map_type];
}

/** The name of a map type, in the spelling of definitions; the number where it has none here. */
export function mapTypeName(number: number): string {
  const found = Object.entries(bpf_map_type).find(([, value]) => value === number);
  return found === undefined ? String(number) : found[0].replace("BPF_MAP_TYPE_", "").toLowerCase();
}

/** Map types whose values are other maps. */
export type MapOfMapsType = "array_of_maps" | "hash_of_maps";

/** Map types whose values are given as a descriptor, or as something that owns one. */
export type FdMapType =
  | "prog_array"
  | "perf_event_array"
  | "cgroup_array"
  | "sockmap"
  | "sockhash"
  | "xskmap"
  | "reuseport_sockarray";

/** Whether values are given as descriptors. */
export function holdsFds(type: MapTypeName): boolean {
  return HOLD_FDS.includes(type);
}

const HOLD_FDS: readonly MapTypeName[] = [
  "prog_array",
  "perf_event_array",
  "cgroup_array",
  "sockmap",
  "sockhash",
  "xskmap",
  "reuseport_sockarray",
  "array_of_maps",
  "hash_of_maps",
] satisfies readonly (FdMapType | MapOfMapsType)[];

/** Map types whose values hang on a socket, an inode, a task or a cgroup; the key is a descriptor of it. */
export const LOCAL_STORAGE: readonly MapTypeName[] = [
  "sk_storage",
  "inode_storage",
  "task_storage",
  "cgrp_storage",
];
