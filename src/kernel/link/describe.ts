import type { Attached } from "./attachments.ts";
import { netfilterFamilyName, netfilterHookName } from "./netfilter.ts";

/** Where a program is attached, in a few words. */
export function describePlace({
  info,
  device,
  netns,
  cgroup,
  functionName,
  pid,
}: Omit<Attached, "where" | "program">): string {
  const on = (ifindex: number | undefined): string =>
    ifindex === undefined ? "(detached)" : `${device ?? `interface ${ifindex}`}${inNetns(netns)}`;
  switch (info.kind) {
    case "xdp":
      return `${on(info.ifindex)} xdp`;
    case "tcx":
    case "netkit":
    case "clsact":
      return `${on(info.ifindex)} ${info.kind === "clsact" ? `clsact ${info.attachType}` : info.attachType}`;
    case "cgroup":
      return `${cgroup ?? (info.cgroupId === undefined ? "(detached)" : `cgroup ${info.cgroupId}`)} ${info.attachType}`;
    case "netns":
      return `${netnsText(info.netnsInode, netns)} ${info.attachType}`;
    case "raw_tracepoint":
      return `raw tracepoint ${info.name}`;
    case "tracing":
    case "tracing_multi":
      return `${info.attachType} ${functionName ?? `(BTF ${info.targetObjectId}, type ${info.targetBtfId})`}`;
    case "iter":
      return `iterator ${info.name}`;
    case "perf_event":
      return `${describeEvent(info.event)}${pid === undefined ? "" : ` (process ${pid})`}`;
    case "kprobe_multi":
      return `${info.count} ${info.returns ? "kretprobes" : "kprobes"}`;
    case "uprobe_multi":
      return `${info.count} ${info.returns ? "uretprobes" : "uprobes"} of ${info.path}`;
    case "netfilter":
      return `netfilter ${netfilterFamilyName(info.family)} ${netfilterHookName(info.hook)} priority ${info.priority}`;
    case "sockmap":
      return `${info.mapId === undefined ? "(detached)" : `map ${info.mapId}`} ${info.attachType}`;
    case "struct_ops":
      return info.mapId === undefined ? "(detached) struct_ops" : `struct_ops map ${info.mapId}`;
    case "socket_filter":
    case "sk_reuseport":
      return info.kind;
    case "unknown":
      return `link of type ${info.type}`;
  }
}

type Event = Extract<Attached["info"], { kind: "perf_event" }>["event"];

function describeEvent(event: Event): string {
  switch (event?.type) {
    case undefined:
      return "perf event";
    case "tracepoint":
      return `tracepoint ${event.name}`;
    case "uprobe":
    case "uretprobe":
      return `${event.type} ${event.path}+0x${event.offset.toString(16)}`;
    case "kprobe":
    case "kretprobe":
      return `${event.type} ${event.function}${event.offset === 0 ? "" : `+0x${event.offset.toString(16)}`}`;
    case "event":
      return `perf event ${event.perfType}/${event.config}`;
  }
}

function inNetns(netns: Attached["netns"]): string {
  return netns === undefined || netns.current ? "" : `@${netns.name ?? `net:[${netns.inode}]`}`;
}

function netnsText(inode: number | undefined, netns: Attached["netns"]): string {
  return inode === undefined ? "(detached)" : `netns ${netns?.name ?? `net:[${inode}]`}`;
}
