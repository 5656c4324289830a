import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import type { Program } from "../../../src/asm/program.ts";
import { array, be16, bytes, struct, u8, u32, u64 } from "../../../src/btf/layout/index.ts";
import { attachTcxLink, attachXdpLink, BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import {
  cgroupSkb,
  socketFilter,
  TC_ACT_OK,
  TC_ACT_SHOT,
  TC_ACT_UNSPEC,
  tc,
  XDP_DROP,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../../src/lang/index.ts";
import {
  checksum,
  ethhdr,
  iphdr,
  pseudohdr,
  rewrite,
  tcphdr,
  udphdr,
  vlan_hdr,
} from "../../../src/lang/net/index.ts";
import { BPF_F_XDP_HAS_FRAGS } from "../../../src/uapi/bpf.ts";
import { ETH_P_8021Q, ETH_P_IP, IPPROTO_TCP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import { ethernet, ipv4, payload, tcp, udp, vlan } from "../../lang/packets.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";

const inner = ipv4(17, udp(1, 2, payload(30)));
const plain = ethernet(ETH_P_IP, inner);

/** Loads a program, runs it on packets, and gives what it returned and what became of each. */
function run(program: Program, packets: readonly Uint8Array[]): [retval: number, data: number[]][] {
  using loaded = BpfProgram.load(program);
  return packets.map((data) => {
    const result = loaded.testRun({ data });
    return [result.retval, [...result.data]];
  });
}

describeKernel("packets that move", () => {
  test("XDP, at the front: a VLAN tag is put in, and taken out again", () => {
    const headers = struct("headers", { eth: ethhdr, tag: vlan_hdr }, { packed: true });
    const push = xdp("push", ($) => {
      const drop = { else: () => $.return(XDP_DROP) };
      const old = $.struct(ethhdr, $.packet.take(ethhdr, drop));
      $.packet.adjustHead(-vlan_hdr.size, drop);
      const { eth, tag } = $.packet.take(headers, drop);
      $.assign(eth, { h_dest: old.h_dest, h_source: old.h_source, h_proto: ETH_P_8021Q });
      $.assign(tag, { h_vlan_TCI: 5, h_vlan_encapsulated_proto: old.h_proto });
      return $.return(XDP_PASS);
    });
    const tagged = ethernet(ETH_P_8021Q, vlan(5, ETH_P_IP, inner));
    expect(run(push, [plain])).toEqual([[XDP_PASS, [...tagged]]]);
    const pop = xdp("pop", ($) => {
      const drop = { else: () => $.return(XDP_DROP) };
      const { eth, tag } = $.packet.take(headers, drop);
      const now = $.struct(ethhdr, {
        h_dest: eth.h_dest,
        h_source: eth.h_source,
        h_proto: tag.h_vlan_encapsulated_proto,
      });
      const by = $.let(u8, vlan_hdr.size);
      $.packet.adjustHead(by, drop);
      $.copy($.packet.take(ethhdr, drop), now);
      return $.return(XDP_PASS);
    });
    expect(run(pop, [tagged])).toEqual([[XDP_PASS, [...plain]]]);
  });

  test("XDP, at both ends: too much is refused, and the packet left as it was", () => {
    const adjust = (head: number, tail: number) =>
      xdp("adjust", ($) => {
        $.packet.adjustHead(head, { else: () => $.return(XDP_DROP) });
        $.packet.adjustTail(tail, { else: () => $.return(XDP_DROP) });
        return $.return(XDP_PASS);
      });
    const zeros = (count: number): number[] => new Array(count).fill(0);
    expect(run(adjust(14, 0), [plain])).toEqual([[XDP_PASS, [...inner]]]);
    expect(run(adjust(0, -10), [plain])).toEqual([[XDP_PASS, [...plain.subarray(0, -10)]]]);
    expect(run(adjust(0, 10), [plain])).toEqual([[XDP_PASS, [...plain, ...zeros(10)]]]);
    expect(run(adjust(-1_000, 0), [plain])).toEqual([[XDP_DROP, [...plain]]]);
    expect(run(adjust(0, -(plain.length - 13)), [plain])).toEqual([[XDP_DROP, [...plain]]]);
  });

  const forms = [
    { as: "unroll", kernel: "5.10" },
    { as: "loop", kernel: "5.10" },
    { as: "iterator", kernel: "6.4" },
    { as: "bpf_loop", kernel: "5.17" },
  ] as const;
  test.each(forms)("a loop whose turns each move the packet: $as", ({ as, kernel }) => {
    // Takes what lies in front of an Ethernet frame off, four bytes a turn.
    const strip = ($: XdpScope) => {
      const drop = { else: () => $.return(XDP_DROP) };
      $.for(
        6,
        () => {
          const tag = $.packet.take(struct("tag", { magic: be16, more: be16 }), { else: () => $.break() });
          $.if(tag.magic.ne(0xbeef), () => $.break());
          $.packet.adjustHead(4, drop);
        },
        { as },
      );
      const eth = $.packet.take(ethhdr, drop);
      return $.return(eth.h_proto.toHost());
    };
    const tags = (count: number): Uint8Array =>
      Uint8Array.from([...Array.from({ length: count }, () => [0xbe, 0xef, 1, 2]).flat(), ...plain]);
    const results = run(xdp("strip", strip, { kernel }), [0, 1, 5, 7].map(tags));
    expect(results).toEqual([
      ...[0, 1, 5].map(() => [ETH_P_IP, [...plain]]),
      [new DataView(tags(1).buffer).getUint16(12), [...tags(1)]], // six turns take six off
    ]);
  });

  test("a loop that moves the packet in one branch and looks at it in another only", () => {
    const strip = xdp("strip", ($) => {
      const drop = { else: () => $.return(XDP_DROP) };
      const seen = $.let(u32, 0);
      $.for(6, (turn) => {
        $.if(turn.lt(3), () => $.packet.adjustHead(4, drop)).else(() => {
          seen.set(seen.shl(8).or($.packet.take(u8, drop)));
        });
      });
      return $.return(seen);
    });
    const data = Uint8Array.from({ length: 40 }, (_, index) => index);
    expect(run(strip, [data])).toEqual([[0x0c0d0e, [...data.subarray(12)]]]);
  });

  test("TC: in front, behind, in the middle", () => {
    const head = tc("head", ($) => {
      const shot = { else: () => $.return(TC_ACT_SHOT) };
      $.packet.changeHead(14, shot);
      const eth = $.packet.take(ethhdr, shot);
      eth.h_proto.set(0x6558);
      return $.return(TC_ACT_OK);
    });
    const zeros = (count: number): number[] => new Array(count).fill(0);
    expect(run(head, [plain])).toEqual([[TC_ACT_OK, [...zeros(12), 0x65, 0x58, ...plain]]]);
    const tail = (by: number) =>
      tc("tail", ($) => {
        const length = by < 0 ? $.ctx.len.sub(-by) : $.ctx.len.add(by);
        $.packet.changeTail(length, { else: () => $.return(TC_ACT_SHOT) });
        return $.return(TC_ACT_OK);
      });
    expect(run(tail(-10), [plain])).toEqual([[TC_ACT_OK, [...plain.subarray(0, -10)]]]);
    expect(run(tail(10), [plain])).toEqual([[TC_ACT_OK, [...plain, ...zeros(10)]]]);
    expect(run(tail(-60), [plain])).toEqual([[TC_ACT_SHOT, [...plain]]]);
    const room = (delta: number, at: "mac" | "network") =>
      tc("room", ($) => {
        $.packet.adjustRoom(delta, { at, else: () => $.return(TC_ACT_SHOT) });
        const start = $.packet.take(ethhdr, { else: () => $.return(TC_ACT_SHOT) });
        return $.return(start.h_proto.toHost());
      });
    const networkEnd = 14 + 20;
    const [retval, data] = run(room(8, "network"), [plain])[0] ?? [];
    expect([retval, data?.length]).toEqual([ETH_P_IP, plain.length + 8]);
    expect(data?.slice(networkEnd + 8)).toEqual([...plain.subarray(networkEnd)]);
    expect(run(room(-8, "network"), [plain])).toEqual([
      [ETH_P_IP, [...plain.subarray(0, networkEnd), ...plain.subarray(networkEnd + 8)]],
    ]);
    const behindMac = run(room(4, "mac"), [plain])[0]?.[1] ?? [];
    expect([behindMac.slice(0, 14), behindMac.slice(18)]).toEqual([
      [...plain.subarray(0, 14)],
      [...plain.subarray(14)],
    ]);
    expect(run(room(8, "network"), [ethernet(0x88cc, payload(60))])[0]?.[0]).toBe(TC_ACT_SHOT);
  });

  test("TC: packets in pieces are pulled together, and read by copies without", async () => {
    const Seen = struct("seen", { short: u64, pulled: u64, copied: u64 });
    const seen = mapDef({ name: "seen", type: "array", key: u32, value: Seen, maxEntries: 1 });
    const begin = struct("begin", { eth: ethhdr, ip: iphdr, tcp: tcphdr }, { packed: true });
    const timestamps = 12;
    // The echoed message begins with 0, 31, 62, 93: see test/support/traffic.mjs.
    const whole = struct("whole", { begin, options: array(u8, timestamps), data: array(u8, 4) });
    const isMessage = [0, 31, 62, 93];
    const watch = tc("watch", ($) => {
      const next = { else: () => $.return(TC_ACT_UNSPEC) };
      const { eth, ip, tcp: head } = $.packet.take(begin, next);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.protocol.ne(IPPROTO_TCP)).or(head.doff.ne(8)), next.else);
      $.if($.ctx.len.lt(whole.size), next.else);
      const counts = $.global(seen);
      // What lies behind the first piece cannot be read directly.
      $.if($.packet.length().lt(whole.size), () => $.atomic.add(counts.short, 1)).else(next.else);
      const copy = $.packet.load(whole.size - 4, array(u8, 4), next);
      const first = isMessage.map((byte, index) => copy.at(index).eq(byte)).reduce((a, b) => a.and(b));
      $.if(first, () => $.atomic.add(counts.copied, 1));
      $.packet.pull($.ctx.len, next);
      const { data } = $.packet.take(whole, next);
      const direct = isMessage.map((byte, index) => data.at(index).eq(byte)).reduce((a, b) => a.and(b));
      $.if(direct, () => $.atomic.add(counts.pulled, 1));
      return $.return(TC_ACT_UNSPEC);
    });
    await using net = await createTestNet();
    using counts = BpfMap.create(seen);
    using prog = BpfProgram.load(watch, { maps: [counts] });
    using _link = inNetns(net.inside.path, () => attachTcxLink(prog, "eth0", { hook: "ingress" }));
    expect(await net.tcpEcho({ bytes: 200_000 })).toMatchObject({ intact: 1 });
    const { short, pulled, copied } = counts.get(0) ?? {};
    expect(short).toBeGreaterThan(0n);
    expect(pulled).toBeGreaterThan(0n);
    expect(copied).toBe(pulled);
  });

  test("a tag that TC puts in at one end is taken out by XDP at the other: real packets", async () => {
    const headers = struct("headers", { eth: ethhdr, tag: vlan_hdr }, { packed: true });
    const push = tc("push", ($) => {
      const shot = { else: () => $.return(TC_ACT_SHOT) };
      const old = $.struct(ethhdr, $.packet.take(ethhdr, shot));
      $.packet.changeHead(vlan_hdr.size, shot);
      const { eth, tag } = $.packet.take(headers, shot);
      $.assign(eth, { h_dest: old.h_dest, h_source: old.h_source, h_proto: ETH_P_8021Q });
      $.assign(tag, { h_vlan_TCI: 77, h_vlan_encapsulated_proto: old.h_proto });
      return $.return(TC_ACT_UNSPEC);
    });
    const pop = xdp("pop", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const { eth, tag } = $.packet.take(headers, pass);
      $.if(eth.h_proto.ne(ETH_P_8021Q).or(tag.h_vlan_TCI.ne(77)), pass.else);
      const now = $.struct(ethhdr, {
        h_dest: eth.h_dest,
        h_source: eth.h_source,
        h_proto: tag.h_vlan_encapsulated_proto,
      });
      $.packet.adjustHead(vlan_hdr.size, pass);
      $.copy($.packet.take(ethhdr, pass), now);
      return $.return(XDP_PASS);
    });
    await using net = await createTestNet();
    using pushing = BpfProgram.load(push);
    using popping = BpfProgram.load(pop);
    using _out = inNetns(net.outside.path, () => attachTcxLink(pushing, "peer0", { hook: "egress" }));
    expect(await net.ping({ count: 1, timeoutMs: 1_000 })).toMatchObject({ received: 0 }); // nobody there has that VLAN
    using _in = inNetns(net.inside.path, () => attachXdpLink(popping, "eth0"));
    expect(await net.ping({ count: 3 })).toMatchObject({ received: 3 });
    expect(await net.tcpEcho({ bytes: 50_000 })).toMatchObject({ intact: 1 });
  });

  test("XDP cuts a trailer off and sums up what is left: a real socket takes it", async () => {
    const trailer = 20;
    const cut = xdp("cut", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.take(iphdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP).or(ip.ihl.ne(5)).or(ip.protocol.ne(IPPROTO_UDP)), pass.else);
      $.packet.adjustTail(-trailer, pass);
      const drop = { else: () => $.return(XDP_DROP) };
      const now = $.packet.take(
        struct("now", { eth: ethhdr, ip: iphdr, udp: udphdr }, { packed: true }),
        drop,
      );
      const length = now.udp.len.toHost().sub(trailer);
      const tot_len = now.ip.tot_len.toHost().sub(trailer).to(be16);
      rewrite($, { ip: now.ip, udp: now.udp }, { ip: { tot_len }, udp: { len: length.to(be16) } });
      now.udp.check.set(0);
      const pseudo = $.struct(pseudohdr, {
        saddr: now.ip.saddr,
        daddr: now.ip.daddr,
        protocol: IPPROTO_UDP,
        length: length.to(be16),
      });
      const rest = { bytes: length.sub(udphdr.size), max: 1472, ...drop };
      now.udp.check.set(checksum($, [pseudo, now.udp], { rest, neverZero: true }));
      return $.return(XDP_PASS);
    });
    await using net = await createTestNet();
    using cutting = BpfProgram.load(cut);
    using _in = inNetns(net.inside.path, () => attachXdpLink(cutting, "eth0"));
    const listening = net.spawn("inside", process.execPath, [
      fileURLToPath(new URL("../../support/traffic.mjs", import.meta.url)),
      "udp-listen",
      JSON.stringify({ host: "10.77.0.1", port: 7003, count: 12, timeoutMs: 10_000 }),
    ]);
    await listening.waitFor("ready 7003\n");
    for (const size of [501, 1_000, 1_472])
      expect(await net.sendUdp({ port: 7003, count: 4, size })).toEqual({ sent: 4 });
    const { stdout } = await listening.ended();
    const bytes = 4 * (501 + 1_000 + 1_472 - 3 * trailer);
    expect(JSON.parse(stdout.split("\n").at(-2) ?? "")).toMatchObject({ received: 12, bytes });
  });

  test("TC: no more than there is can be pulled", () => {
    const pull = (bytes: number) =>
      tc("pull", ($) => {
        $.packet.pull(bytes, { else: () => $.return(TC_ACT_SHOT) });
        return $.return(TC_ACT_OK);
      });
    expect(run(pull(plain.length), [plain])[0]?.[0]).toBe(TC_ACT_OK);
    expect(run(pull(plain.length + 1), [plain])[0]?.[0]).toBe(TC_ACT_SHOT);
  });
});

