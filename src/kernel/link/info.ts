import { LITTLE_ENDIAN } from "../../base/host.ts";
import { objGetInfoByFd } from "../../syscall/bpf-object.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import {
  BPF_F_KPROBE_MULTI_RETURN,
  BPF_F_UPROBE_MULTI_RETURN,
  BPF_LINK_TYPE_ITER,
  BPF_LINK_TYPE_PERF_EVENT,
  BPF_LINK_TYPE_RAW_TRACEPOINT,
  BPF_LINK_TYPE_UPROBE_MULTI,
  BPF_PERF_EVENT_EVENT,
  BPF_PERF_EVENT_KPROBE,
  BPF_PERF_EVENT_KRETPROBE,
  BPF_PERF_EVENT_TRACEPOINT,
  BPF_PERF_EVENT_UPROBE,
  BPF_PERF_EVENT_URETPROBE,
} from "../../uapi/bpf.ts";
import {
  bpf_link_info as base,
  bpf_link_info_cgroup as cgroup,
  bpf_link_info_iter as iter,
  bpf_link_info_iter_cgroup as iterCgroup,
  bpf_link_info_iter_map as iterMap,
  bpf_link_info_iter_task as iterTask,
  bpf_link_info_kprobe_multi as kprobeMulti,
  bpf_link_info_netfilter as netfilter,
  bpf_link_info_netns as netns,
  bpf_link_info_perf_event as perfEvent,
  bpf_link_info_perf_event_event as perfEventEvent,
  bpf_link_info_perf_event_kprobe as perfEventKprobe,
  bpf_link_info_perf_event_tracepoint as perfEventTracepoint,
  bpf_link_info_perf_event_uprobe as perfEventUprobe,
  bpf_link_info_raw_tracepoint as rawTracepoint,
  bpf_link_info_sockmap as sockmap,
  bpf_link_info_struct_ops as structOps,
  bpf_link_info_tcx as tcx,
  bpf_link_info_tracing as tracing,
  bpf_link_info_uprobe_multi as uprobeMulti,
  bpf_link_info_xdp as xdp,
} from "../../uapi/structs.ts";
import { attachTypeName, linkTypeName } from "./names.ts";

/** What the kernel tells about any link. */
export interface LinkFacts {
  /** `undefined` for an attachment without a `bpf_link`. */
  readonly id: number | undefined;
  /** The program; `undefined` for a struct_ops link, and where the kernel does not tell. */
  readonly progId: number | undefined;
}

/** A link of an interface; `ifindex` is `undefined` after it was detached, or its interface removed. */
export interface XdpLinkInfo extends LinkFacts {
  readonly kind: "xdp";
  /** In its own network namespace, which the kernel does not name. */
  readonly ifindex: number | undefined;
}

/** A program in the list of an interface's hook. */
export interface TcxLinkInfo extends LinkFacts {
  readonly kind: "tcx" | "netkit";
  /** `undefined` after it was detached, or its interface removed. */
  readonly ifindex: number | undefined;
  /** `tcx_ingress`, `tcx_egress`, `netkit_primary`, `netkit_peer`. */
  readonly attachType: string;
}

/** A cls_bpf filter, for which there are no links. */
export interface ClsactInfo {
  readonly kind: "clsact";
  readonly id: undefined;
  readonly progId: number;
  readonly ifindex: number;
  readonly attachType: "ingress" | "egress";
  readonly priority: number;
  readonly handle: number;
}

/** A raw tracepoint, BTF-typed or not. */
export interface RawTracepointLinkInfo extends LinkFacts {
  readonly kind: "raw_tracepoint";
  /** Without its group: `sched_switch`. */
  readonly name: string;
  /** What `bpf_get_attach_cookie` gives the program; 0 where the kernel does not tell (before 6.10). */
  readonly cookie: bigint;
}

/** A program at a kernel function, a security hook, or a function of another program. */
export interface TracingLinkInfo extends LinkFacts {
  readonly kind: "tracing" | "tracing_multi";
  readonly attachType: string;
  /** Id of the BTF object that {@link targetBtfId} is of, or of the program that is traced (kernel 5.13). */
  readonly targetObjectId: number;
  readonly targetBtfId: number;
  readonly cookie: bigint;
}

