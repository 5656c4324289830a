import { mapDef } from "../../src/asm/index.ts";
import { array, bytes, struct, u32 } from "../../src/btf/layout/index.ts";
import {
  cgroupSkb,
  TC_ACT_OK,
  type TcScope,
  tc,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../src/lang/index.ts";
import { checksum, ethhdr, iphdr, parseIpv4, rewrite, tcphdr, udphdr } from "../../src/lang/net/index.ts";
import { refusals } from "./refusal.ts";

// What goes wrong with packets that move, with copies of their bytes, with metadata and with checksums: see misuse.test.ts.

const refused = refusals(import.meta.url);

const pass = ($: XdpScope) => ({ else: () => $.return(XDP_PASS) });
const ok = ($: TcScope) => ({ else: () => $.return(TC_ACT_OK) });
/** For what the compiler refuses already: as JavaScript would write it. */
const untyped = <T>(thing: T): never => thing as never;

const programs = mapDef({ name: "programs", type: "prog_array", maxEntries: 1 });

// --- old views -------------------------------------------------------------------------------------------------------

const AGAIN = "Take what you need from $.packet again: it starts at the packet's first byte.";

refused(
  "the struct ethhdr of the packet cannot be used any more: $.packet.adjustHead may have moved the packet",
  AGAIN,
  () => {
    xdp("head", ($) => {
      const eth = $.packet.take(ethhdr, pass($));
      $.packet.adjustHead(-4, pass($));
      eth.h_proto.set(0x8100); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the struct ethhdr of the packet cannot be used any more: $.packet.adjustTail may have moved the packet",
  AGAIN,
  () => {
    xdp("refused", ($) => {
      const eth = $.packet.take(ethhdr, pass($));
      // Where it was refused, too, the verifier has forgotten what was checked.
      const otherwise = () => {
        eth.h_proto.set(0x8100); // here
        return $.return(XDP_PASS);
      };
      $.packet.adjustTail(-4, { else: otherwise });
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the struct iphdr of the packet cannot be used any more: $.packet.pull may have moved the packet",
  AGAIN,
  () => {
    tc("pull", ($) => {
      $.packet.skip(ethhdr.size);
      const ip = $.packet.take(iphdr, ok($));
      $.packet.pull(200, ok($));
      $.if(ip.ttl.eq(0), () => $.return(TC_ACT_OK)); // here
      return $.return(TC_ACT_OK);
    });
  },
);

refused(
  "the struct ethhdr of the packet cannot be used any more: $.packet.store may have moved the packet",
  AGAIN,
  () => {
    tc("store", ($) => {
      const eth = $.packet.take(ethhdr, ok($));
      $.packet.store(0, $.struct(ethhdr), ok($));
      eth.h_proto.set(0x0800); // here
      return $.return(TC_ACT_OK);
    });
  },
);

refused(
  "the struct ethhdr of the packet cannot be used any more: $.tailCall may have moved the packet",
  AGAIN,
  () => {
    xdp("tail_call", ($) => {
      const eth = $.packet.take(ethhdr, pass($));
      $.tailCall(programs, 0);
      eth.h_proto.set(0x0800); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the struct meta in front of the packet cannot be used any more: $.packet.adjustHead may have moved the packet",
  AGAIN,
  () => {
    xdp("old_meta", ($) => {
      const meta = $.packet.adjustMeta(struct("meta", { flow: u32 }), pass($));
      $.packet.adjustHead(4, pass($));
      meta.flow.set(1); // here
      return $.return(XDP_PASS);
    });
  },
);

// --- metadata --------------------------------------------------------------------------------------------------------

refused(
  "struct meta has 6 bytes, and the kernel takes metadata of a multiple of 4",
  "Make it 8 bytes, with a field that is not used.",
  () => {
    xdp("odd_meta", ($) => {
      $.packet.adjustMeta(struct("meta", { mac: bytes(6) }), pass($)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "struct meta has 36 bytes, and kernel 5.10 takes metadata of at most 32",
  'Make it smaller, or build the program with { kernel: "6.8" }, which takes 252.',
  () => {
    xdp("long_meta", ($) => {
      $.packet.adjustMeta(struct("meta", { words: array(u32, 9) }), pass($)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "struct meta has 256 bytes, and kernel 6.8 takes metadata of at most 252",
  "Make it smaller, or put the rest into a map.",
  () => {
    xdp(
      "too_long_meta",
      ($) => {
        $.packet.adjustMeta(struct("meta", { words: array(u32, 64) }), pass($)); // here
        return $.return(XDP_PASS);
      },
      { kernel: "6.8" },
    );
  },
);

// --- copies ----------------------------------------------------------------------------------------------------------

refused(
  "$.packet.load is there in XDP from kernel 5.18 on, and this program is for 5.10",
  'Use $.packet.take, or build the program with { kernel: "5.18" }.',
  () => {
    xdp("load", ($) => {
      $.packet.load(14, iphdr, pass($)); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "$.packet.store takes bytes from the stack, a map's value or a record, and gets the struct ethhdr of the packet",
  "Copy it first: $.struct(layout, view).",
  () => {
    tc("store_packet", ($) => {
      const eth = $.packet.take(ethhdr, ok($));
      $.packet.store(14, eth, ok($)); // here
      return $.return(TC_ACT_OK);
    });
  },
);

refused(
  "the `else` of something that can fail is missing",
  "Say what happens then, last: { else: () => $.return(…) }.",
  () => {
    tc("no_else", ($) => {
      $.packet.pull(untyped(100), untyped(undefined)); // here
      return $.return(TC_ACT_OK);
    });
  },
);

refused(
  "the `else` of something that can fail goes on",
  "End the path in it: else: () => $.return(…), $.break() or $.continue().",
  () => {
    xdp("goes_on", ($) => {
      $.packet.adjustHead(4, untyped({ else: () => {} })); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "where $.packet.adjustRoom makes room is missing",
  'Say { at: "mac" } for behind the link-layer header, { at: "network" } for behind the network header.',
  () => {
    tc("room", ($) => {
      $.packet.adjustRoom(8, untyped(ok($))); // here
      return $.return(TC_ACT_OK);
    });
  },
);

refused(
  "-14 does not fit into a u32, which holds 0 to 4294967295",
  "Arithmetic wraps around; constants must fit.",
  () => {
    tc("change_head", ($) => {
      $.packet.changeHead(-14, ok($)); // here
      return $.return(TC_ACT_OK);
    });
  },
);

// --- checksums -------------------------------------------------------------------------------------------------------

refused(
  "rewrite changes what the checksum of TCP or UDP covers, and no such header is given",
  "Give it, too: { ip, udp }. Where the packet has none, say { noTransport: true }, last.",
  () => {
    xdp("no_transport", ($) => {
      const { ip } = parseIpv4($, pass($));
      rewrite($, { ip }, { ip: { daddr: 0x0a000001 } }); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "rewrite does not change 'protocol' of struct iphdr",
  "It mends checksums itself; which header follows, and where, stays as it is.",
  () => {
    xdp("protocol", ($) => {
      const { ip } = parseIpv4($, pass($));
      rewrite($, { ip }, { ip: untyped({ protocol: 6 }) }); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "rewrite changes 'udp', and that header is not given",
  "Give the headers of one packet by these names: { ip, ip6, tcp, udp, icmp, icmp6 }.",
  () => {
    xdp("not_given", ($) => {
      const { ip } = parseIpv4($, pass($));
      rewrite($, { ip }, untyped({ udp: { dest: 53 } })); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "rewrite knows no header 'eth'",
  "Give the headers of one packet by these names: { ip, ip6, tcp, udp, icmp, icmp6 }.",
  () => {
    xdp("eth", ($) => {
      const eth = $.packet.take(ethhdr, pass($));
      rewrite($, untyped({ eth }), {}); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "rewrite is given two headers of the same layer: tcp and udp",
  "Give those of one packet: an IP header and what follows it.",
  () => {
    xdp("both", ($) => {
      const { ip } = parseIpv4($, pass($));
      const [tcp, udp] = [$.packet.peek(tcphdr, pass($)), $.packet.peek(udphdr, pass($))];
      rewrite($, { ip, tcp, udp }, { ip: { ttl: 1 } }); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "the struct udphdr of the packet cannot be used any more: rewrite may have moved the packet",
  AGAIN,
  () => {
    tc("after", ($) => {
      $.packet.take(ethhdr, ok($));
      const { ip } = parseIpv4($, ok($));
      const udp = $.packet.take(udphdr, ok($));
      rewrite($, { ip, udp }, { udp: { dest: 53 } });
      $.if(udp.len.eq(8), () => $.return(TC_ACT_OK)); // here
      return $.return(TC_ACT_OK);
    });
  },
);

refused(
  "the struct iphdr of the packet cannot be written",
  "The kernel lets programs of this type read it, not write it.",
  () => {
    cgroupSkb("read_only", ($) => {
      const ip = $.packet.take(iphdr, { else: () => $.return(1) });
      rewrite($, { ip }, { ip: { ttl: 1 } }); // here
      return $.return(1);
    });
  },
);

refused(
  "a piece of 3 bytes stands in front of something else in a checksum",
  "Checksums add up words of two bytes: only what comes last may have an odd number of bytes.",
  () => {
    xdp("odd", ($) => {
      const { first, rest } = $.packet.take(struct("pieces", { first: bytes(3), rest: bytes(4) }), pass($));
      checksum($, [first, rest]); // here
      return $.return(XDP_PASS);
    });
  },
);

refused(
  "a checksum over the rest of the packet needs { bytes, max, else }",
  "The kernel must be able to prove that it ends: say how many bytes it may be at the most, up to 65535.",
  () => {
    xdp("no_max", ($) => {
      const rest = { bytes: $.ctx.rx_queue_index, ...pass($) };
      checksum($, [], untyped({ rest })); // here
      return $.return(XDP_PASS);
    });
  },
);
