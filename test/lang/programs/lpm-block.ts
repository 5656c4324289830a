import type { Program } from "../../../src/asm/program.ts";
import { type LangOptions, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP } from "../../../src/uapi/net.ts";
import { networks } from "../maps.ts";

/** XDP: drops IPv4 packets from the networks of a list. */
export function lpmBlock(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "lpm_block",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.take(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP), pass.else);

      const network = $.lookup(networks, { prefixlen: 32, addr: ip.saddr }, pass);
      $.atomic.add(network.packets, 1);
      return $.return(network.action);
    },
    options,
  );
}
