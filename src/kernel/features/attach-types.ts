import type { AttachTypeName, ProgTypeName } from "../../asm/program.ts";
import { progAttach, progQuery } from "../../syscall/bpf-prog.ts";
import { BPF_MAP_TYPE_CPUMAP, BPF_MAP_TYPE_DEVMAP, bpf_attach_type } from "../../uapi/bpf.ts";
import { EBADF, ENODEV } from "../../uapi/errno.ts";
import { no, type Verdict } from "./answer.ts";
import { type Attempts, NO_FD, NO_IFINDEX } from "./attempt.ts";
import { LINK_TYPES, type LinkTypeName, probeKprobeMulti, probeUprobeMulti } from "./link-types.ts";
import { PROG_TYPES } from "./prog-types.ts";
import { probeTracingTarget, probeWithoutTarget } from "./tracing-target.ts";

/** How an attach type is asked for. */
export interface AttachTypeProbe {
  /** The kernel that brought it. */
  readonly since: string;
  /** The type of the programs that attach so. */
  readonly type: ProgTypeName;
  readonly by: /** Attaching to a descriptor or an interface that does not exist. */
    | "attach to no descriptor"
    | "attach to no interface"
    /** Asking what is attached to something that does not exist. */
    | "query"
    /** Loading a program for it, where another attach type is refused. */
    | "load"
    /** Loading a program for a target in the kernel's BTF that is none. */
    | "target"
    /** Loading a tracing program without a target: its link will name many. */
    | "load without target"
    /** Creating the map whose entries hold such programs. */
    | "map"
    | "kprobe multi"
    | "uprobe multi"
    /** The link that came with it. */
    | { readonly link: LinkTypeName };
}

/** Whether the kernel has this attach type. Nothing is attached to find out. */
export function probeAttachType(attempts: Attempts, name: AttachTypeName): Verdict {
  const { by, type } = ATTACH_TYPES[name];
  const attach_type = attachTypeNumber(name);
  if (typeof by === "object") return LINK_TYPES[by.link].probe(attempts);
  switch (by) {
    case "attach to no descriptor":
      return attach(attempts, type, attach_type, { target_fd: NO_FD });
    case "attach to no interface":
      return attach(attempts, type, attach_type, { target_ifindex: NO_IFINDEX });
    case "query":
      return attempts.conclude(
        attempts.call("bpf(BPF_PROG_QUERY)", ["CAP_NET_ADMIN"], () => {
          progQuery(attempts.sys, { target_fd: NO_FD, attach_type });
          return undefined;
        }),
        [EBADF],
      );
    case "load":
      return byLoad(attempts, type, attach_type);
    case "target":
      return probeTracingTarget(attempts, attach_type, type);
    case "load without target":
      return probeWithoutTarget(attempts, attach_type);
    case "map":
      return byMap(attempts, name === "xdp_devmap" ? BPF_MAP_TYPE_DEVMAP : BPF_MAP_TYPE_CPUMAP);
    case "kprobe multi":
      return probeKprobeMulti(attempts, attach_type);
    case "uprobe multi":
      return probeUprobeMulti(attempts, attach_type);
  }
}

/** The number of an attach type. */
export function attachTypeNumber(name: AttachTypeName): number {
  return bpf_attach_type[`BPF_${name.toUpperCase()}` as keyof typeof bpf_attach_type];
}

function attach(
  attempts: Attempts,
  type: ProgTypeName,
  attach_type: number,
  target: { readonly target_fd: number } | { readonly target_ifindex: number },
): Verdict {
  const attempt = attempts.load({ type, attachType: expected(type, attach_type) }, (attach_bpf_fd) =>
    attempts.call("bpf(BPF_PROG_ATTACH)", ["CAP_NET_ADMIN"], () => {
      progAttach(attempts.sys, { ...target, attach_bpf_fd, attach_type });
      return undefined;
    }),
  );
  return attempts.conclude(attempt, [EBADF, ENODEV]);
}

/** Types that are told their attach type at load; the others must not be told, or do not care. */
function expected(type: ProgTypeName, attachType: number): number | undefined {
  return CHECKED_AT_LOAD.includes(type) ? attachType : undefined;
}

const CHECKED_AT_LOAD: readonly ProgTypeName[] = [
  "cgroup_sock",
  "cgroup_sock_addr",
  "cgroup_sockopt",
  "cgroup_skb",
];

/** The kernel came to look at the attach type of these programs with the first of them: before that it takes any. */
function byLoad(attempts: Attempts, type: ProgTypeName, attachType: number): Verdict {
  if (attempts.load({ type, attachType: NO_ATTACH_TYPE }).result >= 0) {
    return no(`the kernel does not look at the attach type of ${type} programs`);
  }
  return attempts.conclude(attempts.load({ type, attachType, more: { prog_flags: PROG_TYPES[type].flags } }));
}

const NO_ATTACH_TYPE = 0xffff;

/** The value of an entry grew from 4 to 8 bytes to hold the program. */
function byMap(attempts: Attempts, map_type: number): Verdict {
  return attempts.conclude(attempts.map({ map_type, key_size: 4, value_size: 8, max_entries: 1 }));
}

const CGROUP = "attach to no descriptor";
const SOCK = { type: "cgroup_sock", by: CGROUP } as const;
const SOCK_ADDR = { type: "cgroup_sock_addr", by: CGROUP } as const;
const TRACING = { type: "tracing", by: "target" } as const;
const MULTI = { type: "tracing", by: "load without target" } as const;
const TC = { type: "sched_cls", by: "attach to no interface" } as const;

