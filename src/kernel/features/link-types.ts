import { type LinkCreateAttr, linkCreate } from "../../syscall/bpf-link.ts";
import { objGetInfoByFd } from "../../syscall/bpf-object.ts";
import { rawTracepointOpen } from "../../syscall/bpf-prog.ts";
import {
  BPF_CGROUP_INET_INGRESS,
  BPF_F_LINK,
  BPF_FLOW_DISSECTOR,
  BPF_MAP_TYPE_STRUCT_OPS,
  BPF_NETFILTER,
  BPF_NETKIT_PRIMARY,
  BPF_PERF_EVENT,
  BPF_SK_MSG_VERDICT,
  BPF_TCX_INGRESS,
  BPF_TRACE_FENTRY_MULTI,
  BPF_TRACE_ITER,
  BPF_TRACE_KPROBE_MULTI,
  BPF_TRACE_RAW_TP,
  BPF_TRACE_UPROBE_MULTI,
  BPF_XDP,
  type bpf_link_type,
} from "../../uapi/bpf.ts";
import { EAFNOSUPPORT, EBADF, ENODEV, ENOENT, ENOTSUPP, EOPNOTSUPP, ESRCH } from "../../uapi/errno.ts";
import { XDP_FLAGS_HW_MODE } from "../../uapi/netlink.ts";
import type { Verdict } from "./answer.ts";
import { type Attempt, type Attempts, type LoadSpec, NO_FD, NO_IFINDEX } from "./attempt.ts";
import { probeWithoutTarget, targetId } from "./tracing-target.ts";

/** Name of a link type: that of the kernel, in lower case without `BPF_LINK_TYPE_`. */
export type LinkTypeName = keyof typeof bpf_link_type extends `BPF_LINK_TYPE_${infer Name}`
  ? Exclude<Lowercase<Name>, "unspec">
  : never;

/** How a type of link is asked for. */
export interface LinkTypeProbe {
  /** The kernel that brought it. */
  readonly since: string;
  /** Tries it; nothing stays attached. */
  readonly probe: (attempts: Attempts) => Verdict;
}

/**
 * Whether the kernel has this type of link. Where it can be, the attachment is asked for with a target that does not exist:
 * a kernel that has the type complains about the target, any other about the type, and nothing is attached.
 */
export function probeLinkType(attempts: Attempts, type: LinkTypeName): Verdict {
  return LINK_TYPES[type].probe(attempts);
}

/** A multi-kprobe of a symbol that there is none of; also for sessions. */
export function probeKprobeMulti(attempts: Attempts, attach_type: number): Verdict {
  return targetless(
    attempts,
    { type: "kprobe", attachType: attach_type },
    { attach_type, kprobe_multi: { syms: ["tsbpf_no_such_symbol"] } },
    [ESRCH, ENOENT],
  );
}

/** A multi-uprobe of a directory, which is no file to probe; also for sessions. */
export function probeUprobeMulti(attempts: Attempts, attach_type: number): Verdict {
  return targetless(
    attempts,
    { type: "kprobe", attachType: attach_type },
    { attach_type, uprobe_multi: { path: "/", offsets: BigUint64Array.of(0n) } },
    [EBADF],
  );
}

