import { checkObjectName } from "../../asm/map-def.ts";
import type { Misuse } from "../../asm/misuse.ts";
import type { AttachTypeName, Program, ProgramOptions, ProgTypeName } from "../../asm/program.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import { type HelperProgType, helperProgTypes } from "../../uapi/helpers.ts";
import { type Calls, createCalls, functionScope } from "../call/function.ts";
import { helperMethods } from "../call/helper-call.ts";
import { createKfuncs, type Kfuncs } from "../call/kfunc.ts";
import { compile } from "../compile/compile.ts";
import { LangError } from "../error.ts";
import type { HelperMethodsOf } from "../generated/helper-methods.ts";
import type { IrFunction, IrParam, IrValue } from "../ir/ir.ts";
import { recordReturn } from "../loop/body.ts";
import { createOutputs, type Outputs } from "../map/output.ts";
import { createTimers, type Timers } from "../map/timers.ts";
import { createPacketOf, type PacketsOf } from "../packet/packet-of.ts";
import { createRecorder, here, type Recorder, type Target } from "../recorder.ts";
import type { Region } from "../region.ts";
import { isScalar, operandValue } from "../scalar.ts";
import { createStatements, type Statements } from "../scope.ts";
import { type ContextSocket, createSocket, type SocketsOf } from "../socket.ts";
import { type Exit, type HostVal, internals } from "../value.ts";
import { makeView } from "../view.ts";
import type { View } from "../view-types.ts";
import type { TcAction, XdpAction } from "./actions.ts";
import {
  skbContext,
  skLookupContext,
  sockAddrContext,
  sockContext,
  WRITABLE_FIELDS,
  xdpContext,
} from "./context.ts";

/** Options of a program of the language. */
export interface LangOptions extends ProgramOptions {
  /**
   * The oldest kernel that must take the program, `"5.10"` by default. From `"6.6"` on newer instructions are used: signed
   * division, sign-extending moves.
   */
  readonly kernel?: `${number}.${number}`;
}

/** A compile-time error, with a sentence, for a program that may run off its end. */
export type MustExit<B> = [B] extends [Exit]
  ? unknown
  : Misuse<"this program may run off its end: end each path of it with return $.return(...)">;

/** What the body of a program of this type is given. */
export type ScopeOf<Type extends ProgTypeName, Context extends Layout, Result> = Statements &
  Calls &
  Kfuncs &
  Outputs &
  Timers &
  HelperMethodsOf<Type & HelperProgType> & {
    /** The program's context. */
    readonly ctx: View<Context, "ctx">;
    /** Ends the path, and the program, with a result. */
    return<const R>(result: R & Returns<Type, Result, R>): Exit;
  } & (Type extends keyof PacketsOf ? { readonly packet: PacketsOf[Type] } : unknown) &
  (Type extends keyof SocketsOf ? ContextSocket<SocketsOf[Type]> : unknown);

/** A compile-time error, with a sentence, for a result that means nothing to the kernel. */
export type Returns<Type extends ProgTypeName, Result, R> = R extends Result | HostVal
  ? unknown
  : Misuse<Type extends keyof ResultsOf ? ResultsOf[Type] : "a program returns a number">;

/** What to say of the results of program types whose numbers have meanings. */
interface ResultsOf {
  xdp: "an XDP program returns XDP_PASS, XDP_DROP, XDP_TX, XDP_REDIRECT or XDP_ABORTED of tsbpf/lang, or a value";
  sched_cls: "a TC program returns one of the TC_ACT_* of tsbpf/lang, or a value";
  cgroup_skb: "a cgroup's packet filter returns 1 (let it through) or 0 (drop it), or a value";
  cgroup_sock: "a cgroup's policy returns 1 (allow) or 0 (refuse), or a value";
  cgroup_sock_addr: "a cgroup's policy returns 1 (allow) or 0 (refuse), or a value";
  tracing: "a program at a kernel function returns 0, and one at a tracepoint any number";
  sock_ops: "a program that accompanies connections returns 1, or a value";
  sk_msg: "a verdict is 1 (let it go on) or 0 (drop it), or a value";
  sk_reuseport: "a program that chooses a socket returns 1 (let it through) or 0 (drop it), or a value";
  cgroup_device: "a cgroup's policy returns 1 (allow) or 0 (refuse), or a value";
  sk_lookup: "a program that chooses a socket returns 1 (let it through) or 0 (drop it), or a value";
}

