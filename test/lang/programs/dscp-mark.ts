import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, TC_ACT_OK, TC_ACT_UNSPEC, tc } from "../../../src/lang/index.ts";
import { ethhdr, iphdr, ipv6hdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, ETH_P_IPV6 } from "../../../src/uapi/net.ts";

/** TC: gives packets a mark and a priority by the DSCP of their IPv4 or IPv6 header. */
export function dscpMark(options?: LangOptions): Program<"sched_cls"> {
  return tc(
    "dscp_mark",
    ($) => {
      const ok = { else: () => $.return(TC_ACT_OK) };
      const dscp = $.let(u32, 0);
      $.packet.skip(ethhdr.size);
      $.if($.ctx.protocol.eq(ETH_P_IP), () => {
        dscp.set($.packet.take(iphdr, ok).tos.shr(2));
      })
        .elif($.ctx.protocol.eq(ETH_P_IPV6), () => {
          const ip6 = $.packet.take(ipv6hdr, ok);
          dscp.set(ip6.priority.shl(2).or(ip6.flow_lbl.at(0).shr(6)));
        })
        .else(() => $.return(TC_ACT_UNSPEC));

      const mark = $.let(u32, dscp);
      const priority = $.let(u32, $.ctx.priority);
      $.if(dscp.eq(46), () => {
        mark.set(dscp.or(0x100));
        priority.set(6);
      }).elif(dscp.ge(32), () => {
        mark.set(dscp.or(0x200));
        priority.set(4);
      });
      $.ctx.mark.set(mark);
      $.ctx.priority.set(priority);
      return $.return(TC_ACT_OK);
    },
    options,
  );
}
