import { type BytesLayout, bytes } from "../../btf/layout/array.ts";
import { be16, u8, u16 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import { ETH_P_8021AD, ETH_P_8021Q } from "../../uapi/net.ts";
import type { HostVal, Val, Var } from "../value.ts";
import type { View } from "../view-types.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import { VLAN_VID_MASK, vlan_hdr } from "./vlan.ts";
import type { Be16 } from "./wire-types.ts";

/**
 * Ethernet header, 14 bytes (`struct ethhdr`). `h_proto` is an `ETH_P_*`, or the length of an 802.3 frame where it is below
 * `ETH_P_802_3_MIN`.
 */
export const ethhdr: StructLayout<"ethhdr", { h_dest: BytesLayout; h_source: BytesLayout; h_proto: Be16 }> =
  struct("ethhdr", { h_dest: bytes(6), h_source: bytes(6), h_proto: be16 }, { packed: true });

/** What {@link parseEthernet} found. */
export interface EthernetFrame {
  readonly eth: View<typeof ethhdr, "packet">;
  /**
   * What follows: an `ETH_P_*`. Where there were more VLAN tags than `maxTags`, that of the next tag.
   */
  readonly proto: Val<"be16">;
  /** VLAN tags that were walked over. */
  readonly tags: HostVal<"u8">;
  /** The innermost of those tags' VLAN number; 0 where there was none. */
  readonly vlan: HostVal<"u16">;
}

/** Options of {@link parseEthernet}. */
export interface EthernetOptions extends Otherwise {
  /** VLAN tags, 802.1Q or 802.1ad, that are walked over at the most; default 2. */
  readonly maxTags?: number;
}

/**
 * Takes an Ethernet header and the VLAN tags behind it.
 *
 * A tag that the network card or the kernel has taken out of the packet is not seen: for TC it is in the context.
 */
export function parseEthernet($: PacketParser, options: EthernetOptions): EthernetFrame {
  const { maxTags = 2, else: otherwise } = options;
  const eth = $.packet.take(ethhdr, { else: otherwise });
  const proto: Var<"be16"> = $.let(be16, eth.h_proto);
  const tags: Var<"u8"> = $.let(u8, 0);
  const vlan: Var<"u16"> = $.let(u16, 0);
  const walk = (walked: number): void => {
    if (walked === maxTags) return;
    $.if(proto.eq(ETH_P_8021Q).or(proto.eq(ETH_P_8021AD)), () => {
      const tag = $.packet.take(vlan_hdr, { else: otherwise });
      proto.set(tag.h_vlan_encapsulated_proto);
      vlan.set(tag.h_vlan_TCI.toHost().and(VLAN_VID_MASK));
      tags.set(walked + 1);
      walk(walked + 1);
    });
  };
  walk(0);
  return { eth, proto, tags, vlan };
}
