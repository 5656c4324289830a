import type { Program } from "../../../src/asm/program.ts";
import { u8, u16, u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP } from "../../../src/uapi/net.ts";
import { sums } from "../maps.ts";

/** XDP: the Internet checksum of up to 512 bytes behind the IPv4 header, kept for the flow's addresses. */
export function payloadSum(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "payload_sum",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const end = { else: () => $.break() };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.take(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.ihl.ne(5)), pass.else);

      const sum = $.let(u32, 0);
      $.for(256, () => sum.set(sum.add($.packet.take(u16, end))));
      $.for(1, () => sum.set(sum.add($.packet.take(u8, end))));
      sum.set(sum.and(0xffff).add(sum.shr(16)));
      sum.set(sum.and(0xffff).add(sum.shr(16)));
      $.update(sums, { saddr: ip.saddr, daddr: ip.daddr }, sum.not().and(0xffff));
      return $.return(XDP_PASS);
    },
    options,
  );
}
