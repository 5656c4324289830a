import type { ProgTypeName } from "../../asm/program.ts";
import type { IrParam } from "../ir/ir.ts";
import { PACKET_POINTERS, type PacketPointers } from "../program/context.ts";
import type { Recorder } from "../recorder.ts";
import { createLoad, createStore, type PacketLoad, type PacketStore, type SkbStore } from "./copies.ts";
import { createMeta, type PacketMeta, type XdpMeta } from "./meta.ts";
import { createSkbMoves, createXdpMoves, type SkbMoves, type XdpMoves } from "./moves.ts";
import { createPacket, type Packet } from "./packet.ts";

/** The packet of an XDP program. */
export interface XdpPacket extends Packet, PacketLoad, PacketStore, XdpMoves, XdpMeta {}

/** The packet of a TC program. */
export interface TcPacket extends Packet, PacketLoad, SkbStore, SkbMoves, PacketMeta {}

/** A packet that a program reads, directly and by copies. */
export interface ReadPacket extends Packet, PacketLoad {}

/** What programs of each type have as `$.packet`; those of other types have none. */
export interface PacketsOf {
  xdp: XdpPacket;
  sched_cls: TcPacket;
  sched_act: TcPacket;
  cgroup_skb: ReadPacket;
  /** Such programs read copies alone. */
  socket_filter: PacketLoad;
  sk_skb: Packet;
  lwt_in: Packet;
  lwt_out: Packet;
  lwt_xmit: Packet;
  flow_dissector: Packet;
  sk_msg: Packet;
  sk_reuseport: Packet;
}

/** Makes the `$.packet` of a program; `undefined` for types that have none. */
export function createPacketOf(
  recorder: Recorder,
  type: ProgTypeName,
  context: IrParam,
): PacketsOf[keyof PacketsOf] | undefined {
  if (type === "socket_filter") return createLoad(recorder, context, false);
  const pointers = PACKET_POINTERS[type];
  if (pointers === undefined) return undefined;
  const packet = createPacket(recorder, context, pointers);
  switch (type) {
    case "xdp": {
      const meta = createMeta(recorder, context, packet, withMeta(pointers));
      const copies = { ...createLoad(recorder, context, true), ...createStore(recorder, context, true) };
      return { ...packet, ...copies, ...createXdpMoves(recorder, context), ...meta } satisfies XdpPacket;
    }
    case "sched_cls":
    case "sched_act": {
      const { meta } = createMeta(recorder, context, packet, withMeta(pointers));
      const copies = { ...createLoad(recorder, context, false), ...createStore(recorder, context, false) };
      return { ...packet, ...copies, ...createSkbMoves(recorder, context), meta } satisfies TcPacket;
    }
    case "cgroup_skb":
      return { ...packet, ...createLoad(recorder, context, false) } satisfies ReadPacket;
    default:
      return packet;
  }
}

function withMeta(pointers: PacketPointers): PacketPointers & { readonly dataMeta: number } {
  return pointers as PacketPointers & { readonly dataMeta: number };
}
