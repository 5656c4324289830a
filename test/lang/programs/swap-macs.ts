import type { View, XdpScope } from "../../../src/lang/index.ts";
import { ethhdr } from "../../../src/lang/net/index.ts";

/** Sends a frame back to where it came from. */
export function swapMacs($: XdpScope, eth: View<typeof ethhdr, "packet">): void {
  const destination = $.struct(ethhdr.members.h_dest, eth.h_dest);
  $.copy(eth.h_dest, eth.h_source);
  $.copy(eth.h_source, destination);
}
