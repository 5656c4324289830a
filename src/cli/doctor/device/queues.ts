import { atVethPeer } from "../../../kernel/veth.ts";
import { type Channels, channels } from "../../../syscall/ethtool-channels.ts";
import type { Link } from "../../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../../syscall/syscalls.ts";
import { type Finding, read } from "../finding.ts";
import { command, type Target, visiblePeer } from "../target.ts";

/** How many ways packets arrive, and how many cores there are for them. */
export interface QueueFacts extends Pick<Target, "enter" | "native"> {
  readonly name: string;
  /** Receive queues in use; `undefined` where nobody says. */
  readonly rx: number | undefined;
  /** Transmit queues in use at the peer of a veth, where it is in sight. */
  readonly peerTx: number | undefined;
  readonly isVeth: boolean;
  /** CPUs online. */
  readonly cpus: number;
}

/** Counts them. */
export function readQueues(target: Target, cpus: number): QueueFacts {
  const { sys, link, enter, native } = target;
  const peer = visiblePeer(target);
  const peerTx = peer && read(() => atVethPeer(sys, peer, (there) => queuesInUse(sys, there)?.tx));
  return {
    name: link.name,
    enter,
    native,
    rx: queuesInUse(sys, link)?.rx ?? link.rxQueues,
    peerTx: peerTx !== undefined && "value" in peerTx ? peerTx.value : undefined,
    isVeth: link.kind === "veth",
    cpus,
  };
}

/** Judges how packets spread over the cores. */
export function checkQueues(facts: QueueFacts): readonly Finding[] {
  const { name, native, rx, peerTx, isVeth, cpus } = facts;
  const check = "queues";
  if (rx === undefined)
    return [{ level: "info", check, what: `how many receive queues ${name} has is not known` }];
  const queues = `${rx} receive queue${rx === 1 ? "" : "s"}`;
  const cores = `${cpus} core${cpus === 1 ? "" : "s"}`;
  if (isVeth && peerTx !== undefined && rx < peerTx) {
    return [
      {
        level: native ? "fail" : "warn",
        check,
        what: `${name} has ${queues}, and its veth peer sends on ${peerTx}: the kernel refuses native XDP there`,
        fix:
          `Give it as many (${command(facts, `ethtool -L ${name} rx ${peerTx}`)}), or the peer as few, ` +
          "or use generic mode: up --xdp-mode generic",
      },
    ];
  }
  if (isVeth) {
    return [
      {
        level: "ok",
        check,
        what: `${queues} for ${cores}; on a veth a packet is received on the core that sent it`,
      },
    ];
  }
  if (rx >= cpus) return [{ level: "ok", check, what: `${queues} for ${cores}: packets can arrive on each` }];
  return [
    {
      level: "info",
      check,
      what: `${queues} for ${cores}: packets arrive on at most ${rx} of them at a time`,
      fix: `Which ones is up to the interrupts (/proc/interrupts). Where the hardware has more: ${command(facts, `ethtool -L ${name} combined ${cpus}`)}`,
    },
  ];
}

function queuesInUse(sys: Syscalls, { name }: Link): Channels | undefined {
  const reading = read(() => channels(sys, name));
  return "value" in reading ? reading.value : undefined;
}
