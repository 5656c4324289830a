/**
 * The structured language: programs in typed TypeScript, compiled to instructions. Pure: no I/O, runs in a browser. Imports
 * only base, uapi, btf and asm. The result is a `Program` like those of `tsbpf/asm`.
 */

export {
  TC_ACT_OK,
  TC_ACT_PIPE,
  TC_ACT_REDIRECT,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_UNSPEC,
  type TcAction,
  XDP_ABORTED,
  XDP_DROP,
  XDP_PASS,
  XDP_REDIRECT,
  XDP_TX,
  type XdpAction,
} from "./actions.ts";
export {
  rawTracepointContext,
  skbContext,
  skLookupContext,
  sockAddrContext,
  sockContext,
  xdpContext,
} from "./context.ts";
export type { If } from "./control.ts";
export { LangError } from "./error.ts";
export type { KeyView } from "./for-each.ts";
export {
  type ArgumentsIn,
  type ArgumentsOf,
  type Calls,
  type FunctionScope,
  func,
  type LangFunction,
  type MustReturn,
} from "./function.ts";
export {
  acquired,
  type Kfunc,
  type KfuncOptions,
  type KfuncParam,
  type KfuncResult,
  type Kfuncs,
  kernelObject,
  kfuncDef,
  nullableObject,
  programContext,
  programMemory,
  released,
} from "./kfunc.ts";
export type { HostKind, ScalarKind, SignedKind, UnsignedKind, WireKind } from "./kind.ts";
export type { ForOptions, LoopForm, LoopOptions, WhileOptions } from "./loop.ts";
export type { MapObjects } from "./map-objects.ts";
export type { Atomic, KeyOf, MissingOptions, ValueOf, ValueView } from "./maps.ts";
export type { OutputOptions, Outputs, PerfOutputOptions, RingOutputOptions } from "./output.ts";
export type { Packet, PacketOptions } from "./packet.ts";
export type { PacketLoad, PacketStore, SkbStore, SkbStoreOptions } from "./packet-copies.ts";
export type { PacketMeta, XdpMeta } from "./packet-meta.ts";
export type { PacketPull, RoomOptions, SkbMoves, XdpMoves } from "./packet-moves.ts";
export type { PacketsOf, ReadPacket, TcPacket, XdpPacket } from "./packet-of.ts";
export type { Pointers, ViewOptions } from "./pointer.ts";
export { type Hex, hex } from "./printk.ts";
export {
  type CgroupSkbScope,
  type CgroupSockAddrScope,
  type CgroupSockScope,
  cgroupSkb,
  cgroupSock,
  cgroupSockAddr,
  type LangOptions,
  type MustExit,
  type ScopeOf,
  type SkLookupScope,
  type SocketFilterScope,
  skLookup,
  socketFilter,
  type TcScope,
  tc,
  type XdpScope,
  xdp,
} from "./program.ts";
export {
  type Arm64Registers,
  arm64Registers,
  type PerfEventContext,
  perfEventContext,
  type Registers,
  registers,
  type X64Registers,
  x64Registers,
} from "./registers.ts";
export type { Statements } from "./scope.ts";
export type { ContextSocket, SocketsOf } from "./socket.ts";
export {
  cgroupDeviceContext,
  skMsgContext,
  skReuseportContext,
  sockOpsContext,
} from "./socket-context.ts";
export {
  type CgroupDeviceScope,
  cgroupDevice,
  type SkMsgScope,
  type SkReuseportScope,
  type SkSkbScope,
  type SockOpsScope,
  skMsg,
  skReuseport,
  skSkb,
  sockOps,
} from "./socket-program.ts";
export type { TimerScope, Timers } from "./timers.ts";
export {
  fentry,
  fexit,
  kprobe,
  perfEvent,
  type RawTracepointScope,
  rawTracepoint,
  type TracingScope,
  tpBtf,
  tracepoint,
} from "./trace-program.ts";
export type {
  Body,
  Cond,
  Exit,
  HostVal,
  Memory,
  Nullable,
  Operand,
  OrElse,
  Pointer,
  Ref,
  Scalar,
  Val,
  Var,
  WireVal,
} from "./value.ts";
export type {
  AnyView,
  ArrayView,
  Assignable,
  BytesView,
  Init,
  PointerView,
  StructView,
  TextPlace,
  View,
} from "./view-types.ts";
