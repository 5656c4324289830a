import type { Program } from "../../../src/asm/program.ts";
import { be16, u8, u32 } from "../../../src/btf/layout/index.ts";
import { type Exit, type LangOptions, TC_ACT_OK, tc } from "../../../src/lang/index.ts";
import { ethhdr, iphdr, ipv6hdr, NEXTHDR_ICMP } from "../../../src/lang/net/index.ts";
import {
  ETH_P_IP,
  ETH_P_IPV6,
  IPPROTO_ESP,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_IGMP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from "../../../src/uapi/net.ts";
import { bytes } from "../maps.ts";

const OTHER = 0;
const KINDS = [
  [IPPROTO_ICMP, 1],
  [IPPROTO_IGMP, 8],
  [IPPROTO_TCP, 2],
  [IPPROTO_UDP, 3],
  [IPPROTO_GRE, 4],
  [IPPROTO_ESP, 5],
  [NEXTHDR_ICMP, 7],
  [IPPROTO_SCTP, 6],
] as const;

/** TC: counts bytes by kind of traffic, reading the packet with bpf_skb_load_bytes. */
export function protocolBytes(options?: LangOptions): Program<"sched_cls"> {
  return tc(
    "protocol_bytes",
    ($) => {
      const ok = (): Exit => $.return(TC_ACT_OK);
      const type = $.struct(be16);
      const protocol = $.struct(u8);
      $.if($.bpf_skb_load_bytes(ethhdr.offset.h_proto, type, 2).ne(0), ok);
      $.if(type.eq(ETH_P_IP), () => {
        $.if($.bpf_skb_load_bytes(ethhdr.size + iphdr.offset.protocol, protocol, 1).ne(0), ok);
      })
        .elif(type.eq(ETH_P_IPV6), () => {
          $.if($.bpf_skb_load_bytes(ethhdr.size + ipv6hdr.offset.nexthdr, protocol, 1).ne(0), ok);
        })
        .else(ok);

      const kind = $.struct(u32);
      $.switch(
        protocol,
        KINDS.map(([number, index]) => [number, () => kind.set(index)] as const),
        () => kind.set(OTHER),
      );
      $.lookup(bytes, kind, (count) => $.atomic.add(count, $.ctx.len));
      return $.return(TC_ACT_OK);
    },
    options,
  );
}