describeKernel("copies of a packet's bytes", () => {
  const Head = struct("head", { first: be16, rest: bytes(4) });

  test("XDP: load and store, at places that only the program knows, and of several pieces", () => {
    const swap = xdp(
      "swap",
      ($) => {
        const drop = { else: () => $.return(XDP_DROP) };
        const at = $.let(u32, $.packet.load(0, be16, drop).toHost());
        const head = $.packet.load(at, Head, drop);
        $.packet.store(at, head.rest, drop);
        $.packet.store(at.add(4), head.first, drop);
        return $.return(XDP_PASS);
      },
      { kernel: "5.18", flags: BPF_F_XDP_HAS_FRAGS },
    );
    for (const length of [60, 5_000, 9_000]) {
      for (const at of [2, 20, length - 6]) {
        const data = payload(length);
        new DataView(data.buffer).setUint16(0, at);
        const swapped = data.slice();
        swapped.set(data.subarray(at + 2, at + 6), at);
        swapped.set(data.subarray(at, at + 2), at + 4);
        expect(run(swap, [data])).toEqual([[XDP_PASS, [...swapped]]]);
      }
      const data = payload(length);
      new DataView(data.buffer).setUint16(0, length - 5);
      expect(run(swap, [data])).toEqual([[XDP_DROP, [...data]]]);
    }
  });

  test("TC: load and store; a copy is good after the packet has moved", () => {
    const shift = tc("shift", ($) => {
      const shot = { else: () => $.return(TC_ACT_SHOT) };
      const udpAt = ethhdr.size + iphdr.size;
      const before = $.packet.load(udpAt, udphdr, shot);
      $.packet.store(udpAt + udphdr.size, before, { ...shot, flags: 0 });
      const { dest } = $.packet.load(udpAt + udphdr.size, udphdr, shot);
      $.if(dest.ne(before.dest), shot.else);
      return $.return(TC_ACT_OK);
    });
    const expected = plain.slice();
    expected.copyWithin(42, 34, 42);
    const cut = ethernet(ETH_P_IP, ipv4(17, udp(1, 2, payload(7))));
    expect(run(shift, [plain, cut])).toEqual([
      [TC_ACT_OK, [...expected]],
      [TC_ACT_SHOT, [...cut]],
    ]);
  });

  test("filters of sockets and of cgroups load, too", () => {
    const keep = socketFilter("keep", ($) => {
      const ip = $.packet.load(0, iphdr, { else: () => $.return(0) });
      return $.return(ip.tot_len.toHost());
    });
    const even = cgroupSkb("even", ($) => {
      const ip = $.packet.load(0, iphdr, { else: () => $.return(0) });
      const last = $.packet.load(ip.tot_len.toHost().sub(1), u8, { else: () => $.return(0) });
      $.if(last.has(1), () => $.return(0));
      return $.return(1);
    });
    const data = ethernet(ETH_P_IP, ipv4(6, tcp(1, 2, 0, payload(9))));
    // A test run of a socket filter hands the packet over from its network header on, as one of a cgroup does.
    expect(run(keep, [data])[0]?.[0]).toBe(data.length - 14);
    const odd = ethernet(ETH_P_IP, ipv4(6, tcp(1, 2, 0, payload(10))));
    expect(run(even, [data, odd]).map(([retval]) => retval)).toEqual([1, 0]);
  });
});

