import type { ProgTypeName } from "../../asm/program.ts";
import {
  BPF_CGROUP_GETSOCKOPT,
  BPF_CGROUP_INET4_CONNECT,
  BPF_F_SLEEPABLE,
  BPF_LSM_MAC,
  BPF_NETFILTER,
  BPF_SK_LOOKUP,
  BPF_TRACE_RAW_TP,
} from "../../uapi/bpf.ts";
import { ENOTSUPP } from "../../uapi/errno.ts";
import { type Verdict, yes } from "./answer.ts";
import type { Attempts } from "./attempt.ts";

/** A program type that can be asked for. */
export interface ProgTypeProbe {
  /** The kernel that brought the type. */
  readonly since: string;
  /** The attach type that the kernel insists on at load. */
  readonly attachType?: number;
  readonly flags?: number;
  /** Why such programs cannot be tried out in general: for what depends on the target. */
  readonly needsMore?: string;
}

/** Whether the kernel has this type of program, found out by loading `return 0`. */
export function probeProgType(attempts: Attempts, type: ProgTypeName): Verdict {
  const { attachType, flags } = PROG_TYPES[type];
  const attempt = attempts.load({ type, attachType, more: { prog_flags: flags } });
  // A type that the kernel does not have is refused before the verifier writes its first line. Of one that it has, and
  // that lacks a target (tracing, LSM, ext, struct_ops), the verifier says so.
  return attempt.log === "" ? attempts.conclude(attempt, [ENOTSUPP]) : yes();
}

/** Every program type, with how to load the least of it. */
export const PROG_TYPES: Readonly<Record<ProgTypeName, ProgTypeProbe>> = {
  socket_filter: { since: "3.19" },
  kprobe: { since: "4.1" },
  sched_cls: { since: "4.1" },
  sched_act: { since: "4.1" },
  tracepoint: { since: "4.7" },
  xdp: { since: "4.8" },
  perf_event: { since: "4.9" },
  cgroup_skb: { since: "4.10" },
  cgroup_sock: { since: "4.10" },
  lwt_in: { since: "4.10" },
  lwt_out: { since: "4.10" },
  lwt_xmit: { since: "4.10" },
  sock_ops: { since: "4.13" },
  sk_skb: { since: "4.14" },
  cgroup_device: { since: "4.15" },
  sk_msg: { since: "4.17" },
  raw_tracepoint: { since: "4.17" },
  cgroup_sock_addr: { since: "4.17", attachType: BPF_CGROUP_INET4_CONNECT },
  lwt_seg6local: { since: "4.18" },
  lirc_mode2: { since: "4.18" },
  sk_reuseport: { since: "4.19" },
  flow_dissector: { since: "4.20" },
  cgroup_sysctl: { since: "5.2" },
  raw_tracepoint_writable: { since: "5.2" },
  cgroup_sockopt: { since: "5.3", attachType: BPF_CGROUP_GETSOCKOPT },
  tracing: { since: "5.5", attachType: BPF_TRACE_RAW_TP },
  struct_ops: {
    since: "5.6",
    needsMore: "what such a program may call depends on the member that it implements",
  },
  ext: { since: "5.6", needsMore: "such a program may call what the program may that it is put into" },
  lsm: { since: "5.7", attachType: BPF_LSM_MAC },
  sk_lookup: { since: "5.9", attachType: BPF_SK_LOOKUP },
  syscall: { since: "5.14", flags: BPF_F_SLEEPABLE },
  netfilter: { since: "6.4", attachType: BPF_NETFILTER },
};
