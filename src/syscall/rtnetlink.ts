import { LITTLE_ENDIAN } from "../base/host.ts";
import { ENODEV, ENOENT } from "../uapi/errno.ts";
import {
  IFLA_ADDRESS,
  IFLA_ALT_IFNAME,
  IFLA_EXT_MASK,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINK_NETNSID,
  IFLA_LINKINFO,
  IFLA_MTU,
  IFLA_NUM_RX_QUEUES,
  IFLA_NUM_TX_QUEUES,
  IFLA_PROP_LIST,
  IFLA_XDP,
  IFLA_XDP_ATTACHED,
  IFLA_XDP_DRV_PROG_ID,
  IFLA_XDP_EXPECTED_FD,
  IFLA_XDP_FD,
  IFLA_XDP_FLAGS,
  IFLA_XDP_HW_PROG_ID,
  IFLA_XDP_PROG_ID,
  IFLA_XDP_SKB_PROG_ID,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_SETLINK,
  XDP_ATTACHED_DRV,
  XDP_ATTACHED_HW,
  XDP_ATTACHED_MULTI,
  XDP_ATTACHED_NONE,
  XDP_ATTACHED_SKB,
  XDP_FLAGS_REPLACE,
} from "../uapi/netlink.ts";
import { ifinfomsg } from "../uapi/structs.ts";
import { NetlinkError, type NetlinkSocket } from "./netlink.ts";
import {
  attrNested,
  attrS32,
  attrString,
  attrU32,
  concatBytes,
  decodeAttrs,
  NetlinkFormatError,
  NlAttrs,
  type NlMessage,
} from "./netlink-message.ts";

/** A network interface, as the kernel describes it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Alternative names (5.5+). */
  readonly altNames: readonly string[];
  /** `ARPHRD_*`: 1 Ethernet, 772 loopback, 65534 none (tun, wireguard). */
  readonly type: number;
  /** `IFF_*`: 1 up, 64 running. */
  readonly flags: number;
  readonly mtu: number;
  /** Hardware address, in wire order. */
  readonly address: Uint8Array | undefined;
  /** `veth`, `bridge`, `vlan`...; `undefined` for hardware and loopback. */
  readonly kind: string | undefined;
  /** For veth and netkit the other end's index, in its own namespace; for VLANs and the like the lower device. */
  readonly peerIndex: number | undefined;
  /** The namespace that `peerIndex` belongs to, by id; `undefined` for this one. */
  readonly peerNetnsId: number | undefined;
  readonly rxQueues: number | undefined;
  readonly txQueues: number | undefined;
  readonly xdp: XdpState;
}

/** What XDP programs an interface has; ids are those of `bpf_prog_info`. */
export interface XdpState {
  readonly mode: XdpStateMode;
  /** The program, where there is just one. */
  readonly progId: number | undefined;
  readonly nativeProgId: number | undefined;
  readonly genericProgId: number | undefined;
  readonly hardwareProgId: number | undefined;
}

/** Which mode is active; `several` when hardware and another one are. */
export type XdpStateMode = "none" | "native" | "generic" | "hardware" | "several";

/** The interface with this index in the socket's namespace, or `undefined`. */
export function linkByIndex(route: NetlinkSocket, ifindex: number): Link | undefined {
  return getLink(route, ifindex, [], { ifindex });
}

/** The interface with this name (at most 15 bytes) or alternative name, or `undefined`. */
export function linkByName(route: NetlinkSocket, name: string): Link | undefined {
  const type = Buffer.byteLength(name) < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME;
  return getLink(route, 0, [attrString(type, name)], { dev: name });
}

/** Every interface of the socket's namespace. */
export function listLinks(route: NetlinkSocket): Link[] {
  const payload = concatBytes(encodeIfinfo(0), SKIP_STATS);
  return route
    .dump({ name: "RTM_GETLINK", type: RTM_GETLINK, payload })
    .filter(({ type }) => type === RTM_NEWLINK)
    .map(decodeLink);
}

/** What {@link setXdp} does. */
export interface SetXdp {
  readonly ifindex: number;
  /** The program to attach; -1 detaches. */
  readonly fd: number;
  /**
   * `XDP_FLAGS_*`: UPDATE_IF_NOEXIST 1, SKB_MODE 2, DRV_MODE 4, HW_MODE 8. Without a mode flag the kernel means native
   * where the driver can do that, else generic, for a detach too. REPLACE is added for `expectedFd`.
   */
  readonly flags: number;
  /** Do it only if this program is attached now; -1 for "only if there is none". Atomic (5.7+). */
  readonly expectedFd?: number | undefined;
}

/**
 * Attaches, replaces or detaches an XDP program over netlink; it stays when this process ends.
 *
 * Without `expectedFd` and `XDP_FLAGS_UPDATE_IF_NOEXIST` somebody else's program is replaced without a word, and
 * detaching with the wrong mode flag succeeds and does nothing: ask for the state afterwards.
 *
 * @throws {@link NetlinkError}: EBUSY "XDP program already attached", EEXIST "Native and generic XDP can't be active at
 * the same time" or "Active program does not match expected", EOPNOTSUPP, ERANGE, with the kernel's explanation.
 */
