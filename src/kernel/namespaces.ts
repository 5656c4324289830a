import { readdirSync, statSync } from "node:fs";
import type { NetlinkSocket } from "../syscall/netlink.ts";
import { openNetns } from "../syscall/netns.ts";
import { nsidOf } from "../syscall/nsid.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** A network namespace, and how to get into it. */
export interface NetnsPlace {
  /** A file that leads into it: `/run/netns/NAME`, `/proc/PID/ns/net`. */
  readonly path: string;
  /** Its inode number: a process may end, and its path lead somewhere else. */
  readonly inode: number;
  /** Its name, where `ip netns` knows it. */
  readonly name: string | undefined;
  /** A process in it, where no name leads there. */
  readonly pid: number | undefined;
}

/**
 * The network namespace that the socket's namespace knows by this id (`peerNetnsId` of a link), looked for among those with
 * a name and those that processes are in. `undefined` where none of them is it: only a descriptor or a mount elsewhere may
 * keep a namespace alive, and without root the namespaces of other users' processes are out of sight.
 */
export function findNetnsById(sys: Syscalls, route: NetlinkSocket, nsid: number): NetnsPlace | undefined {
  for (const place of listNetns()) if (nsidAt(sys, route, place.path) === nsid) return place;
  return undefined;
}

// Not in the loop itself: esbuild, which tsx uses, throws the error of one round again in the next one, where a `using`
// stands in the same function as the loop and the catch.
function nsidAt(sys: Syscalls, route: NetlinkSocket, path: string): number | undefined {
  try {
    using namespace = openNetns(sys, { path });
    return nsidOf(route, namespace);
  } catch {
    return undefined; // gone meanwhile, or not ours to open: not a way to get there
  }
}

/** How a shell enters it, put before a command. */
export function enterCommand({ name, pid, path }: NetnsPlace): string {
  if (name !== undefined) return `ip netns exec ${name}`;
  return pid === undefined ? `nsenter --net=${path}` : `nsenter --target ${pid} --net`;
}

/** The network namespaces that can be seen, each once, named ones first. */
export function* listNetns(): Generator<NetnsPlace> {
  const seen = new Set<number>();
  for (const place of candidates()) {
    const inode = inodeOf(place.path);
    if (inode === undefined || seen.has(inode)) continue;
    seen.add(inode);
    yield { ...place, inode };
  }
}

function* candidates(): Generator<Omit<NetnsPlace, "inode">> {
  for (const name of names("/run/netns")) yield { path: `/run/netns/${name}`, name, pid: undefined };
  for (const name of names("/run/docker/netns")) {
    yield { path: `/run/docker/netns/${name}`, name: undefined, pid: undefined };
  }
  for (const pid of names("/proc")) {
    if (/^\d+$/.test(pid)) yield { path: `/proc/${pid}/ns/net`, name: undefined, pid: Number(pid) };
  }
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined; // the process has ended, or is not ours to look at
  }
}
