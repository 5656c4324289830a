/**
 * The structured language: programs in typed TypeScript, compiled to instructions. Pure: no I/O, runs in a browser. Imports
 * only base, uapi, btf and asm. The result is a `Program` like those of `tsbpf/asm`.
 */

export {
  type ArgumentsIn,
  type ArgumentsOf,
  type Calls,
  type FunctionScope,
  func,
  type LangFunction,
  type MustReturn,
} from "./call/function.ts";
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
} from "./call/kfunc.ts";
export type { If } from "./control.ts";
export { LangError } from "./error.ts";
export type { HostKind, ScalarKind, SignedKind, UnsignedKind, WireKind } from "./kind.ts";
export type { ForOptions, LoopForm, LoopOptions, WhileOptions } from "./loop/loop.ts";
export type { KeyView } from "./map/for-each.ts";
export type { Atomic, KeyOf, MissingOptions, ValueOf, ValueView } from "./map/maps.ts";
export type { MapObjects } from "./map/objects.ts";
export type { OutputOptions, Outputs, PerfOutputOptions, RingOutputOptions } from "./map/output.ts";
export type { TimerScope, Timers } from "./map/timers.ts";
export type { PacketLoad, PacketStore, SkbStore, SkbStoreOptions } from "./packet/copies.ts";
export type { PacketMeta, XdpMeta } from "./packet/meta.ts";
export type { PacketPull, RoomOptions, SkbMoves, XdpMoves } from "./packet/moves.ts";
export type { Packet, PacketOptions } from "./packet/packet.ts";
export type { PacketsOf, ReadPacket, TcPacket, XdpPacket } from "./packet/packet-of.ts";
export type { Pointers, ViewOptions } from "./pointer.ts";
export { type Hex, hex } from "./printk.ts";
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
} from "./program/actions.ts";
export {
  rawTracepointContext,
  skbContext,
  skLookupContext,
  sockAddrContext,
  sockContext,
  xdpContext,
} from "./program/context.ts";
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
} from "./program/program.ts";
export {
  type Arm64Registers,
  arm64Registers,
  type PerfEventContext,
  perfEventContext,
  type Registers,
  registers,
  type X64Registers,
  x64Registers,
} from "./program/registers.ts";
export {
  cgroupDeviceContext,
  skMsgContext,
  skReuseportContext,
  sockOpsContext,
} from "./program/socket-context.ts";
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
} from "./program/sockets.ts";
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
} from "./program/tracing.ts";
export type { Statements } from "./scope.ts";
export type { ContextSocket, SocketsOf } from "./socket.ts";
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
