import { LITTLE_ENDIAN } from "../base/host.ts";
import { EOPNOTSUPP } from "../uapi/errno.ts";
import {
  AF_INET,
  ETH_FLAG_LRO,
  ETHTOOL_GCHANNELS,
  ETHTOOL_GFLAGS,
  IFNAMSIZ,
  SIOCETHTOOL,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from "../uapi/net.ts";
import { ethtool_channels, ethtool_value, ifreq, ifreq_ifr_ifru } from "../uapi/structs.ts";
import { AttrError, BpfAttr } from "./attr.ts";
import { check } from "./errno.ts";
import { Fd } from "./fd.ts";
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

const IFREQ = { ifr_data: ifreq_ifr_ifru.ifru_data, size: ifreq.size } as const;

/** Sends a command that only reads; `undefined` where the driver does not know it. */
function read(sys: Syscalls, ifname: string, name: string, cmd: number, size: number): DataView | undefined {
  const encoded = new TextEncoder().encode(ifname);
  if (encoded.byteLength === 0 || encoded.byteLength >= IFNAMSIZ || encoded.includes(0)) {
    throw new AttrError(`"${ifname}" is not an interface name`, { hint: "A name has 1 to 15 bytes." });
  }
  const command = new Uint8Array(size);
  const view = new DataView(command.buffer);
  view.setUint32(0, cmd, LITTLE_ENDIAN);
  const request = new BpfAttr(sys, IFREQ).ptr("ifr_data", command);
  request.bytes.set(encoded);
  using socket = Fd.own(
    sys,
    check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket(AF_INET)"),
    "ioctl socket",
  );
  const result = sys.ioctl(socket.number, SIOCETHTOOL, request.bytes);
  if (result === -EOPNOTSUPP) return undefined;
  check(result, `ioctl(SIOCETHTOOL, ${name})`, { dev: ifname });
  return view;
}
