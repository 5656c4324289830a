import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { cgroupSkb, type LangOptions } from "../../../src/lang/index.ts";
import { iphdr } from "../../../src/lang/net/index.ts";
import { BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { ETH_P_IP } from "../../../src/uapi/net.ts";
import { usage } from "../maps.ts";

/** cgroup egress: counts bytes for each IPv4 destination in a /24, and drops what goes to a network beyond its quota. */
export function egressBytes(options?: LangOptions): Program<"cgroup_skb"> {
  return cgroupSkb(
    "egress_bytes",
    ($) => {
      const pass = { else: () => $.return(1) };
      $.if($.ctx.protocol.ne(ETH_P_IP), pass.else);
      const ip = $.packet.take(iphdr, pass); // a cgroup's packets begin with the network header

      const network = $.struct(u32, ip.daddr.toHost().shr(8));
      const entry = $.lookup(usage, network, {
        else: () => {
          $.update(usage, network, { bytes: $.ctx.len }, BPF_NOEXIST);
          return $.return(1);
        },
      });
      const before = $.atomic.fetchAdd(entry.bytes, $.ctx.len);
      return $.return(entry.quota.eq(0).or(before.lt(entry.quota)).toU32());
    },
    { attachType: "cgroup_inet_egress", ...options },
  );
}
