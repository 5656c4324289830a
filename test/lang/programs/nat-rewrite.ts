import type { Program } from "../../../src/asm/program.ts";
import { struct } from "../../../src/btf/layout/index.ts";
import { type LangOptions, TC_ACT_OK, tc } from "../../../src/lang/index.ts";
import { ethhdr, iphdr, udphdr } from "../../../src/lang/net/index.ts";
import { BPF_F_PSEUDO_HDR } from "../../../src/uapi/bpf.ts";
import { ETH_P_IP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { nat } from "../maps.ts";

const IP = ethhdr.size;
const UDP = IP + iphdr.size;

/** TC: rewrites the destination of UDP over IPv4 (without options) by a table, and mends both checksums. */
export function natRewrite(options?: LangOptions): Program<"sched_cls"> {
  return tc(
    "nat_rewrite",
    ($) => {
      const ok = { else: () => $.return(TC_ACT_OK) };
      const { eth, ip, udp } = $.packet.take(headers, ok);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.ihl.ne(5)).or(ip.protocol.ne(IPPROTO_UDP)), ok.else);

      const [addr, port] = [ip.daddr.raw(), udp.dest.raw()];
      const to = $.lookup(nat, { addr: ip.daddr, port: udp.dest }, ok);
      $.if(udp.check.ne(0), () => {
        const check = UDP + udphdr.offset.check;
        $.bpf_l4_csum_replace(check, addr, to.addr.raw(), BPF_F_PSEUDO_HDR | 4);
        $.bpf_l4_csum_replace(check, port, to.port.raw(), 2);
      });
      $.bpf_l3_csum_replace(IP + iphdr.offset.check, addr, to.addr.raw(), 4);
      $.bpf_skb_store_bytes(IP + iphdr.offset.daddr, to.addr, 4, 0);
      $.bpf_skb_store_bytes(UDP + udphdr.offset.dest, to.port, 2, 0);
      return $.return(TC_ACT_OK);
    },
    options,
  );
}

const headers = struct("headers", { eth: ethhdr, ip: iphdr, udp: udphdr }, { packed: true });
