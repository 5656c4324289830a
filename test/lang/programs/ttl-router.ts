import type { Program } from "../../../src/asm/program.ts";
import { be16, u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, XDP_TX, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP } from "../../../src/uapi/net.ts";
import { swapMacs } from "./swap-macs.ts";

/** XDP: takes one off the TTL, mends the header checksum, swaps the MAC addresses and sends the packet back. */
export function ttlRouter(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "ttl_router",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.take(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP), pass.else);
      $.if(ip.ttl.le(1), () => $.return(XDP_DROP));

      // RFC 1624: the sum of the header's words falls by 0x0100, so its complement rises by that.
      const sum = $.let(u32, ip.check.toHost().to(u32).add(0x0100));
      $.if(sum.ge(0xffff), () => sum.set(sum.add(1)));
      ip.check.set(sum.to(be16));
      ip.ttl.set(ip.ttl.sub(1));

      swapMacs($, eth);
      return $.return(XDP_TX);
    },
    options,
  );
}
