import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type HostVal, type LangOptions, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, IP_MF, IP_OFFSET, iphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, IPPROTO_TCP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { cpus } from "../maps.ts";

const CPUS = 2;

/** XDP: sends all packets of one IPv4 flow, in both directions, to one CPU. */
export function flowCpu(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "flow_cpu",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.peek(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP), pass.else);

      const ports = $.let(u32, 0);
      const hasPorts = ip.protocol.eq(IPPROTO_TCP).or(ip.protocol.eq(IPPROTO_UDP));
      $.if(hasPorts.and(ip.frag_off.has(IP_MF | IP_OFFSET).not()), () => {
        $.for(1, () => {
          const none = { else: () => $.break() };
          $.packet.skip(ip.ihl.to(u32).mul(4), { ...none, max: 60 });
          ports.set($.packet.take(u32, none));
        });
      });
      const hash = flowHash(ip.saddr.raw(), ip.daddr.raw(), ports, ip.protocol.to(u32));
      return $.return($.bpf_redirect_map(cpus, hash.mod(CPUS), XDP_PASS));
    },
    options,
  );
}

/** The same in both directions: what goes in is symmetric. */
function flowHash(
  saddr: HostVal<"u32">,
  daddr: HostVal<"u32">,
  ports: HostVal<"u32">,
  protocol: HostVal<"u32">,
): HostVal<"u32"> {
  const addresses = saddr.xor(daddr).mul(0x9e3779b1);
  const folded = ports.xor(ports.shr(16)).and(0xffff).mul(0x85ebca6b);
  const hash = addresses.xor(folded).add(protocol);
  const mixed = hash.xor(hash.shr(15)).mul(0xc2b2ae35);
  return mixed.xor(mixed.shr(13));
}
