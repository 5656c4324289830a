import type { Program } from "../../../src/asm/program.ts";
import { type LangOptions, XDP_ABORTED, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { counters } from "../maps.ts";

/** XDP: counts packets and bytes in a per-CPU array, and passes all of them. */
export function countPackets(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "count_packets",
    ($) => {
      const counter = $.lookup(counters, 0, { else: () => $.return(XDP_ABORTED) });
      counter.packets.set(counter.packets.add(1));
      counter.bytes.set(counter.bytes.add($.packet.length()));
      return $.return(XDP_PASS);
    },
    options,
  );
}
