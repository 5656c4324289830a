import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { mapDef, type Program } from "../../../src/asm/index.ts";
import { array, be16, be32, bytes, struct, u8, u32 } from "../../../src/btf/layout/index.ts";
import { attachTcxLink, attachXdpLink, BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import {
  type LangOptions,
  TC_ACT_OK,
  TC_ACT_SHOT,
  type TcScope,
  tc,
  XDP_DROP,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../../src/lang/index.ts";
import {
  checksum,
  ethhdr,
  icmp6hdr,
  icmphdr,
  iphdr,
  ipv4Checksum,
  ipv6hdr,
  parseIpv4,
  pseudo6hdr,
  pseudohdr,
  rewrite,
  tcphdr,
  udphdr,
  updatedChecksum,
} from "../../../src/lang/net/index.ts";
import { ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { ICMP, ICMPV6, type Protocol, randomPacket, sumPacket } from "../../lang/net/checksums.ts";
import * as packets from "../../lang/packets.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";

/** What the programs write; the tests fill it with something else for each packet. */
const To = struct("to", {
  saddr: array(be32, 4),
  daddr: array(be32, 4),
  source: be16,
  dest: be16,
  word: be32,
  ttl: u8,
  tos: u8,
});
const to = mapDef({ name: "to", type: "array", key: u32, value: To, maxEntries: 1 });

/** A program of either kind: what it changes, in the headers of one protocol. */
type Body = ($: XdpScope | TcScope, drop: { else: () => never }) => void;
const kinds = [
  {
    kind: "XDP",
    good: XDP_PASS,
    make: (body: Body, options?: LangOptions): Program =>
      xdp(
        "rewrite",
        ($) => {
          body($, { else: () => $.return(XDP_DROP) as never });
          return $.return(XDP_PASS);
        },
        options,
      ),
  },
  {
    kind: "TC",
    good: TC_ACT_OK,
    make: (body: Body, options?: LangOptions): Program =>
      tc(
        "rewrite",
        ($) => {
          body($, { else: () => $.return(TC_ACT_SHOT) as never });
          return $.return(TC_ACT_OK);
        },
        options,
      ),
  },
] as const;

/** What is rewritten for each protocol, in the language and by the reference. */
const variants: readonly {
  readonly name: string;
  readonly protocol: Protocol;
  readonly ipv6: boolean;
  readonly body: Body;
  readonly change: (packet: DataView, value: Values) => void;
}[] = [
  {
    name: "UDP over IPv4: addresses, ports, TTL and TOS",
    protocol: IPPROTO_UDP,
    ipv6: false,
    body: ($, drop) => {
      const [value, ip] = [$.global(to), begin($, drop)];
      const udp = $.packet.take(udphdr, drop);
      rewrite(
        $,
        { ip, udp },
        {
          ip: { saddr: value.saddr.at(0), daddr: value.daddr.at(0), ttl: value.ttl, tos: value.tos },
          udp: { source: value.source, dest: value.dest },
        },
      );
    },
    change: (packet, value) => {
      setIpv4(packet, value);
      packet.setUint8(14 + 1, value.tos);
      packet.setUint8(14 + 8, value.ttl);
      setPorts(packet, 34, value);
    },
  },
  {
    name: "UDP over IPv4: one port, by itself",
    protocol: IPPROTO_UDP,
    ipv6: false,
    body: ($, drop) => {
      const [value, _ip] = [$.global(to), begin($, drop)];
      const udp = $.packet.take(udphdr, drop);
      rewrite($, { udp }, { udp: { dest: value.dest } });
    },
    change: (packet, value) => packet.setUint16(36, value.dest),
  },
  {
    name: "TCP over IPv4: addresses swapped, a sequence number and a flag",
    protocol: IPPROTO_TCP,
    ipv6: false,
    body: ($, drop) => {
      const [value, ip] = [$.global(to), begin($, drop)];
      const tcp = $.packet.take(tcphdr, drop);
      rewrite(
        $,
        { ip, tcp },
        { ip: { saddr: ip.daddr, daddr: ip.saddr }, tcp: { seq: value.word, ack: 1, urg: 0 } },
      );
    },
    change: (packet, { word }) => {
      const [saddr, daddr] = [packet.getUint32(26), packet.getUint32(30)];
      packet.setUint32(26, daddr);
      packet.setUint32(30, saddr);
      packet.setUint32(34 + 4, word);
      packet.setUint8(34 + 13, (packet.getUint8(34 + 13) | 0x10) & ~0x20);
    },
  },
  {
    name: "ICMP: an answer to a ping",
    protocol: ICMP,
    ipv6: false,
    body: ($, drop) => {
      const [value, ip] = [$.global(to), begin($, drop)];
      const icmp = $.packet.take(icmphdr, drop);
      rewrite(
        $,
        { ip, icmp },
        { ip: { saddr: ip.daddr, daddr: value.daddr.at(0), ttl: ip.ttl.sub(1) }, icmp: { type: 0 } },
      );
    },
    change: (packet, { daddr }) => {
      packet.setUint32(26, packet.getUint32(30));
      packet.setUint32(30, daddr[0] as number);
      packet.setUint8(14 + 8, (packet.getUint8(14 + 8) + 255) & 0xff);
      packet.setUint8(34, 0);
    },
  },
  {
    name: "TCP over IPv6: addresses and ports",
    protocol: IPPROTO_TCP,
    ipv6: true,
    body: ($, drop) => {
      const value = $.global(to);
      $.packet.take(ethhdr, drop);
      const ip6 = $.packet.take(ipv6hdr, drop);
      const tcp = $.packet.take(tcphdr, drop);
      rewrite(
        $,
        { ip6, tcp },
        {
          ip6: { saddr: value.saddr, daddr: value.daddr, hop_limit: value.ttl },
          tcp: { source: value.source, dest: value.dest },
        },
      );
    },
    change: (packet, value) => {
      setIpv6(packet, value);
      packet.setUint8(14 + 7, value.ttl);
      setPorts(packet, 54, value);
    },
  },
  {
    name: "UDP over IPv6: the source's address",
    protocol: IPPROTO_UDP,
    ipv6: true,
    body: ($, drop) => {
      const value = $.global(to);
      $.packet.take(ethhdr, drop);
      const ip6 = $.packet.take(ipv6hdr, drop);
      const udp = $.packet.take(udphdr, drop);
      rewrite($, { ip6, udp }, { ip6: { saddr: value.saddr } });
    },
    change: (packet, { saddr }) => {
      for (const [at, word] of saddr.entries()) packet.setUint32(22 + 4 * at, word);
    },
  },
  {
    name: "ICMPv6: an address and the type",
    protocol: ICMPV6,
    ipv6: true,
    body: ($, drop) => {
      const value = $.global(to);
      $.packet.take(ethhdr, drop);
      const ip6 = $.packet.take(ipv6hdr, drop);
      const icmp6 = $.packet.take(icmp6hdr, drop);
      rewrite($, { ip6, icmp6 }, { ip6: { daddr: value.daddr }, icmp6: { icmp6_type: 129 } });
    },
    change: (packet, { daddr }) => {
      for (const [at, word] of daddr.entries()) packet.setUint32(38 + 4 * at, word);
      packet.setUint8(54, 129);
    },
  },
];

interface Values {
  readonly saddr: number[];
  readonly daddr: number[];
  readonly source: number;
  readonly dest: number;
  readonly word: number;
  readonly ttl: number;
  readonly tos: number;
}

function begin($: XdpScope | TcScope, drop: { else: () => never }) {
  $.packet.take(ethhdr, drop);
  return parseIpv4($, drop).ip;
}

function setIpv4(packet: DataView, { saddr, daddr }: Values): void {
  packet.setUint32(26, saddr[0] as number);
  packet.setUint32(30, daddr[0] as number);
}

function setIpv6(packet: DataView, { saddr, daddr }: Values): void {
  for (const [at, word] of [...saddr, ...daddr].entries()) packet.setUint32(22 + 4 * at, word);
}

function setPorts(packet: DataView, at: number, { source, dest }: Values): void {
  packet.setUint16(at, source);
  packet.setUint16(at + 2, dest);
}

/** Random values, among them many that carries like. */
function randomValues(random: (limit: number) => number): Values {
  const word = (): number => [0, 0xffff_ffff, 0xffff, 0xffff_0000, random(2 ** 32)][random(5)] as number;
  const half = (): number => [0, 0xffff, random(0x10000)][random(3)] as number;
  const four = (): number[] => Array.from({ length: 4 }, word);
  return {
    saddr: four(),
    daddr: four(),
    source: half(),
    dest: half(),
    word: word(),
    ttl: random(256),
    tos: random(256),
  };
}

describeKernel("rewriting headers", () => {
  const options = ["5.10", "6.18"] as const;
  const all = kinds.flatMap((kind) =>
    variants.flatMap((variant) => options.map((kernel) => ({ ...kind, ...variant, kernel }))),
  );
  test.each(all)(
    "$kind, kernel $kernel, $name: as computed anew",
    ({ make, good, body, change, protocol, ipv6, kernel }) => {
      using map = BpfMap.create(to);
      using loaded = BpfProgram.load(make(body, { kernel }), { maps: [map] });
      const random = packets.randomNumbers(protocol + (ipv6 ? 100 : 0));
      for (let n = 0; n < 1_000; n++) {
        const packet = randomPacket(random, protocol, ipv6);
        const value = randomValues(random);
        map.set(0, value);
        const expected = packet.slice();
        change(new DataView(expected.buffer), value);
        sumPacket(expected, protocol, ipv6);
        const { retval, data } = loaded.testRun({ data: packet });
        expect([n, retval, hex(data)]).toEqual([n, good, hex(expected)]);
      }
    },
  );

  test.each(kinds)(
    "$kind: a UDP checksum that becomes 0 is written as 0xffff, and none stays none",
    ({ make }) => {
      const [variant] = variants;
      if (variant === undefined) throw new Error("no variant");
      using map = BpfMap.create(to);
      using loaded = BpfProgram.load(make(variant.body), { maps: [map] });
      const value = randomValues(packets.randomNumbers(5));
      map.set(0, value);
      const packet = packets.ethernet(ETH_P_IP, packets.ipv4(17, packets.udp(1, 2, packets.payload(2), 1)));
      // The last two bytes make up for the rest: the packet's checksum will be 0.
      const wanted = packet.slice();
      variant.change(new DataView(wanted.buffer), value);
      sumPacket(wanted, IPPROTO_UDP, false);
      const [from, missing] = [new DataView(packet.buffer), new DataView(wanted.buffer).getUint16(40)];
      const last = from.getUint16(42) + missing;
      from.setUint16(42, (last & 0xffff) + (last >> 16));
      sumPacket(packet, IPPROTO_UDP, false);
      expect(new DataView(loaded.testRun({ data: packet }).data.buffer).getUint16(40)).toBe(0xffff);
      from.setUint16(40, 0);
      expect(new DataView(loaded.testRun({ data: packet }).data.buffer).getUint16(40)).toBe(0);
    },
  );

  test("a packet without a transport header", () => {
    const [{ make }] = kinds;
    const body: Body = ($, drop) => {
      const ip = begin($, drop);
      rewrite($, { ip }, { ip: { daddr: 0x0a00_0009, frag_off: 0x2000 } }, { noTransport: true });
    };
    using loaded = BpfProgram.load(make(body));
    const inner = packets.payload(40);
    const data = packets.ethernet(ETH_P_IP, packets.ipv4(50, inner));
    const expected = packets.ethernet(
      ETH_P_IP,
      packets.ipv4(50, inner, { destination: 0x0a00_0009, fragment: 0x2000 }),
    );
    expect(hex(loaded.testRun({ data }).data)).toBe(hex(expected));
  });
});

describeKernel("checksums", () => {
  test.each(kinds)("$kind: of pieces of every size, by loads and by the helper", ({ make, good }) => {
    const sizes = [1, 2, 3, 4, 5, 7, 8, 20, 63, 64, 65, 66, 68, 127, 300, 513, 600];
    const random = packets.randomNumbers(9);
    for (const size of sizes) {
      const head = struct("head", { check: be16, first: bytes(6), rest: bytes(size) }, { packed: true });
      const body: Body = ($, drop) => {
        const { check, first, rest } = $.packet.take(head, drop);
        check.set(checksum($, [first, rest]));
      };
      using loaded = BpfProgram.load(make(body));
      for (let n = 0; n < 20; n++) {
        const data = Uint8Array.from({ length: head.size + 20 }, () =>
          n === 0 ? 0 : n === 1 ? 255 : random(256),
        );
        const { retval, data: after } = loaded.testRun({ data });
        const expected = packets.checksum(data.subarray(2, head.size));
        expect([size, n, retval, new DataView(after.buffer).getUint16(0)]).toEqual([size, n, good, expected]);
      }
    }
  });

  test.each(kinds)("$kind: an IPv4 header that is put in front of a packet", ({ make }) => {
    const body: Body = ($, drop) => {
      const { eth, ip } = $.packet.take(struct("both", { eth: ethhdr, ip: iphdr }, { packed: true }), drop);
      const length = eth.h_proto.toHost();
      $.assign(ip, { version: 4, ihl: 5, tot_len: length.to(be16), ttl: 64, protocol: 17 });
      ip.check.set(ipv4Checksum($, ip));
      const copy = $.struct(iphdr, ip); // of what lies in the stack, too
      $.if(ipv4Checksum($, copy).ne(ip.check), drop.else);
    };
    using loaded = BpfProgram.load(make(body));
    const random = packets.randomNumbers(3);
    for (let n = 0; n < 200; n++) {
      const data = Uint8Array.from({ length: 64 }, () => random(256));
      const { data: after } = loaded.testRun({ data });
      const header = after.slice(14, 34);
      expect([n, packets.checksum(header)]).toEqual([n, 0]);
    }
  });

  const families = kinds.flatMap((kind) => [false, true].map((v6) => ({ ...kind, v6 })));
  test.each(families)("$kind, IPv6 $v6: of a UDP datagram of any length, up to a limit", ({ make, v6 }) => {
    const body: Body = ($, drop) => {
      $.packet.take(ethhdr, drop);
      const ip = v6 ? undefined : $.packet.take(iphdr, drop);
      const ip6 = v6 ? $.packet.take(ipv6hdr, drop) : undefined;
      const udp = $.packet.take(udphdr, drop);
      const { len } = udp;
      udp.check.set(0);
      const pseudo =
        ip !== undefined
          ? $.struct(pseudohdr, { saddr: ip.saddr, daddr: ip.daddr, protocol: 17, length: len })
          : $.struct(pseudo6hdr, {
              saddr: ip6?.saddr ?? [],
              daddr: ip6?.daddr ?? [],
              length: len.toHost().to(be32),
              nexthdr: 17,
            });
      const rest = { bytes: len.toHost().sub(8), max: 700, ...drop };
      udp.check.set(checksum($, [pseudo, udp], { rest, neverZero: true }));
      $.if(
        $.packet.offset().ne(
          len
            .toHost()
            .to(u32)
            .add(v6 ? 54 : 34),
        ),
        drop.else,
      );
    };
    using loaded = BpfProgram.load(make(body));
    const random = packets.randomNumbers(11);
    for (const length of [0, 1, 2, 3, 4, 5, 63, 64, 65, 66, 67, 127, 128, 191, 640, 699, 700]) {
      for (const trailer of [0, 1, 70]) {
        const data = Uint8Array.from({ length }, () => random(256));
        const inner = packets.udp(7, 8, data, 1);
        const packet = v6
          ? packets.ethernet(ETH_P_IPV6, packets.ipv6(17, inner))
          : packets.ethernet(ETH_P_IP, packets.ipv4(17, inner));
        sumPacket(packet, IPPROTO_UDP, v6);
        const given = Uint8Array.from([...packet, ...packets.payload(trailer)]);
        const { data: after } = loaded.testRun({ data: given });
        expect([length, trailer, hex(after)]).toEqual([length, trailer, hex(given)]);
      }
    }
    // What is longer than the limit, or says that it is longer than the packet, goes the other way.
    const refused = loaded.testRun({ data: longer(v6, 701, 0) }).retval;
    expect([refused, loaded.testRun({ data: longer(v6, 100, 1) }).retval]).toEqual([refused, refused]);
    expect(loaded.testRun({ data: longer(v6, 100, 0) }).retval).not.toBe(refused);
  });

  test("of an IPv4 header with options", () => {
    const [{ make }] = kinds;
    const body: Body = ($, drop) => {
      $.packet.take(ethhdr, drop);
      const ip = $.packet.take(iphdr, drop);
      ip.check.set(0);
      const rest = { bytes: ip.ihl.sub(5).mul(4), max: 40, ...drop };
      ip.check.set(checksum($, [ip], { rest }));
    };
    using loaded = BpfProgram.load(make(body));
    for (const options of [0, 4, 24, 40]) {
      const data = packets.ethernet(ETH_P_IP, packets.ipv4(17, packets.payload(30), { options }));
      expect([options, hex(loaded.testRun({ data }).data)]).toEqual([options, hex(data)]);
    }
  });

  test("one value after another, for other protocols", () => {
    const [{ make }] = kinds;
    const head = struct("head", { check: be16, port: be16, word: be32 });
    const body: Body = ($, drop) => {
      const { check, port, word } = $.packet.take(head, drop);
      const next = $.value(be16, 0xfffe);
      const first = updatedChecksum($, check, port, next);
      port.set(next);
      check.set(updatedChecksum($, first, word, 0xffff_0001));
      word.set(0xffff_0001);
    };
    using loaded = BpfProgram.load(make(body));
    const random = packets.randomNumbers(4);
    for (let n = 0; n < 500; n++) {
      const data = Uint8Array.from({ length: 40 }, () => random(256));
      const view = new DataView(data.buffer);
      view.setUint16(0, packets.checksum(data.subarray(2, 8)));
      const { data: after } = loaded.testRun({ data });
      expect([n, new DataView(after.buffer).getUint16(0)]).toEqual([n, packets.checksum(after.slice(2, 8))]);
    }
  });
});

describeKernel("real sockets take rewritten packets", () => {
  const [PUBLIC, SERVER] = ["10.77.0.77", "10.77.0.1"];
  const [PUBLIC_ADDR, SERVER_ADDR] = [0x0a4d_004d, 0x0a4d_0001];
  const [PUBLIC_PORT, SERVER_PORT] = [7077, 7001];
  const TRAFFIC = fileURLToPath(new URL("../../support/traffic.mjs", import.meta.url));

  /** From the public address to the server's. */
  const inward: Body = ($, pass) => {
    const eth = $.packet.take(ethhdr, pass);
    $.if(eth.h_proto.ne(ETH_P_IP), pass.else);
    const { ip, protocol } = parseIpv4($, pass);
    $.if(ip.daddr.ne(PUBLIC_ADDR), pass.else);
    const ipChange = { daddr: SERVER_ADDR, ttl: ip.ttl.sub(1) };
    $.if(protocol.eq(IPPROTO_TCP), () => {
      const tcp = $.packet.take(tcphdr, pass);
      $.if(tcp.dest.ne(PUBLIC_PORT), pass.else);
      rewrite($, { ip, tcp }, { ip: ipChange, tcp: { dest: SERVER_PORT } });
    }).elif(protocol.eq(IPPROTO_UDP), () => {
      const udp = $.packet.take(udphdr, pass);
      $.if(udp.dest.ne(PUBLIC_PORT), pass.else);
      rewrite($, { ip, udp }, { ip: ipChange, udp: { dest: SERVER_PORT } });
    });
  };
  /** And back. */
  const outward: Body = ($, pass) => {
    const eth = $.packet.take(ethhdr, pass);
    $.if(eth.h_proto.ne(ETH_P_IP), pass.else);
    const { ip, protocol } = parseIpv4($, pass);
    $.if(ip.saddr.ne(SERVER_ADDR), pass.else);
    $.if(protocol.eq(IPPROTO_TCP), () => {
      const tcp = $.packet.take(tcphdr, pass);
      $.if(tcp.source.ne(SERVER_PORT), pass.else);
      rewrite($, { ip, tcp }, { ip: { saddr: PUBLIC_ADDR }, tcp: { source: PUBLIC_PORT } });
    }).elif(protocol.eq(IPPROTO_UDP), () => {
      const udp = $.packet.take(udphdr, pass);
      $.if(udp.source.ne(SERVER_PORT), pass.else);
      rewrite($, { ip, udp }, { ip: { saddr: PUBLIC_ADDR }, udp: { source: PUBLIC_PORT } });
    });
  };
  const next = (body: Body): Program =>
    tc("nat", ($) => {
      body($, { else: () => $.return(TC_ACT_OK) as never });
      return $.return(TC_ACT_OK);
    });
  const xdpNat = xdp("nat", ($) => {
    inward($, { else: () => $.return(XDP_PASS) as never });
    return $.return(XDP_PASS);
  });

  /** Talks to the server by its public address, over UDP and TCP. */
  async function talk(net: TestNet): Promise<unknown> {
    const [server] = net.inside.links;
    await net.exec("outside", "ip", ["neigh", "add", PUBLIC, "lladdr", server?.mac ?? "", "dev", "peer0"]);
    const run = (side: "inside" | "outside", mode: string, options: object) =>
      net.spawn(side, process.execPath, [TRAFFIC, mode, JSON.stringify(options)]);
    const answers: unknown[] = [];
    for (const [listen, echo, more] of [
      ["udp-listen", "udp-echo", { count: 5, size: 101, replyMs: 2_000 }],
      ["tcp-listen", "tcp-echo", { connections: 2, bytes: 300_001 }],
    ] as const) {
      const serving = run("inside", listen, {
        ...{ host: SERVER, port: SERVER_PORT, echo: true, timeoutMs: 15_000, ...more },
      });
      await serving.waitFor(`ready ${SERVER_PORT}\n`);
      const asking = run("outside", echo, { host: PUBLIC, port: PUBLIC_PORT, timeoutMs: 10_000, ...more });
      answers.push(JSON.parse((await asking.ended()).stdout));
      await serving.stop();
    }
    return answers;
  }
  const good = [{ replies: 5 }, { intact: 2, error: null }];

  // At egress the field mostly holds the sum of the pseudo header only, which whoever sends the packet completes; at ingress it
  // may, too, where the sender left it to the network card.
  test.each([false, true])(
    "TC both ways; checksums left to the network card: %s",
    async (txChecksumOffload) => {
      await using net = await createTestNet({ txChecksumOffload });
      using ingress = BpfProgram.load(next(inward));
      using egress = BpfProgram.load(next(outward));
      using _in = inNetns(net.inside.path, () => attachTcxLink(ingress, "eth0", { hook: "ingress" }));
      using _out = inNetns(net.inside.path, () => attachTcxLink(egress, "eth0", { hook: "egress" }));
      expect(await talk(net)).toMatchObject(good);
    },
  );

  test("XDP in, TC out", async () => {
    await using net = await createTestNet();
    using ingress = BpfProgram.load(xdpNat);
    using egress = BpfProgram.load(next(outward));
    using _in = inNetns(net.inside.path, () => attachXdpLink(ingress, "eth0"));
    using _out = inNetns(net.inside.path, () => attachTcxLink(egress, "eth0", { hook: "egress" }));
    expect(await talk(net)).toMatchObject(good);
  });
});

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex");
}

/** A datagram whose length field says more than there is. */
function longer(v6: boolean, length: number, by: number): Uint8Array {
  const inner = packets.udp(7, 8, packets.payload(length), 1);
  new DataView(inner.buffer).setUint16(4, 8 + length + by);
  return v6
    ? packets.ethernet(ETH_P_IPV6, packets.ipv6(17, inner))
    : packets.ethernet(ETH_P_IP, packets.ipv4(17, inner));
}