export function setXdp(route: NetlinkSocket, { ifindex, fd, flags, expectedFd }: SetXdp): void {
  const replace = expectedFd === undefined ? 0 : XDP_FLAGS_REPLACE;
  const xdp = [attrS32(IFLA_XDP_FD, fd), attrU32(IFLA_XDP_FLAGS, flags | replace)];
  if (expectedFd !== undefined) xdp.push(attrS32(IFLA_XDP_EXPECTED_FD, expectedFd));
  route.request({
    name: "RTM_SETLINK",
    type: RTM_SETLINK,
    payload: concatBytes(encodeIfinfo(ifindex), attrNested(IFLA_XDP, ...xdp)),
    args: { ifindex, fd, xdp_flags: `0x${(flags | replace).toString(16)}`, expected_fd: expectedFd },
  });
}

/** Decodes an `RTM_NEWLINK`. @throws {@link NetlinkFormatError} */
export function decodeLink({ payload }: Pick<NlMessage, "payload">): Link {
  if (payload.byteLength < ifinfomsg.size) throw new NetlinkFormatError("RTM_NEWLINK without its ifinfomsg");
  const header = new DataView(payload.buffer, payload.byteOffset, ifinfomsg.size);
  const attrs = new NlAttrs(payload.subarray(ifinfomsg.size));
  return {
    index: header.getInt32(ifinfomsg.ifi_index, LITTLE_ENDIAN),
    name: attrs.string(IFLA_IFNAME) ?? "",
    altNames: decodeAltNames(attrs.bytes(IFLA_PROP_LIST)),
    type: header.getUint16(ifinfomsg.ifi_type, LITTLE_ENDIAN),
    flags: header.getUint32(ifinfomsg.ifi_flags, LITTLE_ENDIAN),
    mtu: attrs.u32(IFLA_MTU) ?? 0,
    address: attrs.bytes(IFLA_ADDRESS),
    kind: attrs.nested(IFLA_LINKINFO).string(IFLA_INFO_KIND),
    peerIndex: attrs.u32(IFLA_LINK),
    peerNetnsId: attrs.s32(IFLA_LINK_NETNSID),
    rxQueues: attrs.u32(IFLA_NUM_RX_QUEUES),
    txQueues: attrs.u32(IFLA_NUM_TX_QUEUES),
    xdp: decodeXdp(attrs.nested(IFLA_XDP)),
  };
}

const IFNAMSIZ = 16;
const SKIP_STATS = attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);

const XDP_MODES: Readonly<Record<number, XdpStateMode>> = {
  [XDP_ATTACHED_NONE]: "none",
  [XDP_ATTACHED_DRV]: "native",
  [XDP_ATTACHED_SKB]: "generic",
  [XDP_ATTACHED_HW]: "hardware",
  [XDP_ATTACHED_MULTI]: "several",
};

function getLink(
  route: NetlinkSocket,
  ifindex: number,
  attrs: readonly Uint8Array[],
  args: { ifindex?: number; dev?: string },
): Link | undefined {
  const payload = concatBytes(encodeIfinfo(ifindex), SKIP_STATS, ...attrs);
  try {
    const { messages } = route.request({ name: "RTM_GETLINK", type: RTM_GETLINK, payload, args });
    const message = messages.find(({ type }) => type === RTM_NEWLINK);
    return message && decodeLink(message);
  } catch (error) {
    if (error instanceof NetlinkError && (error.errno === ENODEV || error.errno === ENOENT)) return undefined;
    throw error;
  }
}

function encodeIfinfo(ifindex: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(ifinfomsg.size));
  view.setInt32(ifinfomsg.ifi_index, ifindex, LITTLE_ENDIAN);
  return new Uint8Array(view.buffer);
}

function decodeAltNames(list: Uint8Array | undefined): string[] {
  if (list === undefined) return [];
  return decodeAttrs(list)
    .filter(({ type }) => type === IFLA_ALT_IFNAME)
    .map(({ payload }) => new TextDecoder().decode(payload.subarray(0, Math.max(0, payload.indexOf(0)))));
}

function decodeXdp(attrs: NlAttrs): XdpState {
  return {
    mode: XDP_MODES[attrs.u8(IFLA_XDP_ATTACHED) ?? XDP_ATTACHED_NONE] ?? "several",
    progId: attrs.u32(IFLA_XDP_PROG_ID),
    nativeProgId: attrs.u32(IFLA_XDP_DRV_PROG_ID),
    genericProgId: attrs.u32(IFLA_XDP_SKB_PROG_ID),
    hardwareProgId: attrs.u32(IFLA_XDP_HW_PROG_ID),
  };
}
