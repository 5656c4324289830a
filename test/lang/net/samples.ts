/** Packets of every kind that the parsing helpers know, and of the kinds that somebody hostile would send. */
import {
  NEXTHDR_AUTH,
  NEXTHDR_DEST,
  NEXTHDR_FRAGMENT,
  NEXTHDR_HOP,
  NEXTHDR_ROUTING,
} from "../../../src/lang/net/index.ts";
import * as p from "./packets.ts";

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TEB = 0x6558;
const VLAN = 0x8100;
const QINQ = 0x88a8;
const [TCP, UDP, ICMP6, IPIP, IN6, GRE, ESP] = [6, 17, 58, 4, 41, 47, 50];

const payload: Uint8Array = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const options: Uint8Array = Uint8Array.of(1, 1, 1, 1, 7, 4, 0, 0);
const ip4 = (protocol: number): p.Header => p.ipv4({ protocol });
const inner4 = [ip4(TCP), p.tcp(), payload] as const;
const inner6 = [p.ipv6(NEXTHDR_DEST), p.ipv6Options(UDP, 2), p.udp(), payload] as const;
const outer = (dest: number): readonly p.Header[] => [p.ethernet(IPV4), ip4(UDP), p.udp(1, dest)];

/** By name. */
export const samples: Readonly<Record<string, Uint8Array>> = {
  "TCP over IPv4": p.packet(p.ethernet(IPV4), ...inner4),
  "UDP over IPv6 behind destination options": p.packet(p.ethernet(IPV6), ...inner6),
  ARP: p.packet(p.ethernet(0x0806), p.arp()),
  "one VLAN tag": p.packet(p.ethernet(VLAN), p.vlan(IPV4), ...inner4),
  "two VLAN tags": p.packet(p.ethernet(QINQ), p.vlan(VLAN), p.vlan(IPV6), ...inner6),
  "more VLAN tags than are followed": p.packet(
    p.ethernet(QINQ),
    ...Array.from({ length: 9 }, () => p.vlan(VLAN)),
    p.vlan(IPV4),
    ...inner4,
  ),
  "IPv4 options": p.packet(p.ethernet(IPV4), p.ipv4({ protocol: UDP, options }), p.udp(), payload),
  "as many IPv4 options as there can be": p.packet(
    p.ethernet(IPV4),
    p.ipv4({ protocol: UDP, options: new Uint8Array(40) }),
    p.udp(),
    payload,
  ),
  "an IHL of 4": p.packet(p.ethernet(IPV4), p.ipv4({ protocol: UDP, ihl: 4 }), p.udp(), payload),
  "an IHL of 0": p.packet(p.ethernet(IPV4), p.ipv4({ protocol: UDP, ihl: 0 }), p.udp(), payload),
  "an IHL beyond the end": p.packet(p.ethernet(IPV4), p.ipv4({ protocol: UDP, ihl: 15 }), p.udp()),
  "an IHL beyond the end of a later fragment": p.packet(
    p.ethernet(IPV4),
    p.ipv4({ protocol: UDP, ihl: 15, frag_off: 5 }),
    payload,
  ),
  "IPv6 in a frame that says IPv4": p.packet(p.ethernet(IPV4), p.ipv6(UDP), p.udp()),
  "IPv4 in a frame that says IPv6": p.packet(p.ethernet(IPV6), ...inner4, payload),
  "the first fragment of IPv4": p.packet(
    p.ethernet(IPV4),
    p.ipv4({ protocol: UDP, frag_off: 0x2000 }),
    p.udp(),
    payload,
  ),
  "a later fragment of IPv4": p.packet(
    p.ethernet(IPV4),
    p.ipv4({ protocol: UDP, frag_off: 0x2005 }),
    payload,
  ),
  "the last fragment of IPv4": p.packet(
    p.ethernet(IPV4),
    p.ipv4({ protocol: UDP, frag_off: 0x0005 }),
    payload,
  ),
  "every IPv6 extension header": p.packet(
    p.ethernet(IPV6),
    p.ipv6(NEXTHDR_HOP),
    p.ipv6Options(NEXTHDR_DEST),
    p.ipv6Options(NEXTHDR_ROUTING, 3),
    p.ipv6Options(NEXTHDR_AUTH, 2),
    p.auth(ICMP6),
    p.icmpEcho(),
  ),
  "more IPv6 extension headers than are followed": p.packet(
    p.ethernet(IPV6),
    p.ipv6(NEXTHDR_DEST),
    ...Array.from({ length: 8 }, () => p.ipv6Options(NEXTHDR_DEST)),
    p.ipv6Options(UDP),
    p.udp(),
  ),
  "an IPv6 extension header beyond the end": p.packet(
    p.ethernet(IPV6),
    p.ipv6(NEXTHDR_DEST),
    Uint8Array.of(UDP, 255, 0, 0, 0, 0, 0, 0),
    p.udp(),
  ),
  "the first fragment of IPv6": p.packet(
    p.ethernet(IPV6),
    p.ipv6(NEXTHDR_FRAGMENT),
    p.ipv6Fragment(UDP, 0, true),
    p.udp(),
    payload,
  ),
  "a later fragment of IPv6 that looks like more headers": p.packet(
    p.ethernet(IPV6),
    p.ipv6(NEXTHDR_FRAGMENT),
    p.ipv6Fragment(NEXTHDR_DEST, 64, true),
    p.ipv6Options(UDP),
    p.udp(),
  ),
  "IPv4 in IPv4": p.packet(p.ethernet(IPV4), ip4(IPIP), ...inner4),
  "IPv6 in IPv4": p.packet(p.ethernet(IPV4), ip4(IN6), ...inner6),
  "IPv4 in IPv6": p.packet(p.ethernet(IPV6), p.ipv6(IPIP), p.ipv4({ protocol: UDP, options }), p.udp()),
  "IPv6 in IPv6": p.packet(p.ethernet(IPV6), p.ipv6(IN6), ...inner6),
  GRE: p.packet(p.ethernet(IPV4), ip4(GRE), p.gre(IPV4), ...inner4),
  "GRE with everything": p.packet(
    p.ethernet(IPV4),
    ip4(GRE),
    p.gre(IPV6, { csum: true, key: 0xcafe_f00d, seq: 7 }),
    ...inner6,
  ),
  "GRE with a sequence number, and Ethernet inside": p.packet(
    p.ethernet(IPV6),
    p.ipv6(GRE),
    p.gre(TEB, { seq: 7 }),
    p.ethernet(VLAN),
    p.vlan(IPV4),
    ...inner4,
  ),
  "GRE of PPTP": p.packet(p.ethernet(IPV4), ip4(GRE), p.gre(0x880b, { key: 1, version: 1 }), payload),
  VXLAN: p.packet(...outer(4789), p.vxlan(4711), p.ethernet(IPV4), ...inner4),
  "VXLAN with a tagged frame": p.packet(
    ...outer(4789),
    p.vxlan(0xff_ffff),
    p.ethernet(VLAN),
    p.vlan(IPV6),
    ...inner6,
  ),
  Geneve: p.packet(...outer(6081), p.geneve(TEB, 42), p.ethernet(IPV6), ...inner6),
  "Geneve with options, and IP inside": p.packet(
    ...outer(6081),
    p.geneve(IPV4, 0x12_3456, new Uint8Array(12)),
    ...inner4,
  ),
  "Geneve with as many options as there can be": p.packet(
    ...outer(6081),
    p.geneve(IPV4, 1, new Uint8Array(252)),
    ...inner4,
  ),
  "GTP-U": p.packet(...outer(2152), p.gtp(1337), ...inner4),
  "GTP-U with a sequence number": p.packet(...outer(2152), p.gtp(1337, [], 5), ...inner6),
  "GTP-U with extension headers": p.packet(
    ...outer(2152),
    p.gtp(0xffff_ffff, [
      [0x85, 1],
      [0xc0, 2],
    ]),
    ...inner4,
  ),
  "GTP-U with more extension headers than are followed": p.packet(
    ...outer(2152),
    p.gtp(1, [
      [0x85, 1],
      [0x85, 1],
      [0x85, 1],
    ]),
    ...inner4,
  ),
  "GTP-U with an extension header of no length": p.packet(
    ...outer(2152),
    Uint8Array.of(0x34, 255, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0x85, 0, 0, 0, 0),
    ...inner4,
  ),
  "a GTP-U echo request": p.packet(...outer(2152), Uint8Array.of(0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0)),
  "GTP' of version 0": p.packet(...outer(2152), Uint8Array.of(0x0e, 255, 0, 8, 0, 0, 0, 1), ...inner4),
  ESP: p.packet(p.ethernet(IPV4), ip4(ESP), p.esp(0xc1b2_a394), payload),
  "ESP over IPv6": p.packet(p.ethernet(IPV6), p.ipv6(ESP), p.esp(77), payload),
  MPLS: p.packet(p.ethernet(0x8847), p.mpls(29, true), ...inner4),
  "MPLS with three labels": p.packet(
    p.ethernet(VLAN),
    p.vlan(0x8847),
    p.mpls(16, false),
    p.mpls(17, false),
    p.mpls(0xf_ffff, true),
    ...inner6,
  ),
  "more MPLS labels than are followed": p.packet(
    p.ethernet(0x8847),
    ...Array.from({ length: 9 }, (_, index) => p.mpls(index, index === 8)),
    ...inner4,
  ),
};
