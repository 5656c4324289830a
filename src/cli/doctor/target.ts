import type { HiddenVethPeer, VethPeer } from "../../kernel/veth.ts";
import type { NetlinkSocket } from "../../syscall/netlink.ts";
import type { Link } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";

/** An interface under examination, and what reads about it. */
export interface Target {
  readonly sys: Syscalls;
  /** rtnetlink of its network namespace, which is the calling thread's. */
  readonly route: NetlinkSocket;
  readonly link: Link;
  /** The other end of a veth, as far as it is in sight; `undefined` for other interfaces. */
  readonly peer: VethPeer | HiddenVethPeer | undefined;
  /** Whether `up` with its defaults goes for native XDP; on a veth in the checksum trap it does not. */
  readonly native: boolean;
  /** How a shell enters its network namespace, put before a command; empty for the namespace that the user is in. */
  readonly enter: string;
}

/** The other end of a veth, where it can be looked at. */
export function visiblePeer({ peer }: Pick<Target, "peer">): VethPeer | undefined {
  return peer === undefined || "hidden" in peer ? undefined : peer;
}

/** A command for the user to run in the interface's namespace. */
export function command({ enter }: Pick<Target, "enter">, line: string): string {
  return enter === "" ? line : `${enter} ${line}`;
}
