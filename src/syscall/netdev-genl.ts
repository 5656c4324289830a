import { ENODEV, ENOENT } from "../uapi/errno.ts";
import {
  CTRL_ATTR_FAMILY_ID,
  CTRL_ATTR_FAMILY_NAME,
  CTRL_CMD_GETFAMILY,
  GENL_ID_CTRL,
  NETDEV_A_DEV_IFINDEX,
  NETDEV_A_DEV_XDP_FEATURES,
  NETDEV_A_DEV_XDP_ZC_MAX_SEGS,
  NETDEV_CMD_DEV_GET,
  NETDEV_FAMILY_NAME,
} from "../uapi/netlink.ts";
import { genlmsghdr } from "../uapi/structs.ts";
import { NetlinkError, type NetlinkSocket } from "./netlink.ts";
import { attrString, attrU32, concatBytes, NlAttrs } from "./netlink-message.ts";

/** The id the running kernel gave a generic netlink family, or `undefined` if it has no such family. */
export function genlFamilyId(generic: NetlinkSocket, name: string): number | undefined {
  const attrs = ask(generic, {
    name: "CTRL_CMD_GETFAMILY",
    type: GENL_ID_CTRL,
    payload: genlPayload(CTRL_CMD_GETFAMILY, attrString(CTRL_ATTR_FAMILY_NAME, name)),
    args: { family: name },
  });
  return attrs?.u16(CTRL_ATTR_FAMILY_ID);
}

/** What an interface's driver says of its XDP. */
export interface NetdevXdpFeatures {
  /** `NETDEV_XDP_ACT_*`: BASIC 1, REDIRECT 2, NDO_XMIT 4, XSK_ZEROCOPY 8, HW_OFFLOAD 16, RX_SG 32, NDO_XMIT_SG 64. */
  readonly features: number;
  /** Largest number of fragments of a zero-copy AF_XDP packet. */
  readonly zeroCopyMaxSegs: number | undefined;
}

/**
 * The XDP features of an interface, from the "netdev" family (6.3+); `undefined` when the kernel has no such family, or
 * there is no such interface in the socket's namespace.
 */
export function netdevXdpFeatures(generic: NetlinkSocket, ifindex: number): NetdevXdpFeatures | undefined {
  const family = genlFamilyId(generic, NETDEV_FAMILY_NAME);
  if (family === undefined) return undefined;
  const attrs = ask(generic, {
    name: "NETDEV_CMD_DEV_GET",
    type: family,
    payload: genlPayload(NETDEV_CMD_DEV_GET, attrU32(NETDEV_A_DEV_IFINDEX, ifindex)),
    args: { ifindex },
  });
  const features = attrs?.u64(NETDEV_A_DEV_XDP_FEATURES);
  if (attrs === undefined || features === undefined) return undefined;
  return { features: Number(features), zeroCopyMaxSegs: attrs.u32(NETDEV_A_DEV_XDP_ZC_MAX_SEGS) };
}

function ask(generic: NetlinkSocket, request: Parameters<NetlinkSocket["request"]>[0]): NlAttrs | undefined {
  try {
    const [message] = generic.request(request).messages;
    return message && new NlAttrs(message.payload.subarray(genlmsghdr.size));
  } catch (error) {
    if (error instanceof NetlinkError && (error.errno === ENOENT || error.errno === ENODEV)) return undefined;
    throw error;
  }
}

function genlPayload(cmd: number, ...attrs: readonly Uint8Array[]): Uint8Array {
  const header = new Uint8Array(genlmsghdr.size);
  header[genlmsghdr.cmd] = cmd;
  header[genlmsghdr.version] = 1;
  return concatBytes(header, ...attrs);
}
