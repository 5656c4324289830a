import type { Field } from "../../btf/layout/field.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import type { StructLayout } from "../../btf/layout/struct.ts";
import { BPF_F_IPV6, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR } from "../../uapi/bpf.ts";
import { binary } from "../arithmetic.ts";
import { callHelper } from "../call/helper-call.ts";
import { LangError } from "../error.ts";
import { helperShapes } from "../generated/helper-shapes.ts";
import type { IrValue } from "../ir/ir.ts";
import {
  checksumOfSum,
  fold32,
  folded,
  minus,
  plus,
  type Sum,
  summand,
  sumOf,
  ZERO,
} from "../packet/ones-complement.ts";
import type { PacketInternals } from "../packet/packet.ts";
import {
  branch,
  checkRegion,
  constant,
  here,
  jump,
  load,
  newBlock,
  type Recorder,
  store,
} from "../recorder.ts";
import { makeVal } from "../scalar.ts";
import { internals } from "../value.ts";
import { assign } from "../view.ts";
import type { AnyView, StructInit, View } from "../view-types.ts";
import type { WithPacket } from "./checksum.ts";
import { icmphdr } from "./icmp.ts";
import { icmp6hdr } from "./icmpv6.ts";
import { iphdr } from "./ipv4.ts";
import { ipv6hdr } from "./ipv6.ts";
import { tcphdr } from "./tcp.ts";
import { udphdr } from "./udp.ts";

/** The headers of one packet, as they were taken from it. */
export interface Headers {
  readonly ip?: View<typeof iphdr, "packet">;
  readonly ip6?: View<typeof ipv6hdr, "packet">;
  readonly tcp?: View<typeof tcphdr, "packet">;
  readonly udp?: View<typeof udphdr, "packet">;
  readonly icmp?: View<typeof icmphdr, "packet">;
  readonly icmp6?: View<typeof icmp6hdr, "packet">;
}

/**
 * What can be changed in each header: all but the checksums themselves, and what says where the next header begins and which
 * it is.
 */
export interface HeaderChanges {
  readonly ip?: Changes<typeof iphdr, "version" | "ihl" | "protocol" | "check">;
  readonly ip6?: Changes<typeof ipv6hdr, "version" | "nexthdr">;
  readonly tcp?: Changes<typeof tcphdr, "doff" | "check">;
  readonly udp?: Changes<typeof udphdr, "check">;
  readonly icmp?: Changes<typeof icmphdr, "checksum">;
  readonly icmp6?: Changes<typeof icmp6hdr, "icmp6_cksum">;
}

type Changes<L, Fixed extends string> =
  L extends StructLayout<string, infer M> ? Omit<StructInit<M>, Fixed> : never;

/** Options of {@link rewrite}. */
export interface RewriteOptions {
  /** The packet has no TCP, UDP or ICMPv6 header whose checksum would cover the addresses: it is another protocol, a later fragment. */
  readonly noTransport?: boolean;
}

/**
 * Changes fields of headers and mends the checksums that cover them: that of IPv4, and those of TCP, UDP and ICMPv6, which
 * cover the IP addresses, too. What was right stays right, what was wrong stays wrong: the old value is taken out of a checksum
 * and the new one put in (RFC 1624).
 *
 * A UDP checksum of 0, which means none, stays 0, and no other becomes 0.
 *
 * In XDP the views can be used afterwards. In TC the kernel mends checksums of TCP, UDP and ICMPv6, since it is the one that
 * knows whether the network card is still to compute them (`bpf_l4_csum_replace`): where one of them changes, what was taken
 * before cannot be used afterwards.
 *
 * @throws LangError where addresses change and no header with a checksum over them is given, without `noTransport`.
 * @example
 * ```ts
 * const nat = xdp("nat", ($) => {
 *   const pass = { else: () => $.return(XDP_PASS) };
 *   $.packet.skip(ethhdr.size);
 *   const { ip, protocol } = parseIpv4($, pass);
 *   $.if(protocol.ne(IPPROTO_UDP), pass.else);
 *   const udp = $.packet.take(udphdr, pass);
 *   rewrite($, { ip, udp }, { ip: { daddr: 0x0a4d0001, ttl: ip.ttl.sub(1) }, udp: { dest: 5353 } });
 *   return $.return(XDP_PASS);
 * });
 * ```
 */