/** Every link type, with how to ask for it. */
export const LINK_TYPES: Readonly<Record<LinkTypeName, LinkTypeProbe>> = {
  raw_tracepoint: {
    since: "5.8",
    probe: (attempts) =>
      attempts.conclude(
        attempts.load({ type: "raw_tracepoint" }, (prog_fd) =>
          openTracepoint(attempts, prog_fd, "xdp_exception"),
        ),
      ),
  },
  tracing: {
    since: "5.8",
    probe: (attempts) =>
      withTarget(
        attempts,
        { kind: "typedef", name: "btf_trace_xdp_exception" },
        BPF_TRACE_RAW_TP,
        (prog_fd) => openTracepoint(attempts, prog_fd),
      ),
  },
  cgroup: {
    since: "5.7",
    probe: (attempts) =>
      targetless(attempts, { type: "cgroup_skb" }, { attach_type: BPF_CGROUP_INET_INGRESS }, [EBADF]),
  },
  iter: {
    since: "5.8",
    probe: (attempts) =>
      withTarget(attempts, { kind: "func", name: "bpf_iter_bpf_map" }, BPF_TRACE_ITER, (prog_fd) =>
        createLink(attempts, { prog_fd, attach_type: BPF_TRACE_ITER }),
      ),
  },
  netns: {
    since: "5.8",
    probe: (attempts) =>
      targetless(attempts, { type: "flow_dissector" }, { attach_type: BPF_FLOW_DISSECTOR }, [EBADF]),
  },
  xdp: { since: "5.9", probe: probeXdpLink },
  perf_event: {
    since: "5.15",
    probe: (attempts) =>
      targetless(attempts, { type: "perf_event" }, { attach_type: BPF_PERF_EVENT }, [EBADF]),
  },
  kprobe_multi: { since: "5.18", probe: (attempts) => probeKprobeMulti(attempts, BPF_TRACE_KPROBE_MULTI) },
  struct_ops: { since: "6.4", probe: probeStructOpsLink },
  netfilter: {
    since: "6.4",
    probe: (attempts) =>
      targetless(
        attempts,
        { type: "netfilter", attachType: BPF_NETFILTER },
        { attach_type: BPF_NETFILTER, netfilter: { pf: 0xffff, hooknum: 0, priority: 0 } },
        [EAFNOSUPPORT],
      ),
  },
  tcx: {
    since: "6.6",
    probe: (attempts) =>
      targetless(
        attempts,
        { type: "sched_cls" },
        { attach_type: BPF_TCX_INGRESS, target_ifindex: NO_IFINDEX },
        [ENODEV],
      ),
  },
  uprobe_multi: { since: "6.6", probe: (attempts) => probeUprobeMulti(attempts, BPF_TRACE_UPROBE_MULTI) },
  netkit: {
    since: "6.7",
    probe: (attempts) =>
      targetless(
        attempts,
        { type: "sched_cls" },
        { attach_type: BPF_NETKIT_PRIMARY, target_ifindex: NO_IFINDEX },
        [ENODEV],
      ),
  },
  sockmap: {
    since: "6.10",
    probe: (attempts) =>
      targetless(attempts, { type: "sk_msg" }, { attach_type: BPF_SK_MSG_VERDICT }, [EBADF]),
  },
  tracing_multi: { since: "7.2", probe: (attempts) => probeWithoutTarget(attempts, BPF_TRACE_FENTRY_MULTI) },
};

/** Asks for a link to something that does not exist. */
function targetless(
  attempts: Attempts,
  spec: LoadSpec,
  link: Omit<LinkCreateAttr, "prog_fd">,
  yesTo: readonly number[],
): Verdict {
  const target = link.target_ifindex === undefined ? { target_fd: NO_FD } : {};
  return attempts.conclude(
    attempts.load(spec, (prog_fd) => createLink(attempts, { ...target, ...link, prog_fd } as LinkCreateAttr)),
    yesTo,
  );
}

function createLink(attempts: Attempts, attr: LinkCreateAttr): Attempt {
  return attempts.call("bpf(BPF_LINK_CREATE)", ["CAP_NET_ADMIN"], () => linkCreate(attempts.sys, attr));
}

/** Attaches to a tracepoint that hardly ever fires, for as long as it takes to see that the attachment is a link. */
function openTracepoint(attempts: Attempts, prog_fd: number, name?: string): Attempt {
  return attempts.call("bpf(BPF_OBJ_GET_INFO_BY_FD)", ["CAP_PERFMON"], () => {
    const fd = rawTracepointOpen(attempts.sys, { prog_fd, name });
    try {
      objGetInfoByFd(attempts.sys, fd, new Uint8Array(INFO_SIZE));
    } finally {
      attempts.sys.close(fd);
    }
    return undefined;
  });
}

/** Enough of `struct bpf_link_info` for its type and ids. */
const INFO_SIZE = 16;

function withTarget(
  attempts: Attempts,
  target: Parameters<typeof targetId>[0],
  attachType: number,
  use: (fd: number) => Attempt,
): Verdict {
  const id = targetId(target);
  if (typeof id !== "number") return id;
  return attempts.conclude(attempts.load({ type: "tracing", attachType, more: { attach_btf_id: id } }, use));
}

/**
 * An interface that does not exist gives the same EINVAL as an unknown type of link. So it is asked for on the loopback
 * interface, to run in the hardware, which that one has not: refused before anything of the interface is touched.
 */
function probeXdpLink(attempts: Attempts): Verdict {
  return targetless(
    attempts,
    { type: "xdp" },
    { attach_type: BPF_XDP, target_ifindex: LOOPBACK, flags: XDP_FLAGS_HW_MODE },
    [EOPNOTSUPP],
  );
}

/** The loopback interface is the first of every network namespace. */
const LOOPBACK = 1;

/** The flag of a map that will be attached with a link came with the link; type 1 of the kernel's BTF is none to attach. */
function probeStructOpsLink(attempts: Attempts): Verdict {
  const attr = {
    map_type: BPF_MAP_TYPE_STRUCT_OPS,
    key_size: 4,
    value_size: 4,
    max_entries: 1,
    map_flags: BPF_F_LINK,
    btf_vmlinux_value_type_id: 1,
  };
  return attempts.conclude(attempts.map(attr), [ENOTSUPP]);
}
