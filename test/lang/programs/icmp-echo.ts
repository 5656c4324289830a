import type { Program } from "../../../src/asm/program.ts";
import { be16, struct, u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_PASS, XDP_TX, xdp } from "../../../src/lang/index.ts";
import { ethhdr, icmphdr, iphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, IPPROTO_ICMP } from "../../../src/uapi/net.ts";
import { swapMacs } from "./swap-macs.ts";

const ICMP_ECHOREPLY = 0;
const ICMP_ECHO = 8;

/** XDP: answers pings (IPv4 without options) by itself. */
export function icmpEcho(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "icmp_echo",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const { eth, ip, icmp } = $.packet.take(echo, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.ihl.ne(5)).or(ip.protocol.ne(IPPROTO_ICMP)), pass.else);
      $.if(icmp.type.ne(ICMP_ECHO).or(icmp.code.ne(0)), pass.else);

      swapMacs($, eth);
      const { saddr } = ip;
      ip.saddr.set(ip.daddr);
      ip.daddr.set(saddr);

      icmp.type.set(ICMP_ECHOREPLY);
      const sum = icmp.checksum
        .toHost()
        .to(u32)
        .add(ICMP_ECHO << 8);
      icmp.checksum.set(sum.add(sum.shr(16)).to(be16));
      return $.return(XDP_TX);
    },
    options,
  );
}

const echo = struct("echo", { eth: ethhdr, ip: iphdr, icmp: icmphdr }, { packed: true });