export function rewrite<const H extends Headers>(
  $: WithPacket,
  headers: H,
  changes: { readonly [Name in keyof H & HeaderName]?: HeaderChanges[Name] },
  options: RewriteOptions = {},
): void {
  const inside = $.packet[internals];
  const { recorder } = inside;
  const all = headersOf(headers, changes, options);
  // All old values are read before anything is written: a value that is given may be one of them.
  const before = all.map(({ header, groups }) => groups.map((group) => sumOfGroup(recorder, header, group)));
  const sums = { network: ZERO, pseudo: ZERO, transport: ZERO };
  for (const [index, { header, name, groups }] of all.entries()) {
    for (const [at, group] of groups.entries()) {
      assign(recorder, header, group.members);
      const difference = minus(recorder, sumOfGroup(recorder, header, group), before[index]?.[at] ?? ZERO);
      const which = group.inPseudoHeader ? "pseudo" : NETWORK.has(name) ? "network" : "transport";
      sums[which] = plus(recorder, sums[which], difference);
    }
  }
  const ip = all.find(({ name }) => name === "ip");
  const transport = all.find(({ name }) => !NETWORK.has(name));
  if (ip !== undefined && transport !== undefined) sums.pseudo = folded(recorder, sums.pseudo);
  if (ip !== undefined && ip.groups.length > 0) {
    mend(recorder, ip, plus(recorder, sums.network, sums.pseudo));
  }
  if (transport === undefined) return;
  const parts = KNOWN[transport.name].pseudoHeader ? sums : { ...sums, pseudo: ZERO };
  if (parts.pseudo === ZERO && parts.transport === ZERO) return;
  if (recorder.build.type === "xdp" || transport.name === "icmp") {
    mend(recorder, transport, plus(recorder, parts.pseudo, parts.transport));
  } else {
    mendBySkb(
      inside,
      transport,
      parts,
      all.some(({ name }) => name === "ip6"),
    );
  }
}

/** The names that headers are given under. */
type HeaderName = keyof HeaderChanges;

/** What {@link rewrite} knows of a header. */
interface KnownHeader {
  readonly layout: Layout & { readonly fields: Readonly<Record<string, Field>> };
  /** Its checksum, if it has one. */
  readonly check: string | undefined;
  /** Fields that stay as they are. */
  readonly fixed: readonly string[];
  /** Of IP: the fields that the checksums of others cover. Their length is the packet's, less what does not change. */
  readonly pseudo?: readonly string[];
  /** Whether its checksum covers those. */
  readonly pseudoHeader?: boolean;
  /** Whether 0 stands for no checksum. */
  readonly zeroIsNone?: boolean;
}

const KNOWN: Readonly<Record<HeaderName, KnownHeader>> = {
  ip: {
    layout: iphdr,
    check: "check",
    fixed: ["version", "ihl", "protocol", "check"],
    pseudo: ["saddr", "daddr", "tot_len"],
  },
  ip6: {
    layout: ipv6hdr,
    check: undefined,
    fixed: ["version", "nexthdr"],
    pseudo: ["saddr", "daddr", "payload_len"],
  },
  tcp: { layout: tcphdr, check: "check", fixed: ["doff", "check"], pseudoHeader: true },
  udp: { layout: udphdr, check: "check", fixed: ["check"], pseudoHeader: true, zeroIsNone: true },
  icmp: { layout: icmphdr, check: "checksum", fixed: ["checksum"] },
  icmp6: { layout: icmp6hdr, check: "icmp6_cksum", fixed: ["icmp6_cksum"], pseudoHeader: true },
};
const NETWORK: ReadonlySet<HeaderName> = new Set(["ip", "ip6"]);

/** Fields that lie in the same words, and what is written to them. */
interface Group {
  readonly start: number;
  readonly end: number;
  readonly members: Readonly<Record<string, unknown>>;
  readonly inPseudoHeader: boolean;
}

interface GivenHeader {
  readonly name: HeaderName;
  readonly header: AnyView;
  readonly groups: readonly Group[];
}

/** Checks what is given, and puts it in order. */
function headersOf(headers: object, changes: object, options: RewriteOptions): readonly GivenHeader[] {
  const unknown = [...Object.keys(headers), ...Object.keys(changes)].find(
    (name) => !Object.hasOwn(KNOWN, name) || !Object.hasOwn(headers, name),
  );
  if (unknown !== undefined) {
    throw new LangError(
      Object.hasOwn(KNOWN, unknown)
        ? `rewrite changes '${unknown}', and that header is not given`
        : `rewrite knows no header '${unknown}'`,
      here(),
      "Give the headers of one packet by these names: { ip, ip6, tcp, udp, icmp, icmp6 }.",
    );
  }
  const all = Object.entries(headers).map(([name, header]): GivenHeader => {
    const given = (changes as Readonly<Record<string, object | undefined>>)[name] ?? {};
    return { name: name as HeaderName, header, groups: groupsOf(name as HeaderName, given) };
  });
  const [network, transports] = [true, false].map((wanted) =>
    all.filter(({ name }) => NETWORK.has(name) === wanted),
  ) as [GivenHeader[], GivenHeader[]];
  if (network.length > 1 || transports.length > 1) {
    const two = network.length > 1 ? network : transports;
    throw new LangError(
      `rewrite is given two headers of the same layer: ${two.map(({ name }) => name).join(" and ")}`,
      here(),
      "Give those of one packet: an IP header and what follows it.",
    );
  }
  const covered = network.some(({ groups }) => groups.some(({ inPseudoHeader }) => inPseudoHeader));
  if (covered && transports.length === 0 && options.noTransport !== true) {
    throw new LangError(
      "rewrite changes what the checksum of TCP or UDP covers, and no such header is given",
      here(),
      "Give it, too: { ip, udp }. Where the packet has none, say { noTransport: true }, last.",
    );
  }
  return all;
}