/** A program of a cgroup. */
export interface CgroupLinkInfo extends LinkFacts {
  readonly kind: "cgroup";
  /** The inode number of the cgroup's directory; `undefined` after it was detached, or the cgroup removed. */
  readonly cgroupId: bigint | undefined;
  readonly attachType: string;
}

/** An iterator. */
export interface IterLinkInfo extends LinkFacts {
  readonly kind: "iter";
  /** What it walks: `task`, `bpf_map_elem`. */
  readonly name: string;
  /** Of `bpf_map_elem` and its kin. */
  readonly mapId?: number;
  /** Of `task` and its kin: the one thread or process; 0 for all. */
  readonly tid?: number;
  readonly pid?: number;
  /** Of `cgroup`: where the walk starts. */
  readonly cgroupId?: bigint;
}

/** A program of a network namespace: `flow_dissector`, `sk_lookup`. */
export interface NetnsLinkInfo extends LinkFacts {
  readonly kind: "netns";
  /** `undefined` after it was detached, or the namespace has ended. */
  readonly netnsInode: number | undefined;
  readonly attachType: string;
}

/** A program at a perf event: a tracepoint, a single probe, a counter. */
export interface PerfEventLinkInfo extends LinkFacts {
  readonly kind: "perf_event";
  /** What sort of event it is, where the kernel tells (6.6). */
  readonly event:
    | { readonly type: "tracepoint"; readonly name: string; readonly cookie: bigint }
    | {
        readonly type: "uprobe" | "uretprobe";
        readonly path: string;
        /** Bytes from the start of the file. */
        readonly offset: number;
        readonly cookie: bigint;
      }
    | {
        readonly type: "kprobe" | "kretprobe";
        readonly function: string;
        readonly offset: number;
        readonly address: bigint;
        /** Calls that came while the probe was busy. */
        readonly missed: bigint;
        readonly cookie: bigint;
      }
    | {
        readonly type: "event";
        /** `PERF_TYPE_*` and what it counts. */
        readonly perfType: number;
        readonly config: bigint;
        readonly cookie: bigint;
      }
    | undefined;
}

/** Many kprobes in one link. */
export interface KprobeMultiLinkInfo extends LinkFacts {
  readonly kind: "kprobe_multi";
  readonly count: number;
  readonly returns: boolean;
  readonly missed: bigint;
}

/** Many uprobes of one file in one link. */
export interface UprobeMultiLinkInfo extends LinkFacts {
  readonly kind: "uprobe_multi";
  readonly path: string;
  readonly count: number;
  readonly returns: boolean;
  /** 0 for every process. */
  readonly pid: number;
}

/** A netfilter hook. */
export interface NetfilterLinkInfo extends LinkFacts {
  readonly kind: "netfilter";
  /** `NFPROTO_*`: 2 IPv4, 10 IPv6. */
  readonly family: number;
  /** `NF_INET_*`: 0 prerouting to 4 postrouting. */
  readonly hook: number;
  readonly priority: number;
  readonly flags: number;
}

/** A program of a map of sockets. */
export interface SockmapLinkInfo extends LinkFacts {
  readonly kind: "sockmap";
  /** `undefined` after it was detached. */
  readonly mapId: number | undefined;
  readonly attachType: string;
}

/** A struct of operations in use. */
export interface StructOpsLinkInfo extends LinkFacts {
  readonly kind: "struct_ops";
  readonly mapId: number | undefined;
}

/** A program that a socket option holds: the kernel tells nothing about it. */
export interface SocketLinkInfo extends LinkFacts {
  readonly kind: "socket_filter" | "sk_reuseport";
}

/** A link type that is newer than this version of tsbpf. */
export interface UnknownLinkInfo extends LinkFacts {
  readonly kind: "unknown";
  /** `BPF_LINK_TYPE_*`. */
  readonly type: number;
}

/** What the kernel tells about a link (`struct bpf_link_info`), by its kind. */
export type LinkInfo =
  | XdpLinkInfo
  | TcxLinkInfo
  | RawTracepointLinkInfo
  | TracingLinkInfo
  | CgroupLinkInfo
  | IterLinkInfo
  | NetnsLinkInfo
  | PerfEventLinkInfo
  | KprobeMultiLinkInfo
  | UprobeMultiLinkInfo
  | NetfilterLinkInfo
  | SockmapLinkInfo
  | StructOpsLinkInfo
  | SocketLinkInfo
  | UnknownLinkInfo;

