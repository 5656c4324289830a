import { findVethPeer, vethChecksumTrap } from "../../kernel/veth.ts";
import type { XdpMode } from "../../kernel/xdp.ts";
import { netdevXdpFeatures } from "../../syscall/netdev-genl.ts";
import { NetlinkSocket } from "../../syscall/netlink.ts";
import type { Link } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { NETDEV_XDP_ACT_BASIC } from "../../uapi/netlink.ts";

/** The mode to attach in, and what there is to say about it. */
export interface ModeChoice {
  readonly mode: XdpMode | "auto";
  /** Whether the programs declare that they take packets of several buffers. */
  readonly frags: boolean;
  /** Why not native, where it is not although `auto` was asked for. */
  readonly reason?: string;
  /** What will go wrong in the mode that was asked for. */
  readonly warning?: string;
}

/** The usual MTU: from a larger one come packets that may need several buffers. */
export const STANDARD_MTU = 1500;

/**
 * Keeps `auto` from losing packets. Native XDP with a CPU map loses every UDP and TCP packet whose checksum the peer of a
 * veth left to the hardware (see src/kernel/veth.ts); generic XDP loses none. Who asks for native gets it, with a warning.
 *
 * Packets of several buffers are for native mode only: generic XDP with a program that declares them (BPF_F_XDP_HAS_FRAGS)
 * and a CPU map loses every packet (seen on 6.18), and without the declaration none, whatever its size.
 */
export function chooseXdpMode(
  sys: Syscalls,
  route: NetlinkSocket,
  device: Link,
  asked: XdpMode | "auto",
): ModeChoice {
  if (asked === "generic") return { mode: asked, frags: false };
  const frags = largestMtu(sys, route, device) > STANDARD_MTU;
  const cause = lostChecksums(sys, route, device);
  if (asked === "native") {
    const warning =
      cause && `${device.name}: native XDP will lose UDP and TCP packets, while ping works: ${cause}`;
    return { mode: asked, frags, ...(warning === undefined ? {} : { warning }) };
  }
  if (cause !== undefined) {
    return { mode: "generic", frags: false, reason: `native mode would lose UDP and TCP packets: ${cause}` };
  }
  // Programs for large packets must be loaded for one mode or the other, so the driver is asked first.
  if (frags && !driverHasXdp(sys, device)) {
    return { mode: "generic", frags: false, reason: "the driver has no native XDP" };
  }
  return { mode: frags ? "native" : "auto", frags };
}

/** Why checksums will be wrong in native mode, as a clause; `undefined` where they will not, or nobody can tell. */
function lostChecksums(sys: Syscalls, route: NetlinkSocket, device: Link): string | undefined {
  const trap = vethChecksumTrap(sys, route, device);
  if (trap === undefined || trap === "unknown" || !trap.offload) return undefined;
  const peer = `${trap.peer.link.name}${trap.netnsName === undefined ? "" : ` in namespace ${trap.netnsName}`}`;
  return `the peer ${peer} leaves checksums to the hardware (\`doctor ${device.name}\` tells the cure)`;
}

/** The largest packet that may arrive: a veth sends what its peer's MTU allows. */
function largestMtu(sys: Syscalls, route: NetlinkSocket, device: Link): number {
  const peer = findVethPeer(sys, route, device);
  return peer === undefined || "hidden" in peer ? device.mtu : Math.max(device.mtu, peer.link.mtu);
}

/** Whether the driver has native XDP; where the kernel does not tell (before 6.3), the attachment will. */
function driverHasXdp(sys: Syscalls, device: Link): boolean {
  using generic = NetlinkSocket.generic(sys);
  const known = netdevXdpFeatures(generic, device.index);
  return known === undefined || (known.features & NETDEV_XDP_ACT_BASIC) !== 0;
}
