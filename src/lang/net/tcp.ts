import { be16, be32, u32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { View } from "../view-types.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import { wireBits } from "./wire-bits.ts";
import type { Be16, Be32, Bits } from "./wire-types.ts";

/**
 * TCP header, 20 bytes without options (`struct tcphdr`; RFC 9293). It is `doff * 4` bytes long. The kernel's struct has the
 * accurate ECN bit `ae` since 6.15; before, `res1` was 4 bits wide.
 *
 * ```
 *  0                             16                              32
 * +-------------------------------+-------------------------------+
 * |            source             |             dest              |
 * +-------------------------------+-------------------------------+
 * |                              seq                              |
 * +---------------------------------------------------------------+
 * |                            ack_seq                            |
 * +-------+-----+-+-+-+-+-+-+-+-+-+-------------------------------+
 * | doff  |res1 |a|c|e|u|a|p|r|s|f|            window             |
 * +-------+-----+-+-+-+-+-+-+-+-+-+-------------------------------+
 * |             check             |            urg_ptr            |
 * +-------------------------------+-------------------------------+
 * ```
 */
export const tcphdr: StructLayout<
  "tcphdr",
  {
    source: Be16;
    dest: Be16;
    seq: Be32;
    ack_seq: Be32;
    doff: Bits;
    res1: Bits;
    ae: Bits;
    cwr: Bits;
    ece: Bits;
    urg: Bits;
    ack: Bits;
    psh: Bits;
    rst: Bits;
    syn: Bits;
    fin: Bits;
    window: Be16;
    check: Be16;
    urg_ptr: Be16;
  }
> = struct("tcphdr", {
  source: be16,
  dest: be16,
  seq: be32,
  ack_seq: be32,
  ...wireBits({ doff: 4, res1: 3, ae: 1 }),
  ...wireBits({ cwr: 1, ece: 1, urg: 1, ack: 1, psh: 1, rst: 1, syn: 1, fin: 1 }),
  window: be16,
  check: be16,
  urg_ptr: be16,
});

/**
 * Takes a TCP header with its options. One that is shorter than 20 bytes by its own account goes the way of a packet that is
 * too short.
 */
export function parseTcp($: PacketParser, { else: otherwise }: Otherwise): View<typeof tcphdr, "packet"> {
  const tcp = $.packet.take(tcphdr, { else: otherwise });
  const { doff } = tcp;
  $.if(doff.lt(5), otherwise);
  $.packet.skip(doff.to(u32).sub(5).mul(4), { else: otherwise, max: 40 });
  return tcp;
}