/** Every attach type, with how to ask for it. */
export const ATTACH_TYPES: Readonly<Record<AttachTypeName, AttachTypeProbe>> = {
  cgroup_inet_ingress: { since: "4.10", type: "cgroup_skb", by: CGROUP },
  cgroup_inet_egress: { since: "4.10", type: "cgroup_skb", by: CGROUP },
  cgroup_inet_sock_create: { since: "4.10", ...SOCK },
  cgroup_sock_ops: { since: "4.13", type: "sock_ops", by: CGROUP },
  sk_skb_stream_parser: { since: "4.14", type: "sk_skb", by: "attach to no descriptor" },
  sk_skb_stream_verdict: { since: "4.14", type: "sk_skb", by: "attach to no descriptor" },
  cgroup_device: { since: "4.15", type: "cgroup_device", by: CGROUP },
  sk_msg_verdict: { since: "4.17", type: "sk_msg", by: "attach to no descriptor" },
  cgroup_inet4_bind: { since: "4.17", ...SOCK_ADDR },
  cgroup_inet6_bind: { since: "4.17", ...SOCK_ADDR },
  cgroup_inet4_connect: { since: "4.17", ...SOCK_ADDR },
  cgroup_inet6_connect: { since: "4.17", ...SOCK_ADDR },
  cgroup_inet4_post_bind: { since: "4.17", ...SOCK },
  cgroup_inet6_post_bind: { since: "4.17", ...SOCK },
  cgroup_udp4_sendmsg: { since: "4.18", ...SOCK_ADDR },
  cgroup_udp6_sendmsg: { since: "4.18", ...SOCK_ADDR },
  lirc_mode2: { since: "4.18", type: "lirc_mode2", by: "query" },
  flow_dissector: { since: "4.20", type: "flow_dissector", by: "query" },
  cgroup_sysctl: { since: "5.2", type: "cgroup_sysctl", by: CGROUP },
  cgroup_udp4_recvmsg: { since: "5.2", ...SOCK_ADDR },
  cgroup_udp6_recvmsg: { since: "5.2", ...SOCK_ADDR },
  cgroup_getsockopt: { since: "5.3", type: "cgroup_sockopt", by: CGROUP },
  cgroup_setsockopt: { since: "5.3", type: "cgroup_sockopt", by: CGROUP },
  trace_raw_tp: { since: "5.5", ...TRACING },
  trace_fentry: { since: "5.5", ...TRACING },
  trace_fexit: { since: "5.5", ...TRACING },
  modify_return: { since: "5.7", ...TRACING },
  lsm_mac: { since: "5.7", type: "lsm", by: "target" },
  trace_iter: { since: "5.8", ...TRACING },
  cgroup_inet4_getpeername: { since: "5.8", ...SOCK_ADDR },
  cgroup_inet6_getpeername: { since: "5.8", ...SOCK_ADDR },
  cgroup_inet4_getsockname: { since: "5.8", ...SOCK_ADDR },
  cgroup_inet6_getsockname: { since: "5.8", ...SOCK_ADDR },
  xdp_devmap: { since: "5.8", type: "xdp", by: "map" },
  cgroup_inet_sock_release: { since: "5.9", ...SOCK },
  xdp_cpumap: { since: "5.9", type: "xdp", by: "map" },
  sk_lookup: { since: "5.9", type: "sk_lookup", by: "query" },
  xdp: { since: "5.9", type: "xdp", by: { link: "xdp" } },
  sk_skb_verdict: { since: "5.13", type: "sk_skb", by: "attach to no descriptor" },
  sk_reuseport_select: { since: "5.14", type: "sk_reuseport", by: "load" },
  sk_reuseport_select_or_migrate: { since: "5.14", type: "sk_reuseport", by: "load" },
  perf_event: { since: "5.15", type: "perf_event", by: { link: "perf_event" } },
  trace_kprobe_multi: { since: "5.18", type: "kprobe", by: "kprobe multi" },
  lsm_cgroup: { since: "6.0", type: "lsm", by: "target" },
  struct_ops: { since: "6.4", type: "struct_ops", by: { link: "struct_ops" } },
  netfilter: { since: "6.4", type: "netfilter", by: "load" },
  tcx_ingress: { since: "6.6", ...TC },
  tcx_egress: { since: "6.6", ...TC },
  trace_uprobe_multi: { since: "6.6", type: "kprobe", by: "uprobe multi" },
  cgroup_unix_connect: { since: "6.7", ...SOCK_ADDR },
  cgroup_unix_sendmsg: { since: "6.7", ...SOCK_ADDR },
  cgroup_unix_recvmsg: { since: "6.7", ...SOCK_ADDR },
  cgroup_unix_getpeername: { since: "6.7", ...SOCK_ADDR },
  cgroup_unix_getsockname: { since: "6.7", ...SOCK_ADDR },
  netkit_primary: { since: "6.7", ...TC },
  netkit_peer: { since: "6.7", ...TC },
  trace_kprobe_session: { since: "6.10", type: "kprobe", by: "kprobe multi" },
  trace_uprobe_session: { since: "6.13", type: "kprobe", by: "uprobe multi" },
  trace_fsession: { since: "7.0", ...TRACING },
  trace_fentry_multi: { since: "7.2", ...MULTI },
  trace_fexit_multi: { since: "7.2", ...MULTI },
  trace_fsession_multi: { since: "7.2", ...MULTI },
};
