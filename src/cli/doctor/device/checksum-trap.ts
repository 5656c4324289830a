import { readFileSync } from "node:fs";
import { enterCommand, type NetnsPlace } from "../../../kernel/namespaces.ts";
import { atVethPeer } from "../../../kernel/veth.ts";
import { txChecksumOffload } from "../../../syscall/ethtool.ts";
import { type Finding, type Reading, read } from "../finding.ts";
import { command, type Target } from "../target.ts";

/** What the checksum trap of a veth hangs on. */
export interface ChecksumTrapFacts extends Pick<Target, "enter"> {
  readonly name: string;
  /** Whether a native XDP program runs on it now. */
  readonly nativeNow: boolean;
  readonly peer:
    | {
        readonly name: string;
        /** `undefined` for the namespace of the interface itself. */
        readonly netns: NetnsPlace | undefined;
        /** Whether the peer leaves transmit checksums to the hardware. */
        readonly offload: Reading<boolean | undefined>;
      }
    | { readonly hidden: string; readonly netns: NetnsPlace | undefined };
  /** Packets that this namespace has dropped for a wrong checksum since it exists. */
  readonly dropped: Reading<ChecksumErrors>;
}

/** Counters of /proc/net/snmp. */
export interface ChecksumErrors {
  readonly udp: number;
  readonly tcp: number;
}

/** Reads them; `undefined` for an interface that is not a veth. */
export function readChecksumTrap({ sys, link, enter, peer }: Target): ChecksumTrapFacts | undefined {
  if (peer === undefined) return undefined;
  const dropped = read(() => parseChecksumErrors(readFileSync("/proc/thread-self/net/snmp", "utf8")));
  const base = { name: link.name, enter, nativeNow: link.xdp.nativeProgId !== undefined, dropped };
  if ("hidden" in peer) return { ...base, peer };
  const offload = read(() => atVethPeer(sys, peer, ({ name }) => txChecksumOffload(sys, name)));
  return { ...base, peer: { name: peer.link.name, netns: peer.netns, offload } };
}

/** Judges them. */
export function checkChecksumTrap(facts: ChecksumTrapFacts): readonly Finding[] {
  const { name, peer } = facts;
  const check = "checksum-trap";
  if ("hidden" in peer) {
    const where = peer.netns === undefined ? "" : ` (in network namespace ${placeName(peer.netns)})`;
    return [notLookedAt(`the veth peer of ${name}${where}`, peer.hidden)];
  }
  const place = peer.netns === undefined ? "" : ` in network namespace ${placeName(peer.netns)}`;
  const who = `${name}'s veth peer ${peer.name}${place}`;
  const { offload } = peer;
  if ("unknown" in offload) return [notLookedAt(who, offload.unknown)];
  if (offload.value === undefined) return [notLookedAt(who, "its driver does not say")];
  if (!offload.value) {
    return [{ level: "ok", check, what: `${who} computes its checksums itself, so none are lost` }];
  }
  const cure = `ethtool -K ${peer.name} tx off`;
  const there = peer.netns === undefined ? command(facts, cure) : `${enterCommand(peer.netns)} ${cure}`;
  const now = facts.nativeNow ? `; ${name} has a native XDP program now` : "";
  return [
    {
      level: "warn",
      check,
      what:
        `${who} leaves checksums to the hardware, and a veth has none: native XDP with a CPU map loses every UDP and ` +
        `TCP packet from it, while ping works${now}${evidence(facts.dropped)}`,
      fix: `For native XDP have the peer compute them: ${there}\nElse \`up\` takes generic XDP, which is slower and loses none.`,
    },
  ];

  function notLookedAt(what: string, reason: string): Finding {
    return {
      level: "warn",
      check,
      what: `whether ${what} leaves checksums to the hardware could not be looked at: ${reason}`,
      fix: "If UDP and TCP fail under native XDP while ping works, turn that off at the peer: ethtool -K PEER tx off",
    };
  }
}

/** Reads the counters from the text of /proc/net/snmp: pairs of lines, names and values. */
export function parseChecksumErrors(snmp: string): ChecksumErrors {
  const count = (protocol: string): number => {
    const [names = [], values = []] = snmp
      .split("\n")
      .filter((line) => line.startsWith(`${protocol}: `))
      .map((line) => line.split(" "));
    return Number(values[names.indexOf("InCsumErrors")] ?? 0);
  };
  return { udp: count("Udp"), tcp: count("Tcp") };
}

function placeName({ name, pid, path }: NetnsPlace): string {
  if (name !== undefined) return name;
  return pid === undefined ? path : `of process ${pid}`;
}

function evidence(dropped: Reading<ChecksumErrors>): string {
  if ("unknown" in dropped || dropped.value.udp + dropped.value.tcp === 0) return "";
  const { udp, tcp } = dropped.value;
  return ` (dropped for their checksum in this namespace so far: ${udp} UDP, ${tcp} TCP; InCsumErrors)`;
}
