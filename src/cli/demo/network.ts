import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { TsbpfError } from "../../base/error.ts";
import { setTxChecksumOffload } from "../../syscall/ethtool.ts";
import { openNetns, withNetns } from "../../syscall/netns.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { listPins, pinRoot, removePins } from "../sample/pins.ts";

/** Two network namespaces with a veth pair between them: a machine whose interface is called eth0, and its neighbour. */
export interface DemoNetwork {
  /** Namespace of the machine under test; its interface is `eth0`. */
  readonly inside: string;
  /** Namespace of the neighbour that sends. */
  readonly outside: string;
  /** Address of `eth0`. */
  readonly address: string;
  /** Packets that the neighbour has sent so far. */
  sent(): number;
  /** Removes both namespaces, with everything in them. Doing it again is fine. */
  remove(): void;
}

/** Name of the interface in the inner namespace. */
export const DEMO_INTERFACE = "eth0";

const PEER = "peer0";
// TEST-NET-1 (RFC 5737): addresses that no real network has.
const INSIDE = { address: "192.0.2.1", mac: "02:00:00:00:02:01" } as const;
const OUTSIDE = { address: "192.0.2.2", mac: "02:00:00:00:02:02" } as const;

/**
 * Makes the network. Neighbours are fixed and IPv6 is off, so that no packet is in it that nobody sent.
 *
 * @param keep - whether it is to outlive this process: it gets another name then, see {@link removeStaleNetworks}.
 * @throws TsbpfError when `ip` fails; nothing is left then.
 */
export function createDemoNetwork(sys: Syscalls, keep: boolean): DemoNetwork {
  const inside = `${keep ? "tsbpf-kept" : "tsbpf-demo"}-${process.pid}`;
  const outside = `${inside}-peer`;
  const made: string[] = [];
  const remove = (): void => {
    for (let name = made.pop(); name !== undefined; name = made.pop()) ip("netns", "del", name);
  };
  try {
    for (const name of [inside, outside]) {
      ip("netns", "add", name);
      made.push(name);
      disableIpv6(sys, name);
    }
    ip(
      "-n",
      inside,
      "link",
      "add",
      DEMO_INTERFACE,
      "address",
      INSIDE.mac,
      "type",
      "veth",
      "peer",
      "name",
      PEER,
      "netns",
      outside,
    );
    ip("-n", outside, "link", "set", PEER, "address", OUTSIDE.mac);
    plug(inside, DEMO_INTERFACE, INSIDE, OUTSIDE);
    plug(outside, PEER, OUTSIDE, INSIDE);
    // What the neighbour leaves to the "hardware" of a veth is never filled in on the way through a CPU map.
    using peer = openNetns(sys, { name: outside });
    withNetns(sys, peer, () => setTxChecksumOffload(sys, PEER, false));
  } catch (error) {
    remove();
    throw error;
  }
  return { inside, outside, address: INSIDE.address, sent: () => packetsSent(outside, PEER), remove };
}

/** Removes the networks of demos that were killed, with what is pinned for them; gives the names of their namespaces. */
export function removeStaleNetworks(): readonly string[] {
  const root = pinRoot(undefined);
  return namesIn("/run/netns").filter((name) => {
    const [, pid] = /^tsbpf-demo-(\d+)(?:-peer)?$/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) return false;
    try {
      const { ino } = statSync(`/run/netns/${name}`);
      ip("netns", "del", name);
      const pins = root === undefined ? [] : listPins(root).filter(({ netns }) => netns === ino);
      for (const { path } of pins) removePins(path);
      return true;
    } catch {
      return false; // another demo was faster
    }
  });
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // nobody has made a namespace since the machine started
  }
}

interface End {
  readonly address: string;
  readonly mac: string;
}

function plug(namespace: string, device: string, own: End, other: End): void {
  ip("-n", namespace, "addr", "add", `${own.address}/24`, "dev", device);
  ip("-n", namespace, "link", "set", device, "up");
  ip("-n", namespace, "neigh", "add", other.address, "lladdr", other.mac, "dev", device, "nud", "permanent");
}

function packetsSent(namespace: string, device: string): number {
  const text = ip("-n", namespace, "-json", "-statistics", "link", "show", "dev", device);
  const [link] = JSON.parse(text) as readonly {
    readonly stats64: { readonly tx: { readonly packets: number } };
  }[];
  return link?.stats64.tx.packets ?? 0;
}

/** /proc/sys/net is that of the network namespace that the thread is in. */
function disableIpv6(sys: Syscalls, namespace: string): void {
  using netns = openNetns(sys, { name: namespace });
  withNetns(sys, netns, () => {
    for (const which of ["all", "default"]) {
      const setting = `/proc/sys/net/ipv6/conf/${which}/disable_ipv6`;
      if (existsSync(setting)) writeFileSync(setting, "1\n"); // a kernel without IPv6 has nothing to switch off
    }
  });
}

function ip(...args: readonly string[]): string {
  try {
    return execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  } catch (cause) {
    const { stderr = "", code } = cause as { stderr?: string; code?: string };
    throw new TsbpfError(`ip ${args.join(" ")} failed: ${stderr.trim() || code}`, {
      hint: code === "ENOENT" ? "Install iproute2 (sh scripts/setup.sh does)." : undefined,
      cause,
    });
  }
}
