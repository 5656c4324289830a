import { s32 } from "../../btf/layout/scalar.ts";
import { BPF_ADJ_ROOM_MAC, BPF_ADJ_ROOM_NET } from "../../uapi/bpf.ts";
import type { HelperName } from "../../uapi/helpers.ts";
import { callHelper } from "../call/helper-call.ts";
import { LangError } from "../error.ts";
import { helperShapes } from "../generated/helper-shapes.ts";
import type { IrParam } from "../ir/ir.ts";
import { constant, here, type Recorder } from "../recorder.ts";
import { isScalar } from "../scalar.ts";
import { type HostVal, internals, type Operand, type OrElse } from "../value.ts";
import { guard } from "../view.ts";

// What changes a packet's size. After each of these the kernel has forgotten what was checked: views that were taken before
// do not build any more, on the way of `else` neither, and $.packet is at the packet's first byte.

/** How an XDP program changes the size of its packet. */
export interface XdpMoves {
  /**
   * Moves the packet's first byte: takes so many bytes off at the front, or adds them where `delta` is negative. What bytes
   * that are added hold is not defined: write all of them.
   *
   * `else` runs where the driver has less room in front of the packet, or where less than an Ethernet header would be left.
   *
   * @example
   * ```ts
   * const decapsulate = xdp("decapsulate", ($) => {
   *   const pass = { else: () => $.return(XDP_PASS) };
   *   const ip = $.packet.take(struct("outer", { eth: ethhdr, ip: iphdr }, { packed: true }), pass).ip;
   *   $.if(ip.protocol.ne(4), pass.else); // IPIP
   *   $.packet.adjustHead(iphdr.size, pass);
   *   $.assign($.packet.take(ethhdr, { else: () => $.return(XDP_DROP) }), { h_proto: 0x0800 });
   *   return $.return(XDP_PASS);
   * });
   * ```
   */
  adjustHead(delta: Operand<"s32"> | HostVal<"u32">, options: OrElse): void;
  /**
   * Moves the packet's end: cuts bytes off where `delta` is negative, adds zeros otherwise (kernel 5.8).
   *
   * `else` runs where the driver has less room behind the packet, or where less than an Ethernet header would be left.
   *
   * @example
   * ```ts
   * const withoutTrailer = xdp("without_trailer", ($) => {
   *   $.packet.adjustTail(-4, { else: () => $.return(XDP_DROP) });
   *   return $.return(XDP_PASS);
   * });
   * ```
   */
  adjustTail(delta: Operand<"s32">, options: OrElse): void;
}

/** How a program brings a socket buffer's bytes to where it can read them. */
export interface PacketPull {
  /**
   * Sees to it that the packet's first so many bytes can be read and written directly: bytes that came in several pieces are
   * put together. `else` runs where the packet is shorter, or memory is short.
   *
   * `$.packet.take` sees the first piece only. With some drivers that is next to nothing of a packet.
   *
   * @example
   * ```ts
   * const firstHundred = tc("first_hundred", ($) => {
   *   const next = { else: () => $.return(TC_ACT_UNSPEC) };
   *   $.packet.pull(100, next);
   *   const last = $.packet.take(struct("bytes", { before: bytes(99), last: u8 }), next).last;
   *   $.ctx.mark.set(last);
   *   return $.return(TC_ACT_UNSPEC);
   * });
   * ```
   */
  pull(bytes: Operand<"u32">, options: OrElse): void;
}

