import type { ProgTypeName } from "../asm/program.ts";
import type { Capability } from "./privileges.ts";

/**
 * The capabilities that loading a program of this type takes, with `kernel.unprivileged_bpf_disabled` set (measured on
 * Linux 6.18, for every type, by dropping one at a time). CAP_SYS_ADMIN stands for each of them.
 *
 * What a program does can take CAP_PERFMON as well: the helpers that read kernel memory or print, and pointer arithmetic
 * that the verifier allows to nobody else. That is a refusal of the verifier, with a log, and never a bare EPERM.
 */
export function capabilitiesToLoad(type: ProgTypeName): readonly Capability[] {
  const needed: Capability[] = ["CAP_BPF"];
  if (NETWORK.includes(type)) needed.push("CAP_NET_ADMIN");
  if (TRACING.includes(type)) needed.push("CAP_PERFMON");
  return needed;
}

/** The capabilities that creating a map of this type takes; as {@link capabilitiesToLoad}. */
export function capabilitiesToCreate(mapType: string): readonly Capability[] {
  return NETWORK_MAPS.includes(mapType) ? ["CAP_BPF", "CAP_NET_ADMIN"] : ["CAP_BPF"];
}

/** `is_net_admin_prog_type()` in kernel/bpf/syscall.c. */
const NETWORK: readonly ProgTypeName[] = [
  "sched_cls",
  "sched_act",
  "xdp",
  "lwt_in",
  "lwt_out",
  "lwt_xmit",
  "lwt_seg6local",
  "sk_skb",
  "sk_msg",
  "flow_dissector",
  "cgroup_device",
  "cgroup_sock",
  "cgroup_sock_addr",
  "cgroup_sockopt",
  "cgroup_sysctl",
  "sock_ops",
  "netfilter",
  "ext",
];

/** `is_perfmon_prog_type()` in kernel/bpf/syscall.c. */
const TRACING: readonly ProgTypeName[] = [
  "kprobe",
  "tracepoint",
  "perf_event",
  "raw_tracepoint",
  "raw_tracepoint_writable",
  "tracing",
  "lsm",
  "struct_ops",
  "ext",
];

/** `map_create()` in kernel/bpf/syscall.c. */
const NETWORK_MAPS: readonly string[] = ["sockmap", "sockhash", "devmap", "devmap_hash", "xskmap"];
