import type { Program } from "../../../src/asm/program.ts";
import { be32, u32, u64 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr, tcphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, IPPROTO_TCP } from "../../../src/uapi/net.ts";
import { buckets } from "../maps.ts";

const BURST = 8;
const INTERVAL_NS = 100_000_000_000n;

/** XDP: a token bucket for each source of TCP SYNs: 8 at once, and one more each 100 s. */
export function synBucket(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "syn_bucket",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.peek(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.protocol.ne(IPPROTO_TCP)).or(ip.ihl.lt(5)), pass.else);
      $.packet.skip(ip.ihl.to(u32).mul(4), { ...pass, max: 60 });
      const tcp = $.packet.take(tcphdr, pass);
      $.if(tcp.syn.eq(0).or(tcp.ack.ne(0)), pass.else);

      const now = $.bpf_ktime_get_ns();
      const source = $.struct(be32, ip.saddr);
      const bucket = $.lookup(buckets, source, {
        else: () => {
          $.update(buckets, source, { last: now, tokens: BURST - 1 });
          return $.return(XDP_PASS);
        },
      });

      const tokens = $.let(u64, bucket.tokens);
      const earned = now.sub(bucket.last).div(INTERVAL_NS);
      $.if(earned.ne(0), () => {
        bucket.last.set(bucket.last.add(earned.mul(INTERVAL_NS)));
        tokens.set(tokens.add(earned));
        $.if(tokens.gt(BURST), () => tokens.set(BURST));
      });
      $.if(tokens.eq(0), () => {
        bucket.tokens.set(0);
        return $.return(XDP_DROP);
      });
      bucket.tokens.set(tokens.sub(1));
      return $.return(XDP_PASS);
    },
    options,
  );
}