/** What an XDP program is given. */
export type XdpScope = ScopeOf<"xdp", typeof xdpContext, XdpAction>;
/** What a TC program is given. */
export type TcScope = ScopeOf<"sched_cls", typeof skbContext, TcAction>;
/** What a socket filter is given. */
export type SocketFilterScope = ScopeOf<"socket_filter", typeof skbContext, number>;
/** What a cgroup's packet filter is given. */
export type CgroupSkbScope = ScopeOf<"cgroup_skb", typeof skbContext, 0 | 1 | 2 | 3>;
/** What a cgroup's policy for addresses is given. */
export type CgroupSockAddrScope = ScopeOf<"cgroup_sock_addr", typeof sockAddrContext, 0 | 1>;
/** What a cgroup's policy for new sockets is given. */
export type CgroupSockScope = ScopeOf<"cgroup_sock", typeof sockContext, 0 | 1>;
/** What a program that chooses a socket is given. */
export type SkLookupScope = ScopeOf<"sk_lookup", typeof skLookupContext, 0 | 1>;

/**
 * An XDP program: sees each packet before the network stack does. Its result is one of `XDP_*` of this module.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const dropUdp = xdp("drop_udp", ($) => {
 *   const pass = { else: () => $.return(XDP_PASS) };
 *   const eth = $.packet.take(ethhdr, pass);
 *   $.if(eth.h_proto.ne(ETH_P_IP), pass.else);
 *   const ip = $.packet.take(iphdr, pass);
 *   $.if(ip.protocol.eq(IPPROTO_UDP), () => $.return(XDP_DROP));
 *   return $.return(XDP_PASS);
 * });
 * ```
 */
