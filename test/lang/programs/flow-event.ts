import type { Program } from "../../../src/asm/program.ts";
import { be16, be32, bytes, struct, u8 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP, IPPROTO_TCP } from "../../../src/uapi/net.ts";
import { events, flowEvent, lost } from "../maps.ts";

/** XDP: tells user space about TCP connections that begin or end (SYN, FIN, RST), through a ring buffer. */
export function flowEvents(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "flow_event",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const { eth, ip, tcp } = $.packet.take(headers, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.ihl.ne(5)).or(ip.protocol.ne(IPPROTO_TCP)), pass.else);
      const { flags } = tcp;
      $.if(flags.has(FIN | SYN | RST).not(), pass.else);

      const event = $.reserve(events, flowEvent, {
        else: () => {
          $.atomic.add($.lookup(lost, 0, pass), 1);
          return $.return(XDP_PASS);
        },
      });
      $.assign(event, {
        saddr: ip.saddr,
        daddr: ip.daddr,
        sport: tcp.source,
        dport: tcp.dest,
        flags,
        reserved: [0, 0, 0],
        length: $.packet.length(),
        queue: $.ctx.rx_queue_index,
      });
      $.submit(event);
      return $.return(XDP_PASS);
    },
    options,
  );
}

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
/** A TCP header whose flags are one byte. */
const tcpFlags = struct("tcp_flags", {
  source: be16,
  dest: be16,
  seq: be32,
  ack_seq: be32,
  doff: u8,
  flags: u8,
  rest: bytes(6),
});
const headers = struct("headers", { eth: ethhdr, ip: iphdr, tcp: tcpFlags }, { packed: true });