/** Reads what the kernel tells about a link. @throws SyscallError EINVAL where it tells nothing (before 5.8). */
export function readLinkInfo(sys: Syscalls, fd: number): LinkInfo {
  const first = infoReader();
  objGetInfoByFd(sys, fd, first.bytes);
  const name = NAME_FIELDS[first.u32(base.type)]?.(first.u32(perfEvent.type));
  if (name === undefined) return decodeLinkInfo(first, "");
  // The first call told the type, and where the kernel wants the address of a buffer for the name.
  const buffer = new Uint8Array(PATH_MAX);
  const second = infoReader();
  second.view.setBigUint64(name.pointer, sys.addressOf(buffer), LITTLE_ENDIAN);
  second.view.setUint32(name.length, buffer.length, LITTLE_ENDIAN);
  objGetInfoByFd(sys, fd, second.bytes, [buffer]);
  const end = buffer.indexOf(0);
  return decodeLinkInfo(second, new TextDecoder().decode(end < 0 ? buffer : buffer.subarray(0, end)));
}

/** Reads a `struct bpf_link_info`. @param name - the text that its pointer field points to. */
export function decodeLinkInfo(info: InfoReader, name: string): LinkInfo {
  const { u32, s32, u64 } = info;
  const type = u32(base.type);
  const facts = { id: u32(base.id), progId: orNone(u32(base.prog_id)) };
  const kind = linkTypeName(type);
  switch (kind) {
    case "xdp":
      return { ...facts, kind, ifindex: orNone(u32(xdp.ifindex)) };
    case "tcx":
    case "netkit": // the same two fields
      return {
        ...facts,
        kind,
        ifindex: orNone(u32(tcx.ifindex)),
        attachType: attachTypeName(u32(tcx.attach_type)),
      };
    case "raw_tracepoint":
      return { ...facts, kind, name, cookie: u64(rawTracepoint.cookie) };
    case "tracing":
    case "tracing_multi":
      return {
        ...facts,
        kind,
        attachType: attachTypeName(u32(tracing.attach_type)),
        targetObjectId: u32(tracing.target_obj_id),
        targetBtfId: u32(tracing.target_btf_id),
        cookie: u64(tracing.cookie),
      };
    case "cgroup":
      return {
        ...facts,
        kind,
        cgroupId: orNone(u64(cgroup.cgroup_id)),
        attachType: attachTypeName(u32(cgroup.attach_type)),
      };
    case "iter":
      return { ...facts, kind, name, ...decodeIterTarget(info, name) };
    case "netns":
      return {
        ...facts,
        kind,
        netnsInode: orNone(u32(netns.netns_ino)),
        attachType: attachTypeName(u32(netns.attach_type)),
      };
    case "perf_event":
      return { ...facts, kind, event: decodePerfEvent(info, name) };
    case "kprobe_multi":
      return {
        ...facts,
        kind,
        count: u32(kprobeMulti.count),
        returns: (u32(kprobeMulti.flags) & BPF_F_KPROBE_MULTI_RETURN) !== 0,
        missed: u64(kprobeMulti.missed),
      };
    case "uprobe_multi":
      return {
        ...facts,
        kind,
        path: name,
        count: u32(uprobeMulti.count),
        returns: (u32(uprobeMulti.flags) & BPF_F_UPROBE_MULTI_RETURN) !== 0,
        pid: u32(uprobeMulti.pid),
      };
    case "netfilter":
      return {
        ...facts,
        kind,
        family: u32(netfilter.pf),
        hook: u32(netfilter.hooknum),
        priority: s32(netfilter.priority),
        flags: u32(netfilter.flags),
      };
    case "sockmap":
      return {
        ...facts,
        kind,
        mapId: orNone(u32(sockmap.map_id)),
        attachType: attachTypeName(u32(sockmap.attach_type)),
      };
    case "struct_ops":
      return { ...facts, kind, mapId: orNone(u32(structOps.map_id)) };
    case undefined:
      return { ...facts, kind: "unknown", type };
  }
}

/** A `struct bpf_link_info`, in host byte order. */
export interface InfoReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly u32: (offset: number) => number;
  readonly s32: (offset: number) => number;
  readonly u64: (offset: number) => bigint;
}

