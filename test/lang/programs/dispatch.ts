import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr, ipv6hdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, ETH_P_IPV6 } from "../../../src/uapi/net.ts";
import { missed, programs } from "../maps.ts";

/** XDP: a tail call by IP protocol; counts what no program is there for. */
export function dispatch(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "dispatch",
    ($) => {
      const drop = { else: () => $.return(XDP_DROP) };
      const pass = { else: () => $.return(XDP_PASS) };
      const proto = $.let(u32, 0);
      const eth = $.packet.take(ethhdr, drop);
      $.if(eth.h_proto.eq(ETH_P_IP), () => proto.set($.packet.take(iphdr, drop).protocol))
        .elif(eth.h_proto.eq(ETH_P_IPV6), () => proto.set($.packet.take(ipv6hdr, drop).nexthdr))
        .else(pass.else);

      $.tailCall(programs, proto);
      $.atomic.add($.lookup(missed, proto, pass), 1);
      return $.return(XDP_PASS);
    },
    options,
  );
}
