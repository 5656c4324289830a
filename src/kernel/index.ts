// Objects of the running kernel with a lifetime: maps, programs, attachments, logs; what the kernel tells about them, and
// why it refuses. Everything that needs Linux is here and in `syscall`. May import node: modules, base, uapi, btf, asm and
// syscall. Maps, programs and attachments own what they hold: close them, or declare them with `using`.

export { TsbpfError } from "../base/error.ts";
export { SyscallError } from "../syscall/errno.ts";
export { FdClosedError } from "../syscall/fd.ts";
export { linuxSyscalls, UnsupportedPlatformError } from "../syscall/ffi.ts";
export { NetlinkError } from "../syscall/netlink.ts";
export type { Syscalls } from "../syscall/syscalls.ts";
export { ArenaMemory } from "./arena.ts";
export type { AttachTo } from "./attach-target.ts";
export { AttachError, type Attachment } from "./attachment.ts";
export { type Cpus, formatCpuList, parseCpuList, readCpus } from "./cpus.ts";
export {
  type BatchOptions,
  countLost,
  EventReader,
  type EventReaders,
  type LostCounter,
  lostCounter,
  mergeEvents,
  type NamedRecord,
  PerfBuffer,
  type PerfBufferOptions,
  type PerfMap,
  type RawSampleVisitor,
  type RawVisitor,
  RingBuffer,
  type RingBufferOptions,
  RingCorruptError,
  ringbufOutput,
  UserRingBuffer,
  type UserRingSlot,
  type WaitOptions,
} from "./events/index.ts";
export {
  ABILITIES,
  type Ability,
  type Answer,
  ATTACH_TYPES,
  BTF_FEATURES,
  type BtfFeature,
  createProber,
  FEATURE_GROUPS,
  type FeatureGroup,
  type FeatureReport,
  helperSince,
  ISA_FEATURES,
  type IsaFeature,
  LINK_TYPES,
  type LinkTypeName as ProbedLinkType,
  MAP_TYPES,
  PROG_TYPES,
  type ProbedMapType,
  type Prober,
  probeFeatures,
  requireFeature,
} from "./features/index.ts";
export {
  ensureFilesystem,
  findFilesystem,
  type KernelFilesystem,
  releaseFilesystem,
} from "./filesystems.ts";
export { GlobalData, type Variables } from "./global-data.ts";
export {
  functionArguments,
  type KernelLayoutOptions,
  kernelLayout,
  tracepointArguments,
} from "./kernel-layout.ts";
export { hasKernelStruct, kernelEnum, kernelStruct } from "./kernel-types.ts";
export { findKfunc } from "./kfunc.ts";
export {
  type AttachCgroupOptions,
  type Attached,
  type AttachKprobeMultiOptions,
  type AttachKprobeOptions,
  type AttachNetkitOptions,
  type AttachPerfEventOptions,
  type AttachSockmapOptions,
  type AttachTcxLinkOptions,
  type AttachUprobeMultiOptions,
  type AttachUprobeOptions,
  type AttachXdpLinkOptions,
  attachCgroup,
  attachFlowDissector,
  attachIterator,
  attachKprobe,
  attachKprobeMulti,
  attachNetfilter,
  attachNetkit,
  attachPerfEvent,
  attachPerfEventOnEachCpu,
  attachRawTracepoint,
  attachReuseport,
  attachSkLookup,
  attachSocketFilter,
  attachSockmap,
  attachStructOps,
  attachTcxLink,
  attachTracepoint,
  attachTracing,
  attachUprobe,
  attachUprobeMulti,
  attachXdpLink,
  BpfLink,
  type CgroupAttachType,
  type CgroupLinkInfo,
  type CgroupOrder,
  type ClsactInfo,
  type CookieOptions,
  type HardwareCounter,
  type Hook,
  type HookPrograms,
  type IteratorLink,
  type IteratorTarget,
  type IterLinkInfo,
  type KprobeMultiLinkInfo,
  type KprobeTarget,
  type Link,
  type LinkFacts,
  type LinkInfo,
  type LinkKind,
  type LinkSet,
  type LinkTypeName,
  type ListAttachmentsOptions,
  linkFromId,
  listAttachments,
  listLinks,
  type Neighbour,
  type NetfilterLinkInfo,
  type NetfilterTarget,
  type NetnsLinkInfo,
  type NetnsName,
  openLink,
  type PerfCounter,
  type PerfEventLinkInfo,
  type Position,
  type ProgramSummary,
  queryHook,
  type RawTracepointLinkInfo,
  readElfFunctions,
  type SocketLinkInfo,
  type SockmapAttachType,
  type SockmapLinkInfo,
  type SoftwareCounter,
  type StructOps,
  type StructOpsLink,
  type StructOpsLinkInfo,
  type TcxLinkInfo,
  type TracingLinkInfo,
  type UnknownLinkInfo,
  type UpdateOptions,
  type UprobeMultiLinkInfo,
  type UprobeMultiTarget,
  type UprobeTarget,
  type XdpLink,
  type XdpLinkInfo,
} from "./link/index.ts";
export { listMaps, listPrograms } from "./list-objects.ts";
export {
  BpfMap,
  type KernelOptions,
  type MapFrom,
  type MapInput,
  type OwnsFd,
  type QueueMapType,
} from "./map.ts";
export type { BatchCursor, BatchMapType, BatchRange, MapBatch, TakeMapType } from "./map-batch.ts";
export type { FdMapType, MapOfMapsType } from "./map-type.ts";
export type { MapValue, PerCpuMapType } from "./map-value.ts";
export { MappedArray, type MappedArrayOptions } from "./mapped-array.ts";
export { createMetadata, type Metadata, type MetadataMap, readMetadata } from "./metadata.ts";
export { type KernelPlace, type KernelSymbol, moduleBtf } from "./module-btf.ts";
export { enterCommand, findNetnsById, listNetns, type NetnsPlace } from "./namespaces.ts";
export type { MapInfo, ProgramInfo } from "./object-info.ts";
export { type Capability, heldCapabilities } from "./privileges.ts";
export { BpfProgram, type LoadOptions } from "./program.ts";
export { type ProgramTags, programTags } from "./program-tag.ts";
export { measureRuns } from "./run-stats.ts";
export { type AttachedTc, type AttachTcOptions, attachTc } from "./tc/attach.ts";
export { type Bpftool, bpftoolBackend, type FoundBpftool, findBpftool } from "./tc/bpftool.ts";
export { type BackendNeeds, type ChosenBackend, chooseTcBackend } from "./tc/choose.ts";
export { clsactBackend, deleteClsactIfEmpty } from "./tc/clsact.ts";
export type { Device, TcAttachment, TcBackend, TcBackendName, TcHook } from "./tc/hook.ts";
export { detachTc, listTc } from "./tc/list.ts";
export { kernelHasTcx, tcxBackend } from "./tc/tcx.ts";
export { type TestRunOptions, type TestRunResult, xdpTestContext } from "./test-run.ts";
export { type TraceEvent, type TraceLine, TraceLog, type TraceLogOptions } from "./trace-log.ts";
export { tracepointLayout } from "./tracepoint-layout.ts";
export { UnsupportedError, type UnsupportedOptions } from "./unsupported.ts";
export type { HintId } from "./verifier/hint.ts";
export type { VerifierReport } from "./verifier/log.ts";
export { VerifierError } from "./verifier-error.ts";
export {
  atVethPeer,
  findVethPeer,
  fixVethChecksum,
  type HiddenVethPeer,
  type VethChecksumTrap,
  type VethPeer,
  vethChecksumTrap,
} from "./veth.ts";
export { ksymId, vmlinuxBtf } from "./vmlinux.ts";
export { type AttachXdpOptions, attachXdp, detachXdp, type XdpAttachment, type XdpMode } from "./xdp.ts";