/** Reads the fields of a `struct bpf_link_info`. */
export function infoReader(bytes: Uint8Array = new Uint8Array(base.size)): InfoReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    bytes,
    view,
    u32: (offset) => view.getUint32(offset, LITTLE_ENDIAN),
    s32: (offset) => view.getInt32(offset, LITTLE_ENDIAN),
    u64: (offset) => view.getBigUint64(offset, LITTLE_ENDIAN),
  };
}

/** Longer than any name that the kernel copies: a path. */
const PATH_MAX = 4096;

/** Where a type of link takes the address and the length of a buffer for a name. */
interface NameField {
  readonly pointer: number;
  readonly length: number;
}

/** By `BPF_LINK_TYPE_*`, and by the type of a perf event. */
const NAME_FIELDS: Readonly<Record<number, (event: number) => NameField | undefined>> = {
  [BPF_LINK_TYPE_RAW_TRACEPOINT]: () => ({
    pointer: rawTracepoint.tp_name,
    length: rawTracepoint.tp_name_len,
  }),
  [BPF_LINK_TYPE_ITER]: () => ({ pointer: iter.target_name, length: iter.target_name_len }),
  [BPF_LINK_TYPE_PERF_EVENT]: (event) => PERF_NAME_FIELDS[event],
  [BPF_LINK_TYPE_UPROBE_MULTI]: () => ({ pointer: uprobeMulti.path, length: uprobeMulti.path_size }),
};

const UPROBE_NAME: NameField = { pointer: perfEventUprobe.file_name, length: perfEventUprobe.name_len };
const KPROBE_NAME: NameField = { pointer: perfEventKprobe.func_name, length: perfEventKprobe.name_len };

const PERF_NAME_FIELDS: Readonly<Record<number, NameField>> = {
  [BPF_PERF_EVENT_UPROBE]: UPROBE_NAME,
  [BPF_PERF_EVENT_URETPROBE]: UPROBE_NAME,
  [BPF_PERF_EVENT_KPROBE]: KPROBE_NAME,
  [BPF_PERF_EVENT_KRETPROBE]: KPROBE_NAME,
  [BPF_PERF_EVENT_TRACEPOINT]: {
    pointer: perfEventTracepoint.tp_name,
    length: perfEventTracepoint.name_len,
  },
};

function decodePerfEvent({ u32, u64 }: InfoReader, name: string): PerfEventLinkInfo["event"] {
  const type = u32(perfEvent.type);
  switch (type) {
    case BPF_PERF_EVENT_TRACEPOINT:
      return { type: "tracepoint", name, cookie: u64(perfEventTracepoint.cookie) };
    case BPF_PERF_EVENT_UPROBE:
    case BPF_PERF_EVENT_URETPROBE:
      return {
        type: type === BPF_PERF_EVENT_UPROBE ? "uprobe" : "uretprobe",
        path: name,
        offset: u32(perfEventUprobe.offset),
        cookie: u64(perfEventUprobe.cookie),
      };
    case BPF_PERF_EVENT_KPROBE:
    case BPF_PERF_EVENT_KRETPROBE:
      return {
        type: type === BPF_PERF_EVENT_KPROBE ? "kprobe" : "kretprobe",
        function: name,
        offset: u32(perfEventKprobe.offset),
        address: u64(perfEventKprobe.addr),
        missed: u64(perfEventKprobe.missed),
        cookie: u64(perfEventKprobe.cookie),
      };
    case BPF_PERF_EVENT_EVENT:
      return {
        type: "event",
        perfType: u32(perfEventEvent.type),
        config: u64(perfEventEvent.config),
        cookie: u64(perfEventEvent.cookie),
      };
    default:
      return undefined;
  }
}

function decodeIterTarget({ u32, u64 }: InfoReader, name: string): Partial<IterLinkInfo> {
  if (name.startsWith("task")) return { tid: u32(iterTask.tid), pid: u32(iterTask.pid) };
  if (name === "cgroup") return { cgroupId: u64(iterCgroup.cgroup_id) };
  return MAP_ITERATORS.includes(name) ? { mapId: u32(iterMap.map_id) } : {};
}

const MAP_ITERATORS = ["bpf_map_elem", "bpf_sk_storage_map", "sockmap"];

/** The kernel writes 0 for what is gone. */
function orNone<N extends number | bigint>(value: N): N | undefined {
  return value === 0 || value === 0n ? undefined : value;
}
