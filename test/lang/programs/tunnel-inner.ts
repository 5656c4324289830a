import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import {
  ethhdr,
  GRE_CSUM,
  GRE_KEY,
  GRE_SEQ,
  gre_base_hdr,
  iphdr,
  udphdr,
  VXLAN_HF_VNI,
  VXLAN_PORT,
  vxlanhdr,
} from "../../../src/lang/net/index.ts";
import { ETH_P_IP, ETH_P_TEB, IPPROTO_GRE, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { innerBlock } from "../maps.ts";

/** XDP: looks into GRE and VXLAN, and drops packets whose inner IPv4 destination is on a list. */
export function tunnelInner(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "tunnel_inner",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const takeEthernetOfIp = (): void => {
        $.if($.packet.take(ethhdr, pass).h_proto.ne(ETH_P_IP), pass.else);
      };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.peek(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.ihl.lt(5)), pass.else);
      $.packet.skip(ip.ihl.to(u32).mul(4), { ...pass, max: 60 });

      $.switch(
        ip.protocol,
        [
          [
            IPPROTO_GRE,
            () => {
              const gre = $.packet.take(gre_base_hdr, pass);
              for (const flag of [GRE_CSUM, GRE_KEY, GRE_SEQ]) {
                $.if(gre.flags.has(flag), () => $.packet.skip(4));
              }
              $.if(gre.protocol.eq(ETH_P_TEB), takeEthernetOfIp).elif(gre.protocol.ne(ETH_P_IP), pass.else);
            },
          ],
          [
            IPPROTO_UDP,
            () => {
              const udp = $.packet.take(udphdr, pass);
              const vxlan = $.packet.take(vxlanhdr, pass);
              $.if(udp.dest.ne(VXLAN_PORT).or(vxlan.vx_flags.has(VXLAN_HF_VNI).not()), pass.else);
              takeEthernetOfIp();
            },
          ],
        ],
        pass.else,
      );

      const inner = $.packet.take(iphdr, pass);
      $.atomic.add($.lookup(innerBlock, inner.daddr, pass), 1);
      return $.return(XDP_DROP);
    },
    options,
  );
}
