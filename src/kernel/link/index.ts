/**
 * Attachments with one vocabulary: `attachXxx(program, target, options)` gives a `Link`, which is updated, detached, pinned,
 * described and closed alike, whatever it hangs on; and listings of what is attached where.
 */

export { type Attached, type ListAttachmentsOptions, listAttachments } from "./attachments.ts";
export { BpfLink } from "./bpf-link.ts";
export { type AttachCgroupOptions, attachCgroup, type CgroupAttachType } from "./cgroup.ts";
export type {
  CgroupLinkInfo,
  ClsactInfo,
  IterLinkInfo,
  KprobeMultiLinkInfo,
  LinkFacts,
  LinkInfo,
  NetfilterLinkInfo,
  NetnsLinkInfo,
  PerfEventLinkInfo,
  RawTracepointLinkInfo,
  SocketLinkInfo,
  SockmapLinkInfo,
  StructOpsLinkInfo,
  TcxLinkInfo,
  TracingLinkInfo,
  UnknownLinkInfo,
  UprobeMultiLinkInfo,
  XdpLinkInfo,
} from "./info.ts";
export {
  type AttachNetkitOptions,
  type AttachTcxLinkOptions,
  type AttachXdpLinkOptions,
  attachNetkit,
  attachTcxLink,
  attachXdpLink,
  type XdpLink,
} from "./interface.ts";
export { attachIterator, type CgroupOrder, type IteratorLink, type IteratorTarget } from "./iterator.ts";
export {
  type AttachKprobeMultiOptions,
  type AttachKprobeOptions,
  attachKprobe,
  attachKprobeMulti,
  type KprobeTarget,
} from "./kprobe.ts";
export type { Link, LinkKind, UpdateOptions } from "./link.ts";
export type { LinkTypeName } from "./names.ts";
export { attachNetfilter, type NetfilterTarget } from "./netfilter.ts";
export { attachFlowDissector, attachSkLookup } from "./network-namespace.ts";
export { linkFromId, listLinks, openLink } from "./open.ts";
export {
  type AttachPerfEventOptions,
  attachPerfEvent,
  attachPerfEventOnEachCpu,
  type HardwareCounter,
  type LinkSet,
  type PerfCounter,
  type SoftwareCounter,
} from "./perf-event.ts";
export type { Neighbour, Position } from "./position.ts";
export type { ProgramSummary } from "./program-names.ts";
export { type Hook, type HookPrograms, queryHook } from "./query.ts";
export { attachReuseport, attachSocketFilter } from "./socket.ts";
export { type AttachSockmapOptions, attachSockmap, type SockmapAttachType } from "./sockmap.ts";
export { attachStructOps, type StructOps, type StructOpsLink } from "./struct-ops.ts";
export { attachRawTracepoint, attachTracepoint, type CookieOptions } from "./tracepoint.ts";
export { attachTracing } from "./tracing.ts";
export {
  type AttachUprobeMultiOptions,
  type AttachUprobeOptions,
  attachUprobe,
  attachUprobeMulti,
  readElfFunctions,
  type UprobeMultiTarget,
  type UprobeTarget,
} from "./uprobe.ts";
export type { NetnsName } from "./walk-netns.ts";
