import { type ArrayLayout, array, type BytesLayout, bytes } from "../../btf/layout/array.ts";
import { be16, be32, u8, u16, u32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { Cond, HostVal, Var } from "../value.ts";
import type { View } from "../view-types.ts";
import { type Otherwise, type PacketParser, skipFromStart } from "./parser.ts";
import { wireBits } from "./wire-bits.ts";
import type { Be16, Be32, Bits, U8 } from "./wire-types.ts";

/**
 * IPv6 header, 40 bytes (`struct ipv6hdr`; RFC 8200). The traffic class lies across `priority` and the upper half of
 * `flow_lbl`'s first byte.
 *
 * ```
 *  0       4       8      12                                     32
 * +-------+-------+-------+---------------------------------------+
 * |version|traffic class  |              flow label               |
 * +-------+---------------+-------+---------------+---------------+
 * |          payload_len          |    nexthdr    |   hop_limit   |
 * +-------------------------------+---------------+---------------+
 * |                     saddr, 16 bytes                           |
 * |                     daddr, 16 bytes                           |
 * ```
 */
export const ipv6hdr: StructLayout<
  "ipv6hdr",
  {
    version: Bits;
    priority: Bits;
    flow_lbl: BytesLayout;
    payload_len: Be16;
    nexthdr: U8;
    hop_limit: U8;
    saddr: ArrayLayout<Be32>;
    daddr: ArrayLayout<Be32>;
  }
> = struct("ipv6hdr", {
  ...wireBits({ version: 4, priority: 4 }),
  flow_lbl: bytes(3),
  payload_len: be16,
  nexthdr: u8,
  hop_limit: u8,
  saddr: array(be32, 4),
  daddr: array(be32, 4),
});

/**
 * The beginning of hop-by-hop, routing, destination and mobility headers (`struct ipv6_opt_hdr`): `hdrlen` counts units of 8
 * bytes, without the first one.
 */
export const ipv6_opt_hdr: StructLayout<"ipv6_opt_hdr", { nexthdr: U8; hdrlen: U8 }> = struct(
  "ipv6_opt_hdr",
  { nexthdr: u8, hdrlen: u8 },
);

/** Routing header: its first 4 bytes (`struct ipv6_rt_hdr`). */
export const ipv6_rt_hdr: StructLayout<
  "ipv6_rt_hdr",
  { nexthdr: U8; hdrlen: U8; type: U8; segments_left: U8 }
> = struct("ipv6_rt_hdr", { nexthdr: u8, hdrlen: u8, type: u8, segments_left: u8 });

/** Fragment header, 8 bytes (`struct frag_hdr`): the offset is in the upper 13 bits of `frag_off`, in units of 8 bytes. */
export const frag_hdr: StructLayout<
  "frag_hdr",
  { nexthdr: U8; reserved: U8; frag_off: Be16; identification: Be32 }
> = struct("frag_hdr", { nexthdr: u8, reserved: u8, frag_off: be16, identification: be32 });

/** In `frag_off`: more fragments follow. */
export const IP6_MF = 0x0001;
/** In `frag_off`: where the fragment begins, in bytes. */
export const IP6_OFFSET = 0xfff8;

/** Next header: hop-by-hop options. */
export const NEXTHDR_HOP = 0;
/** Next header: routing. */
export const NEXTHDR_ROUTING = 43;
/** Next header: fragment. */
export const NEXTHDR_FRAGMENT = 44;
/** Next header: authentication. */
export const NEXTHDR_AUTH = 51;
/** Next header: ICMPv6. */
export const NEXTHDR_ICMP = 58;
/** Next header: nothing follows. */
export const NEXTHDR_NONE = 59;
/** Next header: destination options. */
export const NEXTHDR_DEST = 60;
/** Next header: mobility. */
export const NEXTHDR_MOBILITY = 135;

/** What {@link parseIpv6} found. */
export interface Ipv6Packet {
  readonly ip: View<typeof ipv6hdr, "packet">;
  /**
   * What follows the extension headers: an `IPPROTO_*` or `NEXTHDR_*`. Where there were more of them than `maxHeaders`, the
   * type of the next one.
   */
  readonly protocol: HostVal<"u8">;
  /** It is a fragment, the first one or another. */
  readonly fragment: Cond;
  /** It is a fragment, but not the first: what follows is no header. */
  readonly laterFragment: Cond;
}

/** Options of {@link parseIpv6}. */
export interface Ipv6Options extends Otherwise {
  /** Extension headers that are walked over at the most; default 6. */
  readonly maxHeaders?: number;
}

/**
 * Takes an IPv6 header and its extension headers: hop-by-hop, routing, destination, authentication, fragment. Behind the
 * header of a later fragment nothing is looked at. What says it is another version goes the way of a packet that is too
 * short.
 */
export function parseIpv6($: PacketParser, options: Ipv6Options): Ipv6Packet {
  const { maxHeaders = 6, else: otherwise } = options;
  const ip = $.packet.take(ipv6hdr, { else: otherwise });
  $.if(ip.version.ne(6), otherwise);
  const protocol: Var<"u8"> = $.let(u8, ip.nexthdr);
  const frag: Var<"u16"> = $.let(u16, 0);
  const short: Var<"u8"> = $.let(u8, 0);
  // The caller's way out is taken behind the loop, or a $.break() in it would leave this loop instead of the caller's.
  const leave = () => {
    short.set(1);
    return $.break();
  };
  $.for(maxHeaders, () => {
    const length: Var<"u32"> = $.let(u32, frag_hdr.size);
    $.if(protocol.eq(NEXTHDR_HOP).or(protocol.eq(NEXTHDR_ROUTING)).or(protocol.eq(NEXTHDR_DEST)), () => {
      const header = $.packet.peek(ipv6_opt_hdr, { else: leave });
      protocol.set(header.nexthdr);
      length.set(header.hdrlen.to(u32).mul(8).add(8));
    })
      .elif(protocol.eq(NEXTHDR_AUTH), () => {
        const header = $.packet.peek(ipv6_opt_hdr, { else: leave });
        protocol.set(header.nexthdr);
        length.set(header.hdrlen.to(u32).mul(4).add(8));
      })
      .elif(protocol.eq(NEXTHDR_FRAGMENT), () => {
        const header = $.packet.peek(frag_hdr, { else: leave });
        protocol.set(header.nexthdr);
        frag.set(header.frag_off.toHost().and(IP6_OFFSET | IP6_MF));
        $.if(frag.has(IP6_OFFSET), () => {
          skipFromStart($, frag_hdr.size, leave);
          return $.break();
        });
      })
      .else(() => $.break());
    skipFromStart($, length, leave);
  });
  $.if(short.ne(0), otherwise);
  return { ip, protocol, fragment: frag.ne(0), laterFragment: frag.has(IP6_OFFSET) };
}
