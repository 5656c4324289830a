import { TsbpfError } from "../base/error.ts";
import { SyscallError } from "../syscall/errno.ts";
import { setTxChecksumOffload, txChecksumOffload } from "../syscall/ethtool.ts";
import { NetlinkSocket } from "../syscall/netlink.ts";
import { NetnsRestoreError, netnsInode, openNetns, withNetns } from "../syscall/netns.ts";
import { type Link, linkByIndex } from "../syscall/rtnetlink.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { findNetnsById, type NetnsPlace } from "./namespaces.ts";

// The checksum trap. What a veth sends to its peer never crosses a wire, so by default nobody computes its UDP and TCP
// checksums: the sk_buff only says that the hardware would have. Native XDP turns the packet into an xdp_frame, which has no
// room for that remark; the CPU map's thread builds a new sk_buff without it, and the receiver drops the packet for the
// unfinished checksum in it. ICMP has its checksum computed by its sender, so ping works. Generic XDP keeps the sk_buff and
// is not affected. The cure is on the sender's side: with transmit checksum offload off the checksum is computed in time.

/** The other end of a veth pair. */
export interface VethPeer {
  /** As its own namespace describes it. */
  readonly link: Link;
  /** Where it is; `undefined` for the namespace that the interface itself is in. */
  readonly netns: NetnsPlace | undefined;
}

/** A peer that exists, and could not be looked at. */
export interface HiddenVethPeer {
  /** Why, as a clause: `entering its network namespace failed: setns(CLONE_NEWNET) says EPERM`. */
  readonly hidden: string;
  /** Where it is, as far as that was found out. */
  readonly netns: NetnsPlace | undefined;
}

/** What {@link vethChecksumTrap} found. */
export interface VethChecksumTrap {
  readonly peer: VethPeer;
  /** Name of the peer's namespace, where `ip netns` knows it and it is another one. */
  readonly netnsName: string | undefined;
  /** Whether the peer leaves checksums to the hardware: the trap is set. */
  readonly offload: boolean;
}

/**
 * Finds the other end of a veth pair, in this network namespace or in another one that has a name or a process.
 *
 * @param route - a socket of the namespace that the interface is in, which must be the calling thread's own.
 * @returns `undefined` for an interface that is not a veth.
 */
export function findVethPeer(
  sys: Syscalls,
  route: NetlinkSocket,
  link: Link,
): VethPeer | HiddenVethPeer | undefined {
  if (link.kind !== "veth") return undefined;
  const { peerNetnsId } = link;
  if (peerNetnsId === undefined) return look(route, link, undefined);
  const netns = peerNetnsId < 0 ? undefined : findNetnsById(sys, route, peerNetnsId);
  if (netns === undefined) {
    const hidden = `no name and no process that can be seen leads to its network namespace (id ${peerNetnsId})`;
    return { hidden, netns };
  }
  try {
    return inPlace(sys, netns, (there) => look(there, link, netns));
  } catch (error) {
    if (error instanceof NetnsRestoreError) throw error; // nothing that comes now would be in the right place
    return { hidden: `entering its network namespace failed: ${inShort(error)}`, netns };
  }
}

/**
 * Looks for the checksum trap: whether the peer of a veth leaves UDP and TCP checksums to the hardware, so that native XDP
 * with a CPU map would lose all such packets.
 *
 * Costs a few system calls, and for a peer elsewhere one more for each namespace of the machine.
 *
 * @param route - a socket of the namespace that the interface is in, which must be the calling thread's own.
 * @returns `undefined` for an interface that is not a veth; `"unknown"` where the peer cannot be looked at.
 */
export function vethChecksumTrap(
  sys: Syscalls,
  route: NetlinkSocket,
  link: Link,
): VethChecksumTrap | "unknown" | undefined {
  const peer = findVethPeer(sys, route, link);
  if (peer === undefined) return undefined;
  if ("hidden" in peer) return "unknown";
  try {
    const offload = atVethPeer(sys, peer, ({ name }) => txChecksumOffload(sys, name));
    return offload === undefined ? "unknown" : { peer, netnsName: peer.netns?.name, offload };
  } catch (error) {
    if (error instanceof NetnsRestoreError) throw error;
    return "unknown";
  }
}

/**
 * Disarms the checksum trap: turns transmit checksum offload of the peer off, and segmentation offload with it, which
 * cannot be without.
 *
 * @returns takes it back; does nothing where it was off already.
 * @throws SyscallError: EPERM without CAP_NET_ADMIN; TsbpfError where the peer has gone.
 */
export function fixVethChecksum(sys: Syscalls, peer: VethPeer): () => void {
  const changed = atVethPeer(sys, peer, ({ name }) => {
    if (txChecksumOffload(sys, name) === false) return false;
    setTxChecksumOffload(sys, name, false);
    return true;
  });
  return () => {
    if (changed) atVethPeer(sys, peer, ({ name }) => setTxChecksumOffload(sys, name, true));
  };
}

/**
 * Runs `fn` with the calling thread in the peer's network namespace, and the peer as it is now: it may have another name.
 *
 * @throws TsbpfError where the peer, or its namespace, is not there any more.
 */
export function atVethPeer<T>(
  sys: Syscalls,
  { link, netns }: VethPeer,
  fn: (link: Link) => T extends PromiseLike<unknown> ? never : T,
): T {
  const here = (route: NetlinkSocket) => {
    const now = linkByIndex(route, link.index);
    if (now?.kind === "veth" && now.peerIndex === link.peerIndex) return fn(now);
    throw new TsbpfError(`the veth peer ${link.name} (index ${link.index}) is not there any more`);
  };
  if (netns !== undefined) return inPlace<T>(sys, netns, here);
  using route = NetlinkSocket.route(sys);
  return here(route);
}

/** The peer as its own namespace describes it, if it agrees to be the peer. */
function look(there: NetlinkSocket, near: Link, netns: NetnsPlace | undefined): VethPeer | HiddenVethPeer {
  const link = linkByIndex(there, peerIndexOf(near));
  if (link?.kind === "veth" && peerIndexOf(link) === near.index) return { link, netns };
  return { hidden: "it has been moved or deleted meanwhile", netns };
}

/** Before 5.1 the kernel leaves the peer's index out where it is, in the other namespace, the same as the interface's own. */
function peerIndexOf({ index, peerIndex }: Link): number {
  return peerIndex ?? index;
}

/** Runs `fn` in a namespace, with an rtnetlink socket of it. */
function inPlace<T>(
  sys: Syscalls,
  { path, inode }: NetnsPlace,
  fn: (route: NetlinkSocket) => T extends PromiseLike<unknown> ? never : T,
): T {
  using namespace = openNetns(sys, { path });
  if (netnsInode(namespace) !== inode) throw new TsbpfError(`the network namespace of ${path} has gone`);
  return withNetns<T>(sys, namespace, () => {
    using route = NetlinkSocket.route(sys);
    return fn(route);
  });
}

function inShort(error: unknown): string {
  if (error instanceof SyscallError) return `${error.call} says ${error.code}`;
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}
