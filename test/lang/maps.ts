/** The maps that the C programs in test/vectors/lang/c declare `extern`, by the same names. */
import { mapDef, type TypedMapDef } from "../../src/asm/map-def.ts";
import {
  type ArrayLayout,
  array,
  be16,
  be32,
  type StructLayout,
  struct,
  u8,
  u16,
  u32,
  u64,
} from "../../src/btf/layout/index.ts";
import { cpuMapValue } from "../../src/programs/cpu-map.ts";
import { BPF_F_NO_PREALLOC } from "../../src/uapi/bpf.ts";

// count_packets

const counter: StructLayout<"counter", { packets: typeof u64; bytes: typeof u64 }> = struct("counter", {
  packets: u64,
  bytes: u64,
});

export const counters: TypedMapDef<"percpu_array", typeof u32, typeof counter> = mapDef({
  name: "counters",
  type: "percpu_array",
  key: u32,
  value: counter,
  maxEntries: 1,
});

// port_filter

export const blockedPorts: TypedMapDef<"hash", typeof u16, typeof u64> = mapDef({
  name: "blocked_ports",
  type: "hash",
  key: u16,
  value: u64,
  maxEntries: 1024,
});

// vlan_types

const typeKey: StructLayout<"key", { proto: typeof u16; tags: typeof u16 }> = struct("key", {
  proto: u16,
  tags: u16,
});

export const types: TypedMapDef<"hash", typeof typeKey, typeof u64> = mapDef({
  name: "types",
  type: "hash",
  key: typeKey,
  value: u64,
  maxEntries: 65_536,
});

// flow_cpu

export const cpus: TypedMapDef<"cpumap", typeof u32, typeof cpuMapValue> = mapDef({
  name: "cpus",
  type: "cpumap",
  key: u32,
  value: cpuMapValue,
  maxEntries: 2,
});

// lpm_block

const lpmKey: StructLayout<"lpm_key", { prefixlen: typeof u32; addr: typeof be32 }> = struct("lpm_key", {
  prefixlen: u32,
  addr: be32,
});
const network: StructLayout<"network", { action: typeof u32; reserved: typeof u32; packets: typeof u64 }> =
  struct("network", { action: u32, reserved: u32, packets: u64 });

export const networks: TypedMapDef<"lpm_trie", typeof lpmKey, typeof network> = mapDef({
  name: "networks",
  type: "lpm_trie",
  key: lpmKey,
  value: network,
  maxEntries: 1024,
  flags: BPF_F_NO_PREALLOC,
});

// ipv6_walk

export const protocols: TypedMapDef<"array", typeof u32, typeof u64> = mapDef({
  name: "protocols",
  type: "array",
  key: u32,
  value: u64,
  maxEntries: 256,
});

// syn_bucket

const bucket: StructLayout<"bucket", { last: typeof u64; tokens: typeof u64 }> = struct("bucket", {
  last: u64,
  tokens: u64,
});

export const buckets: TypedMapDef<"lru_hash", typeof be32, typeof bucket> = mapDef({
  name: "buckets",
  type: "lru_hash",
  key: be32,
  value: bucket,
  maxEntries: 65_536,
});

// protocol_bytes

export const bytes: TypedMapDef<"array", typeof u32, typeof u64> = mapDef({
  name: "bytes",
  type: "array",
  key: u32,
  value: u64,
  maxEntries: 9,
});

// nat_rewrite

const endpoint: StructLayout<"endpoint", { addr: typeof be32; port: typeof be16; reserved: typeof u16 }> =
  struct("endpoint", { addr: be32, port: be16, reserved: u16 });

export const nat: TypedMapDef<"hash", typeof endpoint, typeof endpoint> = mapDef({
  name: "nat",
  type: "hash",
  key: endpoint,
  value: endpoint,
  maxEntries: 1024,
});

// egress_bytes

const usageValue: StructLayout<"usage", { bytes: typeof u64; quota: typeof u64 }> = struct("usage", {
  bytes: u64,
  quota: u64,
});

export const usage: TypedMapDef<"hash", typeof u32, typeof usageValue> = mapDef({
  name: "usage",
  type: "hash",
  key: u32,
  value: usageValue,
  maxEntries: 65_536,
});

// syscall_count

const callKey: StructLayout<"key", { pid: typeof u32; nr: typeof u32 }> = struct("key", {
  pid: u32,
  nr: u32,
});
const settings: StructLayout<"config", { by_pid: typeof u32; limit: typeof u32 }> = struct("config", {
  by_pid: u32,
  limit: u32,
});

export const config: TypedMapDef<"array", typeof u32, typeof settings> = mapDef({
  name: "config",
  type: "array",
  key: u32,
  value: settings,
  maxEntries: 1,
});
export const calls: TypedMapDef<"hash", typeof callKey, typeof u64> = mapDef({
  name: "calls",
  type: "hash",
  key: callKey,
  value: u64,
  maxEntries: 4096,
});

// flow_event

/** A record of `events`. */
export const flowEvent: StructLayout<
  "event",
  {
    saddr: typeof be32;
    daddr: typeof be32;
    sport: typeof be16;
    dport: typeof be16;
    flags: typeof u8;
    reserved: ArrayLayout<typeof u8>;
    length: typeof u32;
    queue: typeof u32;
  }
> = struct("event", {
  saddr: be32,
  daddr: be32,
  sport: be16,
  dport: be16,
  flags: u8,
  reserved: array(u8, 3),
  length: u32,
  queue: u32,
});

export const events: TypedMapDef<"ringbuf", never, never> = mapDef({
  name: "events",
  type: "ringbuf",
  maxEntries: 16_384,
});
export const lost: TypedMapDef<"array", typeof u32, typeof u64> = mapDef({
  name: "lost",
  type: "array",
  key: u32,
  value: u64,
  maxEntries: 1,
});

// dispatch

export const programs: TypedMapDef<"prog_array", typeof u32, typeof u32> = mapDef({
  name: "programs",
  type: "prog_array",
  key: u32,
  value: u32,
  maxEntries: 256,
});
export const missed: TypedMapDef<"array", typeof u32, typeof u64> = mapDef({
  name: "missed",
  type: "array",
  key: u32,
  value: u64,
  maxEntries: 256,
});

// hash_words

export const hashes: TypedMapDef<"array", typeof u32, typeof u32> = mapDef({
  name: "hashes",
  type: "array",
  key: u32,
  value: u32,
  maxEntries: 1,
});

// tunnel_inner

export const innerBlock: TypedMapDef<"hash", typeof be32, typeof u64> = mapDef({
  name: "inner_block",
  type: "hash",
  key: be32,
  value: u64,
  maxEntries: 1024,
});

// payload_sum

const sumKey: StructLayout<"key", { saddr: typeof be32; daddr: typeof be32 }> = struct("key", {
  saddr: be32,
  daddr: be32,
});

export const sums: TypedMapDef<"lru_hash", typeof sumKey, typeof u32> = mapDef({
  name: "sums",
  type: "lru_hash",
  key: sumKey,
  value: u32,
  maxEntries: 65_536,
});
