import { type BytesLayout, bytes } from "../../btf/layout/array.ts";
import { be16, be32, u8 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import { ARPHRD_ETHER, ETH_P_IP } from "../../uapi/net.ts";
import type { View } from "../view-types.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import type { Be16, Be32, U8 } from "./wire-types.ts";

/**
 * ARP header, 8 bytes (`struct arphdr`; RFC 826). Addresses of `ar_hln` and `ar_pln` bytes follow: for IPv4 over Ethernet,
 * {@link arp_eth_ipv4}.
 */
export const arphdr: StructLayout<
  "arphdr",
  { ar_hrd: Be16; ar_pro: Be16; ar_hln: U8; ar_pln: U8; ar_op: Be16 }
> = struct("arphdr", { ar_hrd: be16, ar_pro: be16, ar_hln: u8, ar_pln: u8, ar_op: be16 });

/**
 * The addresses of an ARP message for IPv4 over Ethernet, 20 bytes: sender and target. The kernel has them in a comment of
 * `struct arphdr` only.
 */
export const arp_eth_ipv4: StructLayout<
  "arp_eth_ipv4",
  { ar_sha: BytesLayout; ar_sip: Be32; ar_tha: BytesLayout; ar_tip: Be32 }
> = struct(
  "arp_eth_ipv4",
  { ar_sha: bytes(6), ar_sip: be32, ar_tha: bytes(6), ar_tip: be32 },
  { packed: true },
);

/** What {@link parseArp} found. */
export interface ArpMessage {
  readonly arp: View<typeof arphdr, "packet">;
  readonly addresses: View<typeof arp_eth_ipv4, "packet">;
}

/** Takes an ARP message for IPv4 over Ethernet. Any other goes the way of a packet that is too short. */
export function parseArp($: PacketParser, { else: otherwise }: Otherwise): ArpMessage {
  const arp = $.packet.take(arphdr, { else: otherwise });
  const { ar_hrd, ar_pro, ar_hln, ar_pln } = arp;
  $.if(ar_hrd.ne(ARPHRD_ETHER).or(ar_pro.ne(ETH_P_IP)).or(ar_hln.ne(6)).or(ar_pln.ne(4)), otherwise);
  return { arp, addresses: $.packet.take(arp_eth_ipv4, { else: otherwise }) };
}
