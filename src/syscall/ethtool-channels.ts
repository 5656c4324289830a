import { LITTLE_ENDIAN } from "../base/host.ts";
import { ETH_FLAG_LRO, ETHTOOL_GCHANNELS, ETHTOOL_GFLAGS } from "../uapi/net.ts";
import { ethtool_channels, ethtool_value } from "../uapi/structs.ts";
import { ethtoolCommand } from "./ethtool-command.ts";
import type { Syscalls } from "./syscalls.ts";

/** The queues of an interface that are in use; those of a link are how many it has at most. */
export interface Channels {
  readonly rx: number;
  readonly tx: number;
}

/** The queues in use (a combined channel counts as both), or `undefined` where the driver does not say. */
export function channels(sys: Syscalls, ifname: string): Channels | undefined {
  const reply = read(sys, ifname, "ETHTOOL_GCHANNELS", ETHTOOL_GCHANNELS, ethtool_channels.size);
  if (reply === undefined) return undefined;
  const count = (field: "rx_count" | "tx_count" | "combined_count"): number =>
    reply.getUint32(ethtool_channels[field], LITTLE_ENDIAN);
  const combined = count("combined_count");
  return { rx: count("rx_count") + combined, tx: count("tx_count") + combined };
}

/** Whether large receive offload is on, or `undefined` where the driver does not say. */
export function largeReceiveOffload(sys: Syscalls, ifname: string): boolean | undefined {
  const reply = read(sys, ifname, "ETHTOOL_GFLAGS", ETHTOOL_GFLAGS, ethtool_value.size);
  return reply && (reply.getUint32(ethtool_value.data, LITTLE_ENDIAN) & ETH_FLAG_LRO) !== 0;
}

/** Sends a command that only reads; `undefined` where the driver does not know it. */
function read(sys: Syscalls, ifname: string, name: string, cmd: number, size: number): DataView | undefined {
  const command = new Uint8Array(size);
  const view = new DataView(command.buffer);
  view.setUint32(0, cmd, LITTLE_ENDIAN);
  return ethtoolCommand(sys, ifname, name, command) ? view : undefined;
}
