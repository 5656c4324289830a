import { describe, expect, test } from "vitest";
import {
  GENEVE_PORT,
  GTP_TPDU,
  GTP1U_PORT,
  ip_esp_hdr,
  parseArp,
  parseEthernet,
  parseGeneve,
  parseGre,
  parseGtpU,
  parseIpv4,
  parseIpv6,
  parseMpls,
  parseTcp,
  parseVxlan,
  peekIpVersion,
  udphdr,
  VXLAN_PORT,
} from "../../../src/lang/net/index.ts";
import { Ended, evaluator } from "./evaluate.ts";
import * as p from "./packets.ts";
import { dissect, type Found, LIMITS } from "./reference.ts";
import { samples } from "./samples.ts";

// The helpers' own logic, beside a parser that was written without them, on every packet at every length. What the compiler
// and the verifier make of them is another matter.

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TEB = 0x6558;

const refuse = {
  else: (): never => {
    throw new Ended();
  },
};

/** What the helpers find. */
function parse(packet: Uint8Array): Found | undefined {
  const { $, offset, numberOf, holds } = evaluator(packet);
  const frame = (): { tags: number; proto: number } => {
    const { tags, proto } = parseEthernet($, { ...refuse, maxTags: LIMITS.tags });
    return { tags: numberOf(tags), proto: numberOf(proto) };
  };
  const ip = (proto: number): { l4: number; fragment: number } => {
    const found =
      proto === IPV4 ? parseIpv4($, refuse) : parseIpv6($, { ...refuse, maxHeaders: LIMITS.headers });
    return {
      l4: numberOf(found.protocol),
      fragment: holds(found.laterFragment) ? 2 : holds(found.fragment) ? 1 : 0,
    };
  };
  const inner = (proto: number, tunnel: number): Partial<Found> => {
    const isIp = proto === IPV4 || proto === IPV6;
    return isIp ? { tunnel, innerL4: ip(proto).l4, innerOffset: offset() } : { tunnel };
  };
  const byVersion = (): number => {
    const version = numberOf(peekIpVersion($, refuse));
    return version === 4 ? IPV4 : version === 6 ? IPV6 : 0;
  };
  const inUdp = (port: number): Partial<Found> => {
    if (port === VXLAN_PORT) {
      const vni = numberOf(parseVxlan($, refuse).vni);
      return inner(frame().proto, vni);
    }
    if (port === GENEVE_PORT) {
      const { vni, protocol } = parseGeneve($, refuse);
      const proto = numberOf(protocol);
      return inner(proto === TEB ? frame().proto : proto, numberOf(vni));
    }
    if (port !== GTP1U_PORT) return {};
    const { type, teid } = parseGtpU($, { ...refuse, maxExtensions: LIMITS.extensions });
    return numberOf(type) === GTP_TPDU ? inner(byVersion(), numberOf(teid)) : { tunnel: numberOf(teid) };
  };
  const tunnel = (l4: number): Partial<Found> => {
    if (l4 === 4) return inner(IPV4, 0);
    if (l4 === 41) return inner(IPV6, 0);
    if (l4 === 50) return { tunnel: numberOf($.packet.take(ip_esp_hdr, refuse).spi) };
    if (l4 === 17) return inUdp(numberOf($.packet.take(udphdr, refuse).dest));
    if (l4 !== 47) return {};
    const { protocol, key } = parseGre($, refuse);
    const proto = numberOf(protocol);
    return inner(proto === TEB ? frame().proto : proto, numberOf(key));
  };
  const none = { l4: 0, fragment: 0, l4Offset: 0, tunnel: 0, innerL4: 0, innerOffset: 0 };
  try {
    const outer = { ...none, ...frame() };
    if (outer.proto === 0x8847) {
      const label = numberOf(parseMpls($, { ...refuse, maxLabels: LIMITS.labels }).label);
      return { ...outer, ...inner(byVersion(), label) };
    }
    if (outer.proto !== IPV4 && outer.proto !== IPV6) return outer;
    const found = { ...outer, ...ip(outer.proto), l4Offset: offset() };
    return found.fragment === 2 ? found : { ...found, ...tunnel(found.l4) };
  } catch (error) {
    if (error instanceof Ended) return undefined;
    throw error;
  }
}

describe("the parsing helpers find what is there", () => {
  test.each(Object.entries(samples))("%s", (_, packet) => {
    for (let length = 14; length <= packet.length; length++) {
      const cut = packet.subarray(0, length);
      expect([length, parse(cut)]).toEqual([length, dissect(cut)]);
    }
  });
});

test("the samples are what their names say", () => {
  const found = (name: string): Found | undefined => dissect(samples[name] as Uint8Array);
  expect(found("two VLAN tags")).toMatchObject({ tags: 2, proto: IPV6, l4: 17 });
  expect(found("more VLAN tags than are followed")).toMatchObject({ tags: 2, proto: 0x8100, l4: 0 });
  expect(found("as many IPv4 options as there can be")).toMatchObject({ l4: 17, l4Offset: 74 });
  expect(found("an IHL of 4")).toBeUndefined();
  expect(found("a later fragment of IPv4")).toMatchObject({ l4: 17, fragment: 2, innerL4: 0 });
  expect(found("every IPv6 extension header")).toMatchObject({ l4: 58, l4Offset: 126 });
  expect(found("GRE with everything")).toMatchObject({ tunnel: 0xcafe_f00d, innerL4: 17 });
  expect(found("VXLAN with a tagged frame")).toMatchObject({ tunnel: 0xff_ffff, innerL4: 17 });
  expect(found("Geneve with as many options as there can be")).toMatchObject({
    tunnel: 1,
    innerL4: 6,
    innerOffset: 322,
  });
  expect(found("GTP-U with extension headers")).toMatchObject({
    tunnel: 0xffff_ffff,
    innerL4: 6,
    innerOffset: 86,
  });
  expect(found("MPLS with three labels")).toMatchObject({ tags: 1, tunnel: 0xf_ffff, innerL4: 17 });
});

test("the innermost VLAN's number", () => {
  const { $, numberOf } = evaluator(
    p.packet(p.ethernet(0x88a8), p.vlan(0x8100, 0x6064), p.vlan(IPV4, 0xe0c8)),
  );
  expect(numberOf(parseEthernet($, refuse).vlan)).toBe(200);
});

describe("TCP and ARP", () => {
  const tcp = (doff: number, behind: number): number => {
    const { $, offset } = evaluator(p.packet(p.tcp(1, 2, { doff }), new Uint8Array(behind)));
    parseTcp($, refuse);
    return offset();
  };

  test("TCP with options", () => {
    expect(tcp(5, 0)).toBe(20);
    expect(tcp(15, 40)).toBe(60);
    expect(() => tcp(15, 39)).toThrow(Ended);
    expect(() => tcp(4, 40)).toThrow(Ended);
  });

  test("ARP for IPv4 over Ethernet, and nothing else", () => {
    const message = p.packet(p.arp());
    const { $, numberOf, offset } = evaluator(message);
    const { arp, addresses } = parseArp($, refuse);
    expect([numberOf(arp.ar_op), numberOf(addresses.ar_tip), offset()]).toEqual([1, 0x0a00_0002, 28]);
    for (const at of [1, 3, 4, 5]) {
      const other = message.map((byte, index) => (index === at ? byte + 1 : byte));
      expect(() => parseArp(evaluator(other).$, refuse), `byte ${at}`).toThrow(Ended);
    }
    expect(() => parseArp(evaluator(message.subarray(0, 27)).$, refuse)).toThrow(Ended);
  });
});
