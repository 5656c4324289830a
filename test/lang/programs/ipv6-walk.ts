import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import {
  type HostVal,
  type LangOptions,
  type View,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from "../../../src/lang/index.ts";
import {
  ethhdr,
  ipv6_opt_hdr,
  ipv6hdr,
  NEXTHDR_AUTH,
  NEXTHDR_DEST,
  NEXTHDR_FRAGMENT,
  NEXTHDR_HOP,
  NEXTHDR_ROUTING,
} from "../../../src/lang/net/index.ts";
import { ETH_P_IPV6 } from "../../../src/uapi/net.ts";
import { protocols } from "../maps.ts";

/** XDP: finds what comes after the IPv6 extension headers, and counts it. Drops what has more than eight of them. */
export function ipv6Walk(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "ipv6_walk",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const drop = { else: () => $.return(XDP_DROP) };
      const eth = $.packet.take(ethhdr, pass);
      const ip6 = $.packet.take(ipv6hdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IPV6), pass.else);

      const proto = $.let(u32, ip6.nexthdr);
      const walk = (bytesOf: (header: View<typeof ipv6_opt_hdr, "packet">) => HostVal<"u32">): void => {
        const header = $.packet.peek(ipv6_opt_hdr, drop);
        $.packet.skip(bytesOf(header), { ...drop, max: 2048 });
        proto.set(header.nexthdr);
      };
      $.for(8, () => {
        $.switch(
          proto,
          [
            [
              [NEXTHDR_HOP, NEXTHDR_ROUTING, NEXTHDR_DEST],
              () => walk(({ hdrlen }) => hdrlen.to(u32).add(1).mul(8)),
            ],
            [NEXTHDR_AUTH, () => walk(({ hdrlen }) => hdrlen.to(u32).add(2).mul(4))],
            [NEXTHDR_FRAGMENT, () => walk(() => $.value(u32, 8))],
          ],
          () => {
            $.atomic.add($.lookup(protocols, proto, pass), 1);
            return $.return(XDP_PASS);
          },
        );
      });
      return $.return(XDP_DROP);
    },
    options,
  );
}