/** How a TC program changes the size of its packet. */
export interface SkbMoves extends PacketPull {
  /**
   * Adds so many zeros in front of the packet, which the kernel then takes for its link-layer header. `else` runs where memory
   * is short, or the packet would be too long.
   */
  changeHead(bytes: Operand<"u32">, options: OrElse): void;
  /**
   * Makes the packet so long: cuts off what is behind, or adds zeros. `else` runs where its headers would be cut, or memory is
   * short.
   *
   * @example
   * ```ts
   * const withoutTrailer = tc("without_trailer", ($) => {
   *   $.packet.changeTail($.ctx.len.sub(4), { else: () => $.return(TC_ACT_SHOT) });
   *   return $.return(TC_ACT_UNSPEC);
   * });
   * ```
   */
  changeTail(length: Operand<"u32">, options: OrElse): void;
  /**
   * Adds room between headers of an IP packet, or takes it away where `delta` is negative: where tunnel headers go. `else` runs
   * where the packet is no IP packet or too short, or where `flags` do not fit it.
   *
   * @example
   * ```ts
   * const roomForUdp = tc("room_for_udp", ($) => {
   *   const shot = { else: () => $.return(TC_ACT_SHOT) };
   *   $.packet.adjustRoom(udphdr.size, { at: "network", ...shot }); // behind the IP header
   *   return $.return(TC_ACT_UNSPEC);
   * });
   * ```
   */
  adjustRoom(delta: Operand<"s32">, options: RoomOptions): void;
}

/** Options of {@link SkbMoves.adjustRoom}. */
export interface RoomOptions extends OrElse {
  /** Where: behind the link-layer header (`mac`, kernel 5.2), or behind the network header (`network`). */
  readonly at: "mac" | "network";
  /** `BPF_F_ADJ_ROOM_*`: what the new room is for, so that segmentation and checksums still work. Default: 0. */
  readonly flags?: number;
}

/** Makes what an XDP program moves its packet with. */
export function createXdpMoves(recorder: Recorder, context: IrParam): XdpMoves {
  return {
    adjustHead: (delta, options) =>
      callOrElse(recorder, context, "bpf_xdp_adjust_head", "adjustHead", [signed(delta)], options),
    adjustTail: (delta, options) =>
      callOrElse(recorder, context, "bpf_xdp_adjust_tail", "adjustTail", [delta], options),
  };
}

/** An offset in a packet, `$.packet.offset()`, fits, whatever its kind. */
function signed(delta: Operand<"s32"> | HostVal<"u32">): Operand<"s32"> {
  return isScalar(delta) && delta[internals].kind === "u32"
    ? (delta as HostVal<"u32">).to(s32)
    : (delta as Operand<"s32">);
}

/** Makes what pulls a socket buffer's bytes together. */
export function createPull(recorder: Recorder, context: IrParam): PacketPull {
  return {
    pull: (bytes, options) => callOrElse(recorder, context, "bpf_skb_pull_data", "pull", [bytes], options),
  };
}

/** Makes what a TC program moves its packet with. */
export function createSkbMoves(recorder: Recorder, context: IrParam): SkbMoves {
  return {
    ...createPull(recorder, context),
    changeHead: (bytes, options) =>
      callOrElse(recorder, context, "bpf_skb_change_head", "changeHead", [bytes, 0], options),
    changeTail: (length, options) =>
      callOrElse(recorder, context, "bpf_skb_change_tail", "changeTail", [length, 0], options),
    adjustRoom: (delta, options) => {
      const mode = Object.hasOwn(MODES, options?.at) ? MODES[options.at] : undefined;
      if (mode === undefined) {
        throw new LangError(
          "where $.packet.adjustRoom makes room is missing",
          here(),
          'Say { at: "mac" } for behind the link-layer header, { at: "network" } for behind the network header.',
        );
      }
      const given = [delta, mode, options.flags ?? 0];
      callOrElse(recorder, context, "bpf_skb_adjust_room", "adjustRoom", given, options);
    },
  };
}

/** Calls a helper that gives 0 where it did what it was asked to; leaves the path elsewhere. */
export function callOrElse(
  recorder: Recorder,
  context: IrParam,
  helper: HelperName,
  method: string,
  given: readonly unknown[],
  options: OrElse,
): void {
  const result = callHelper(recorder, helperShapes[helper], context, given, `$.packet.${method}`) as HostVal;
  const failed = {
    kind: "compare",
    op: "ne",
    width: 64,
    a: result[internals].read(),
    b: constant(0),
  } as const;
  guard(recorder, failed, options?.else);
}

const MODES = { mac: BPF_ADJ_ROOM_MAC, network: BPF_ADJ_ROOM_NET } as const;
