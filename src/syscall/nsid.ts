import { RTM_GETNSID, RTM_NEWNSID } from "../uapi/netlink.ts";
import type { Fd } from "./fd.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { attrU32, concatBytes, NlAttrs } from "./netlink-message.ts";

/**
 * The id that the socket's namespace knows another network namespace by, as in `peerNetnsId` of a link; `undefined` where
 * it has given it none (`ip netns list-id` shows those it has). Takes no privileges beyond the open descriptor.
 *
 * @throws NetlinkError: EINVAL when the descriptor is not a network namespace.
 */
export function nsidOf(route: NetlinkSocket, namespace: Fd): number | undefined {
  const { messages } = route.request({
    name: "RTM_GETNSID",
    type: RTM_GETNSID,
    payload: concatBytes(RTGENMSG, attrU32(NETNSA_FD, namespace.number)),
    args: { of: namespace.what },
  });
  const message = messages.find(({ type }) => type === RTM_NEWNSID);
  const nsid = message && new NlAttrs(message.payload.subarray(RTGENMSG.length)).s32(NETNSA_NSID);
  return nsid === undefined || nsid < 0 ? undefined : nsid;
}

// linux/net_namespace.h, which the generated tables leave out.
const NETNSA_NSID = 1;
const NETNSA_FD = 3;

/** `struct rtgenmsg` (one byte: AF_UNSPEC), padded to where attributes begin. */
const RTGENMSG = new Uint8Array(4);