export function xdp<B>(
  name: string,
  body: ($: XdpScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"xdp"> {
  return build("xdp", name, xdpContext, body, options);
}

/**
 * A TC program (`sched_cls`). Its result is one of `TC_ACT_*` of this module.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const markVoice = tc("mark_voice", ($) => {
 *   $.if($.ctx.len.lt(300), () => $.ctx.priority.set(6));
 *   return $.return(TC_ACT_UNSPEC);
 * });
 * ```
 */
export function tc<B>(
  name: string,
  body: ($: TcScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"sched_cls"> {
  return build("sched_cls", name, skbContext, body, options);
}

/**
 * A filter of a socket's packets. Its result is how many bytes of the packet are kept; 0 drops it.
 *
 * The packet begins with the link-layer header for a packet socket of `SOCK_RAW`, with the IP header for one of `SOCK_DGRAM` and for
 * a raw IP socket, with the UDP or TCP header for sockets of those protocols.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const short = socketFilter("short", ($) => {
 *   $.if($.ctx.len.gt(512), () => $.return(0));
 *   return $.return($.ctx.len);
 * });
 * ```
 */
export function socketFilter<B>(
  name: string,
  body: ($: SocketFilterScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"socket_filter"> {
  return build("socket_filter", name, skbContext, body, options);
}

/**
 * A filter of the packets of a cgroup's processes, IP header first. 1 lets the packet through, 0 drops it.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const noPing = cgroupSkb("no_ping", ($) => {
 *   const ip = $.packet.take(iphdr, { else: () => $.return(1) });
 *   $.if(ip.version.eq(4).and(ip.protocol.eq(1)), () => $.return(0));
 *   return $.return(1);
 * });
 * ```
 */
export function cgroupSkb<B>(
  name: string,
  body: ($: CgroupSkbScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"cgroup_skb"> {
  return build("cgroup_skb", name, skbContext, body, options);
}

/**
 * A policy for `connect`, `bind`, `sendmsg` and the like of a cgroup's processes. 1 allows, 0 refuses with EPERM.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const onlyLoopback = cgroupSockAddr("only_loopback", "cgroup_inet4_connect", ($) => {
 *   $.if($.ctx.user_ip4.and(0xff000000).eq(0x7f000000), () => $.return(1)); // 127.0.0.0/8
 *   return $.return(0);
 * });
 * ```
 */
export function cgroupSockAddr<B>(
  name: string,
  attachType: AttachTypeName,
  body: ($: CgroupSockAddrScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"cgroup_sock_addr"> {
  return build("cgroup_sock_addr", name, sockAddrContext, body, { ...options, attachType });
}

/**
 * A policy for the sockets that a cgroup's processes make. 1 allows, 0 refuses with EPERM.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const noRaw = cgroupSock("no_raw", "cgroup_inet_sock_create", ($) => {
 *   $.if($.ctx.type.eq(3), () => $.return(0)); // SOCK_RAW
 *   return $.return(1);
 * });
 * ```
 */
export function cgroupSock<B>(
  name: string,
  attachType: AttachTypeName,
  body: ($: CgroupSockScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"cgroup_sock"> {
  return build("cgroup_sock", name, sockContext, body, { ...options, attachType });
}

/**
 * Chooses the socket of an incoming connection or datagram. 1 lets it through, 0 drops it. Kernel 5.9.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const closed = skLookup("closed", ($) => {
 *   $.if($.ctx.local_port.eq(23), () => $.return(0));
 *   return $.return(1);
 * });
 * ```
 */
export function skLookup<B>(
  name: string,
  body: ($: SkLookupScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"sk_lookup"> {
  return build("sk_lookup", name, skLookupContext, body, { attachType: "sk_lookup", ...options });
}

/** Records the body of a program, and compiles it. */
export function build<Type extends ProgTypeName & HelperProgType>(
  type: Type,
  name: string,
  layout: Layout,
  body: ($: never) => unknown,
  options: LangOptions = {},
): Program<Type> {
  checkObjectName("program", name);
  const { license = "GPL", attachType, attachTo, flags = 0, kernel = "5.10" } = options;
  const machine = targetOf(kernel);
  const context: IrParam = { kind: "param", index: 0, pointer: "ctx", source: undefined };
  const fn: IrFunction = { name, params: [context], blocks: [], slots: [] };
  const recorder = createRecorder(fn, machine, type, type);
  const scope = createScope(recorder, type, layout, context);
  body(scope as never);
  recorder.done = true;
  if (recorder.block !== undefined) {
    throw new LangError(
      `program '${name}' may run off its end`,
      here(),
      "End each path of it with return $.return(…).",
    );
  }
  const blocks = compile(fn, machine);
  const target = attachTo === undefined ? {} : { attachTo };
  return Object.freeze({ kind: "program", type, name, license, attachType, ...target, flags, blocks });
}

function createScope(
  recorder: Recorder,
  type: ProgTypeName & HelperProgType,
  layout: Layout,
  context: IrParam,
): Statements {
  const packet = createPacketOf(recorder, type, context);
  return Object.assign(
    createStatements(recorder, context),
    createCalls(recorder, context),
    createKfuncs(recorder, context),
    createOutputs(recorder, context),
    createTimers(recorder, functionScope),
    type in helperProgTypes ? helperMethods(recorder, type, context) : {},
    {
      ctx: makeView(recorder, contextRegion(recorder, type, layout, context), 0, layout),
      return: (result: unknown): Exit => recordReturn(recorder, resultValue(recorder, result)),
    },
    packet === undefined ? {} : { packet },
    createSocket(recorder, type, layout, context),
  );
}

/** The kernel reads results as 32 bits. */
function resultValue(recorder: Recorder, result: unknown): IrValue {
  if (!isScalar(result)) return operandValue(recorder, "s32", result);
  return operandValue(recorder, result[internals].kind, result);
}

function contextRegion(recorder: Recorder, type: ProgTypeName, layout: Layout, base: IrParam): Region {
  const writable = WRITABLE_FIELDS[type] ?? [];
  const fields =
    (layout as Layout & { fields?: Record<string, { offset: number; size: number }> }).fields ?? {};
  const ranges = writable.flatMap((name) => fields[name] ?? []);
  return {
    memory: "ctx",
    base,
    size: layout.size,
    slot: undefined,
    name: "the context",
    readOnly:
      writable.length === 0
        ? "The kernel lets programs of this type read their context, not write it."
        : `The kernel lets programs of this type write ${writable.join(", ")}, and read the rest.`,
    writable: (offset) =>
      ranges.some((range) => offset >= range.offset && offset < range.offset + range.size),
    scope: recorder.scope,
    epoch: 0,
    pointers: TYPED_CONTEXTS.has(type) ? "typed" : "kernel",
  };
}

/** The program types whose contexts have pointers that the verifier knows the types of. */
const TYPED_CONTEXTS: ReadonlySet<ProgTypeName> = new Set(["tracing", "lsm", "struct_ops"]);

function targetOf(kernel: string): Target {
  const [major = Number.NaN, minor = Number.NaN] = kernel.split(".").map(Number);
  if (!Number.isInteger(major) || !Number.isInteger(minor) || major < 5 || (major === 5 && minor < 3)) {
    throw new LangError(
      `'${kernel}' is no kernel that programs of the language run on`,
      here(),
      'Say "5.10" or newer.',
    );
  }
  return { isa: major > 6 || (major === 6 && minor >= 6) ? 4 : 3, kernel: [major, minor] };
}
