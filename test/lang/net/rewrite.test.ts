import { expect, test } from "vitest";
import { XDP_PASS, type XdpScope, xdp } from "../../../src/lang/index.ts";
import {
  ethhdr,
  iphdr,
  ipv4Checksum,
  ipv6hdr,
  rewrite,
  tcphdr,
  udphdr,
} from "../../../src/lang/net/index.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { execute } from "../compile/execute.ts";
import { randomNumbers } from "../packets.ts";
import { randomPacket, sumPacket } from "./checksums.ts";

// The arithmetic of checksums as the compiler has it, run here, without a kernel. test/kernel/lang/checksum.test.ts has it there.

const pass = ($: XdpScope) => ({ else: () => $.return(XDP_PASS) });

test("rewritten IPv4 and UDP headers are as computed anew", () => {
  const random = randomNumbers(21);
  for (let n = 0; n < 200; n++) {
    const [daddr, source, ttl] = [
      [0, 0xffff_ffff, random(2 ** 32)][random(3)] ?? 0,
      random(0x10000),
      random(256),
    ];
    const nat = xdp("nat", ($) => {
      $.packet.take(ethhdr, pass($));
      const ip = $.packet.take(iphdr, pass($));
      const udp = $.packet.take(udphdr, pass($));
      rewrite($, { ip, udp }, { ip: { daddr, ttl, saddr: ip.daddr }, udp: { source, dest: udp.source } });
      return $.return(XDP_PASS);
    });
    const packet = randomPacket(random, IPPROTO_UDP, false);
    const expected = packet.slice();
    const view = new DataView(expected.buffer);
    view.setUint32(26, view.getUint32(30));
    view.setUint32(30, daddr);
    view.setUint8(22, ttl);
    view.setUint16(36, view.getUint16(34));
    view.setUint16(34, source);
    sumPacket(expected, IPPROTO_UDP, false);
    expect([n, hex(execute(nat.blocks, packet).packet)]).toEqual([n, hex(expected)]);
  }
});

test("rewritten IPv6 and TCP headers are as computed anew", () => {
  const random = randomNumbers(22);
  for (let n = 0; n < 200; n++) {
    const [word, dest] = [random(2 ** 32), random(0x10000)];
    const nat = xdp("nat", ($) => {
      $.packet.take(ethhdr, pass($));
      const ip6 = $.packet.take(ipv6hdr, pass($));
      const tcp = $.packet.take(tcphdr, pass($));
      rewrite(
        $,
        { ip6, tcp },
        { ip6: { daddr: [word, 0, 0xffff_ffff, 7] }, tcp: { dest, syn: 1, window: 0 } },
      );
      return $.return(XDP_PASS);
    });
    const packet = randomPacket(random, IPPROTO_TCP, true);
    const expected = packet.slice();
    const view = new DataView(expected.buffer);
    for (const [at, part] of [word, 0, 0xffff_ffff, 7].entries()) view.setUint32(38 + 4 * at, part);
    view.setUint16(56, dest);
    view.setUint8(67, view.getUint8(67) | 2);
    view.setUint16(68, 0);
    sumPacket(expected, IPPROTO_TCP, true);
    expect([n, hex(execute(nat.blocks, packet).packet)]).toEqual([n, hex(expected)]);
  }
});

test("the checksum of an IPv4 header, whatever the field held", () => {
  const sum = xdp("sum", ($) => {
    $.packet.skip(ethhdr.size);
    const ip = $.packet.take(iphdr, pass($));
    ip.check.set(ipv4Checksum($, ip));
    return $.return(XDP_PASS);
  });
  const random = randomNumbers(23);
  for (let n = 0; n < 200; n++) {
    const packet = randomPacket(random, IPPROTO_UDP, false);
    const damaged = packet.slice();
    new DataView(damaged.buffer).setUint16(24, random(0x10000));
    expect([n, hex(execute(sum.blocks, damaged).packet)]).toEqual([n, hex(packet)]);
  }
});

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex");
}