/** The words that changes touch, those that overlap as one. */
function groupsOf(name: HeaderName, changes: object): readonly Group[] {
  const { layout, fixed, pseudo = [] } = KNOWN[name];
  const groups: Group[] = [];
  for (const [member, value] of Object.entries(changes)) {
    if (value === undefined) continue;
    if (fixed.includes(member)) {
      throw new LangError(
        `rewrite does not change '${member}' of ${layout.cName}`,
        here(),
        "It mends checksums itself; which header follows, and where, stays as it is.",
      );
    }
    const field = layout.fields[member];
    // A member that there is not is one word of nothing: writing it says what is wrong.
    const { offset = 0, size = 2 } = field ?? {};
    const words = { start: offset - (offset % 2), end: offset + size + ((offset + size) % 2) };
    const members = { [member]: value };
    const same = groups.findIndex(({ start, end }) => start < words.end && words.start < end);
    const known = groups[same];
    if (known === undefined) groups.push({ ...words, members, inPseudoHeader: pseudo.includes(member) });
    else {
      groups[same] = {
        ...known,
        start: Math.min(known.start, words.start),
        end: Math.max(known.end, words.end),
        members: { ...known.members, ...members },
      };
    }
  }
  return groups;
}

function sumOfGroup(recorder: Recorder, header: AnyView, { start, end }: Group): Sum {
  const { region, offset } = header[internals];
  return sumOf(recorder, region, offset + start, end - start);
}

/** Puts a difference into a checksum of the packet. */
function mend(recorder: Recorder, { name, header }: GivenHeader, difference: Sum): void {
  const { region, offset } = checkOf(name, header);
  const old = load(recorder, region, offset, 2);
  const put = (): void => {
    const sum = minus(recorder, difference, summand(old, 16));
    store(recorder, region, offset, 2, checksumOfSum(recorder, sum, KNOWN[name].zeroIsNone === true));
  };
  if (KNOWN[name].zeroIsNone !== true) {
    put();
    return;
  }
  const [there, join] = [newBlock(recorder, "checksum"), newBlock(recorder, "join")];
  branch(recorder, { kind: "compare", op: "ne", width: 64, a: old, b: constant(0) }, there, join);
  recorder.block = there;
  put();
  jump(recorder, join);
  recorder.block = join;
}

/**
 * Has the kernel put differences into the checksum of a socket buffer. Where the network card is still to compute it, the field
 * holds the sum of the pseudo header only, and where it has, the buffer holds a sum of its own: both are the kernel's business.
 *
 * It cannot fail here: that these bytes are there and may be written was seen to by the stores before.
 */
function mendBySkb(
  { recorder, context, start }: PacketInternals,
  { name, header }: GivenHeader,
  sums: { readonly pseudo: Sum; readonly transport: Sum },
  ipv6: boolean,
): void {
  const { region, offset } = checkOf(name, header);
  checkRegion(recorder, region);
  const distance = binary(recorder, "sub", 64, region.base, start());
  const at = makeVal(recorder, "u32", binary(recorder, "add", 32, distance, constant(offset)));
  const zero = KNOWN[name].zeroIsNone === true ? BPF_F_MARK_MANGLED_0 : 0;
  // Its own sum of an IPv6 packet stays the same where address and checksum change together (the flag: kernel 6.16).
  const [major, minor] = recorder.target.kernel;
  const family = ipv6 && (major > 6 || (major === 6 && minor >= 16)) ? BPF_F_IPV6 : 0;
  const calls = [
    [sums.pseudo, BPF_F_PSEUDO_HDR | zero | family],
    [sums.transport, zero],
  ] as const;
  const differences = calls.map(([sum]): IrValue => fold32(recorder, sum).value);
  for (const [index, [sum, flags]] of calls.entries()) {
    if (sum === ZERO) continue;
    const difference = makeVal(recorder, "u64", differences[index] as IrValue);
    const given = [at, 0, difference, flags];
    callHelper(recorder, helperShapes.bpf_l4_csum_replace, context, given, "rewrite");
  }
}

/** Where a header's checksum lies. */
function checkOf(
  name: HeaderName,
  header: AnyView,
): { readonly region: AnyView[typeof internals]["region"]; readonly offset: number } {
  const { region, offset } = header[internals];
  const { layout, check } = KNOWN[name];
  return { region, offset: offset + (layout.fields[check ?? ""]?.offset ?? 0) };
}
