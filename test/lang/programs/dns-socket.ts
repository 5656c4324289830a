import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type Exit, type LangOptions, socketFilter } from "../../../src/lang/index.ts";
import { IP_OFFSET, iphdr, udphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, IPPROTO_UDP } from "../../../src/uapi/net.ts";

const SNAPLEN = 128;
const DNS_PORT = 53;

/**
 * Socket filter: keeps the first 128 bytes of DNS over UDP and IPv4, and nothing else. For a packet socket of type SOCK_DGRAM,
 * whose packets begin with the network header.
 */
export function dnsSocket(options?: LangOptions): Program<"socket_filter"> {
  return socketFilter(
    "dns_socket",
    ($) => {
      const drop = (): Exit => $.return(0);
      const ip = $.struct(iphdr);
      const udp = $.struct(udphdr);
      $.if($.ctx.protocol.ne(ETH_P_IP), drop);
      $.if($.bpf_skb_load_bytes(0, ip, iphdr.size).ne(0), drop);
      $.if(ip.protocol.ne(IPPROTO_UDP).or(ip.ihl.lt(5)).or(ip.frag_off.has(IP_OFFSET)), drop);
      $.if($.bpf_skb_load_bytes(ip.ihl.to(u32).mul(4), udp, udphdr.size).ne(0), drop);
      $.if(udp.source.ne(DNS_PORT).and(udp.dest.ne(DNS_PORT)), drop);
      return $.return(SNAPLEN);
    },
    options,
  );
}