describeKernel("metadata", () => {
  const Meta = struct("meta", { flow: u32, length: u32, when: u64 });

  test("XDP writes, TC on the same interface reads: real packets", async () => {
    const marks = mapDef({ name: "marks", type: "hash", key: u32, value: u64, maxEntries: 16 });
    const write = xdp("write", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      $.if(eth.h_proto.ne(ETH_P_IP), pass.else);
      const ip = $.packet.take(iphdr, pass);
      const flow = $.let(u32, ip.protocol);
      const length = $.let(u32, ip.tot_len.toHost());
      const meta = $.packet.adjustMeta(Meta, pass);
      $.assign(meta, { flow: flow.or(0x100), length, when: $.bpf_ktime_get_ns() });
      const again = $.packet.take(ethhdr, pass);
      $.if(again.h_proto.ne(ETH_P_IP), () => $.return(XDP_DROP)); // it is in front of the packet, not in it
      return $.return(XDP_PASS);
    });
    const read = tc("read", ($) => {
      const next = { else: () => $.return(TC_ACT_UNSPEC) };
      const meta = $.packet.meta(Meta, next);
      const eth = $.packet.take(ethhdr, next);
      const ip = $.packet.take(iphdr, next);
      $.if(eth.h_proto.ne(ETH_P_IP), next.else);
      $.if(meta.length.ne(ip.tot_len.toHost()).or($.bpf_ktime_get_ns().sub(meta.when).gt(5e9)), next.else);
      meta.length.set(0); // TC may write it, too
      const key = $.let(u32, meta.flow.or(meta.length));
      $.lookup(marks, key, (count) => $.atomic.add(count, 1)).else(() => $.update(marks, key, 1));
      return $.return(TC_ACT_UNSPEC);
    });
    await using net = await createTestNet();
    using counts = BpfMap.create(marks);
    using writing = BpfProgram.load(write);
    using reading = BpfProgram.load(read, { maps: [counts] });
    using _tc = inNetns(net.inside.path, () => attachTcxLink(reading, "eth0", { hook: "ingress" }));
    expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
    expect([...counts.entries()]).toEqual([]); // nobody writes metadata yet
    using _xdp = inNetns(net.inside.path, () => attachXdpLink(writing, "eth0"));
    expect(await net.ping({ count: 3 })).toMatchObject({ received: 3 });
    expect(await net.udpOneWay({ count: 5 })).toMatchObject({ received: 5 });
    expect([...counts.entries()].sort()).toEqual([
      [0x101, 3n],
      [0x111, 5n],
    ]);
  });

  test("as much as the kernel takes; the next of it lies in front; the packet stays the same", () => {
    const big = struct("big", { words: array(u32, 7) });
    const most = struct("most", { words: array(u32, 52) });
    const small = struct("small", { word: u32 });
    const twice = xdp(
      "twice",
      ($) => {
        const drop = { else: () => $.return(XDP_DROP) };
        const first = $.packet.adjustMeta(big, drop);
        first.words.at(0).set(11);
        const second = $.packet.adjustMeta(small, drop);
        second.word.set(4);
        const both = $.packet.meta(struct("both", { small, big }), drop);
        return $.return(both.small.word.mul(256).or(both.big.words.at(0)));
      },
      { kernel: "5.10" },
    );
    const [verdict, data] = run(twice, [plain])[0] ?? [];
    expect(verdict).toBe(4 * 256 + 11);
    // A test run gives the metadata back, too, in front of the packet.
    expect(data?.slice(0, 8)).toEqual([4, 0, 0, 0, 11, 0, 0, 0]);
    expect(data?.slice(small.size + big.size)).toEqual([...plain]);
    const full = xdp(
      "full",
      ($) => {
        $.packet
          .adjustMeta(most, { else: () => $.return(XDP_DROP) })
          .words.at(51)
          .set(1);
        $.packet.adjustMeta(big, { else: () => $.return(XDP_PASS) });
        return $.return(XDP_DROP); // there is no room for both
      },
      { kernel: "6.8" },
    );
    const filled = run(full, [plain])[0];
    expect([filled?.[0], filled?.[1].slice(204, 208), filled?.[1].slice(208)]).toEqual([
      XDP_PASS,
      [1, 0, 0, 0],
      [...plain],
    ]);
  });
});
