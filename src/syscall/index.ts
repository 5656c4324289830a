// The only layer that talks to the kernel: system calls through koffi (ffi.ts, nowhere else), bpf(2) commands as
// functions, netlink, namespaces, mounts. Everything takes a `Syscalls` as its first argument, so that a test can make
// the nth call fail. May import node: modules, base and uapi; knows nothing of maps, programs and links as objects.

export { AttrError, type AttrLayout, BpfAttr, bytesOf, cString } from "./attr.ts";
export { type BpfCmd, bpf, bpfOrNone, bpfRaw, enumName } from "./bpf.ts";
export {
  iterCreate,
  type KprobeMulti,
  type LinkCreateAttr,
  type LinkPosition,
  type LinkUpdateAttr,
  linkCreate,
  linkDetach,
  linkUpdate,
  type UprobeMulti,
} from "./bpf-link.ts";
export {
  type MapBatchAttr,
  type MapCreateAttr,
  type MapElement,
  type MapLookupBatchAttr,
  type MapLookupBatchResult,
  mapCreate,
  mapDeleteBatch,
  mapDeleteElem,
  mapElement,
  mapFreeze,
  mapGetNextKey,
  mapLookupAndDeleteBatch,
  mapLookupAndDeleteElem,
  mapLookupBatch,
  mapLookupElem,
  mapUpdateBatch,
  mapUpdateElem,
} from "./bpf-map.ts";
export {
  type BtfLoadAttr,
  btfGetFdById,
  btfGetNextId,
  btfLoad,
  enableStats,
  linkGetFdById,
  linkGetNextId,
  mapGetFdById,
  mapGetNextId,
  type ObjGetAttr,
  type ObjPinAttr,
  objGet,
  objGetInfoByFd,
  objPin,
  progGetFdById,
  progGetNextId,
  type TaskFdQueryResult,
  taskFdQuery,
} from "./bpf-object.ts";
export {
  type AttachedProg,
  type AttachTarget,
  type LoadResult,
  type ProgAttachAttr,
  type ProgLoadAttr,
  type ProgQueryAttr,
  type ProgQueryResult,
  type ProgRecords,
  type ProgTestRunAttr,
  type ProgTestRunResult,
  progAttach,
  progBindMap,
  progDetach,
  progLoad,
  progQuery,
  progTestRun,
  type RawTracepointOpenAttr,
  rawTracepointOpen,
} from "./bpf-prog.ts";
export {
  check,
  describeErrno,
  errnoName,
  errnoNumber,
  errnoText,
  formatArgs,
  type SyscallArgs,
  SyscallError,
  type SyscallErrorOptions,
} from "./errno.ts";
export {
  type DriverInfo,
  driverInfo,
  gro,
  setGro,
  setTxChecksumOffload,
  txChecksumOffload,
} from "./ethtool.ts";
export { type Channels, channels, largeReceiveOffload } from "./ethtool-channels.ts";
export {
  Fd,
  FdClosedError,
  type FdLeak,
  FdLeakError,
  type FdLeakTracer,
  type FdTracker,
  fdLeakTracer,
} from "./fd.ts";
export { linuxSyscalls, UnsupportedPlatformError } from "./ffi.ts";
export { MemoryMap } from "./memory-map.ts";
export { filesystemMagic, isBpffs, isTracefs, mountBpffs, mountTracefs, unmount } from "./mount.ts";
export { genlFamilyId, type NetdevXdpFeatures, netdevXdpFeatures } from "./netdev-genl.ts";
export {
  NetlinkError,
  type NetlinkOptions,
  NetlinkSocket,
  type NlReply,
  type NlRequest,
} from "./netlink.ts";
export {
  attrBytes,
  attrNested,
  attrS32,
  attrString,
  attrU32,
  concatBytes,
  NetlinkFormatError,
  type NlAttr,
  NlAttrs,
  type NlMessage,
} from "./netlink-message.ts";
export {
  currentNetnsInode,
  type NetnsRef,
  NetnsRestoreError,
  netnsInode,
  openCurrentNetns,
  openNetns,
  withNetns,
} from "./netns.ts";
export { nsidOf } from "./nsid.ts";
export {
  type PerfEventAttr,
  type PerfEventBit,
  type PerfEventTarget,
  perfEventDisable,
  perfEventEnable,
  perfEventOpen,
  perfEventSetBpf,
} from "./perf-event.ts";
export {
  type Link,
  linkByIndex,
  linkByName,
  listLinks,
  type SetXdp,
  setXdp,
  type XdpState,
  type XdpStateMode,
} from "./rtnetlink.ts";
export { sockaddrUnixAbstract, tryLock } from "./socket.ts";
export type { FdWatch, PollFd, RawMapping, Syscalls } from "./syscalls.ts";
export {
  type AddBpfFilter,
  addBpfFilter,
  addClsact,
  type ClsactOrigin,
  deleteClsact,
  deleteFilter,
  hasClsact,
  listFilters,
  replaceBpfFilter,
  type TcBpfFilter,
  type TcDirection,
  type TcFilter,
  type TcFilterId,
} from "./tc-netlink.ts";
