import { be16, be32, u8, u32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { Cond, HostVal } from "../value.ts";
import type { View } from "../view-types.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import { wireBits } from "./wire-bits.ts";
import type { Be16, Be32, Bits, U8 } from "./wire-types.ts";

/**
 * IPv4 header, 20 bytes without options (`struct iphdr`; RFC 791).
 *
 * ```
 *  0       4       8               16    19                       32
 * +-------+-------+---------------+-----+-------------------------+
 * |version|  ihl  |      tos      |            tot_len            |
 * +-------+-------+---------------+-----+-------------------------+
 * |              id               |flags|     fragment offset     |
 * +---------------+---------------+-----+-------------------------+
 * |      ttl      |   protocol    |             check             |
 * +---------------+---------------+-------------------------------+
 * |                             saddr                             |
 * +---------------------------------------------------------------+
 * |                             daddr                             |
 * +---------------------------------------------------------------+
 * |                options, ihl * 4 - 20 bytes                    |
 * ```
 */
export const iphdr: StructLayout<
  "iphdr",
  {
    version: Bits;
    ihl: Bits;
    tos: U8;
    tot_len: Be16;
    id: Be16;
    frag_off: Be16;
    ttl: U8;
    protocol: U8;
    check: Be16;
    saddr: Be32;
    daddr: Be32;
  }
> = struct("iphdr", {
  ...wireBits({ version: 4, ihl: 4 }),
  tos: u8,
  tot_len: be16,
  id: be16,
  frag_off: be16,
  ttl: u8,
  protocol: u8,
  check: be16,
  saddr: be32,
  daddr: be32,
});

/** In `frag_off`: do not fragment. */
export const IP_DF = 0x4000;
/** In `frag_off`: more fragments follow. */
export const IP_MF = 0x2000;
/** In `frag_off`: where the fragment begins, in units of 8 bytes. */
export const IP_OFFSET = 0x1fff;

/** What {@link parseIpv4} found. */
export interface Ipv4Packet {
  readonly ip: View<typeof iphdr, "packet">;
  /** What follows: an `IPPROTO_*`. */
  readonly protocol: HostVal<"u8">;
  /** It is a fragment, the first one or another. */
  readonly fragment: Cond;
  /** It is a fragment, but not the first: what follows is no header. */
  readonly laterFragment: Cond;
}

/**
 * Takes an IPv4 header with its options. What says it is another version, or is shorter than 20 bytes by its own account,
 * goes the way of a packet that is too short.
 */
export function parseIpv4($: PacketParser, { else: otherwise }: Otherwise): Ipv4Packet {
  const ip = $.packet.take(iphdr, { else: otherwise });
  const { ihl } = ip;
  $.if(ip.version.ne(4).or(ihl.lt(5)), otherwise);
  $.packet.skip(ihl.to(u32).sub(5).mul(4), { else: otherwise, max: 40 });
  const { frag_off } = ip;
  return {
    ip,
    protocol: ip.protocol,
    fragment: frag_off.has(IP_OFFSET | IP_MF),
    laterFragment: frag_off.has(IP_OFFSET),
  };
}
