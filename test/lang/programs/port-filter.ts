import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, IP_OFFSET, iphdr, udphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { blockedPorts } from "../maps.ts";

/** XDP: drops UDP over IPv4 to the ports on a list, and counts what it drops for each. */
export function portFilter(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "port_filter",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.peek(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.protocol.ne(IPPROTO_UDP)), pass.else);
      $.if(ip.ihl.lt(5).or(ip.frag_off.has(IP_OFFSET)), pass.else);
      $.packet.skip(ip.ihl.to(u32).mul(4), { ...pass, max: 60 });
      const udp = $.packet.take(udphdr, pass);

      const dropped = $.lookup(blockedPorts, udp.dest.toHost(), pass);
      $.atomic.add(dropped, 1);
      return $.return(XDP_DROP);
    },
    options,
  );
}
