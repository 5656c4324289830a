import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { be32, decode, struct, u8, u16, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram, RingBuffer } from "../../../src/kernel/index.ts";
import {
  cgroupSkb,
  rawTracepoint,
  socketFilter,
  TC_ACT_OK,
  TC_ACT_SHOT,
  tc,
  XDP_ABORTED,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
  xdp,
} from "../../../src/lang/index.ts";
import { ethhdr, iphdr, parseEthernet, parseIpv4, udphdr } from "../../../src/lang/net/index.ts";
import { ETH_P_IP } from "../../../src/uapi/net.ts";
import { describeKernel } from "../../support/privileges.ts";

/** An Ethernet frame with IPv4 and UDP: 10.0.0.1 to 10.0.0.2. */
function udpPacket(port: number, options: { readonly ihl?: number; readonly ttl?: number } = {}): Uint8Array {
  const { ihl = 5, ttl = 64 } = options;
  const packet = new Uint8Array(14 + ihl * 4 + 8 + 4);
  const view = new DataView(packet.buffer);
  packet.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  view.setUint16(12, 0x0800);
  packet[14] = 0x40 | ihl;
  view.setUint16(16, packet.length - 14);
  packet[22] = ttl;
  packet[23] = 17;
  packet.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
  view.setUint16(14 + ihl * 4 + 2, port);
  return packet;
}

describeKernel("packets", () => {
  const dropPort = xdp("drop_port", ($) => {
    const pass = { else: () => $.return(XDP_PASS) };
    const eth = $.packet.take(ethhdr, pass);
    $.if(eth.h_proto.ne(ETH_P_IP), pass.else);
    const ip = $.packet.take(iphdr, pass);
    $.if(ip.protocol.ne(17).or(ip.ihl.lt(5)), pass.else);
    $.packet.skip(ip.ihl.sub(5).mul(4), { max: 40, else: () => $.return(XDP_ABORTED) });
    const udp = $.packet.take(udphdr, pass);
    return $.switch(udp.dest, [[[53, 5353], () => $.return(XDP_DROP)]], () => $.return(XDP_PASS));
  });

  test("headers one after the other, a length that the packet gives, a switch", () => {
    using program = BpfProgram.load(dropPort);
    const run = (packet: Uint8Array): number => program.testRun({ data: packet }).retval;
    for (const ihl of [5, 6, 15]) {
      expect([
        ihl,
        run(udpPacket(53, { ihl })),
        run(udpPacket(5353, { ihl })),
        run(udpPacket(54, { ihl })),
      ]).toEqual([ihl, 1, 1, 2]);
    }
    for (let length = 14; length < 42; length++) expect(run(udpPacket(53).subarray(0, length))).toBe(2);
  });

  test("fields are written, in their byte order", () => {
    const swap = xdp("swap", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const eth = $.packet.take(ethhdr, pass);
      const ip = $.packet.take(iphdr, pass);
      const mac = $.struct(ethhdr);
      $.copy(mac.h_dest, eth.h_dest);
      $.copy(eth.h_dest, eth.h_source);
      $.copy(eth.h_source, mac.h_dest);
      const { saddr } = ip;
      ip.saddr.set(ip.daddr);
      ip.daddr.set(saddr);
      ip.ttl.set(ip.ttl.sub(1));
      ip.tot_len.set(0x1234);
      ip.version.set(6);
      return $.return(XDP_TX);
    });
    using program = BpfProgram.load(swap);
    const { retval, data } = program.testRun({ data: udpPacket(1) });
    expect(retval).toBe(3);
    expect([...data.subarray(0, 12)]).toEqual([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    expect([...data.subarray(26, 34)]).toEqual([10, 0, 0, 2, 10, 0, 0, 1]);
    expect([data[14], data[16], data[17], data[22]]).toEqual([0x65, 0x12, 0x34, 63]);
  });

  test("the packet moves: what follows is taken again", () => {
    const push = xdp("push", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      $.if($.bpf_xdp_adjust_head(-4).ne(0), () => $.return(XDP_ABORTED));
      const first = $.packet.take(struct("tag", { value: u32 }), pass);
      first.value.set(0x01020304);
      return $.return(XDP_PASS);
    });
    using program = BpfProgram.load(push);
    const packet = udpPacket(1);
    const { data } = program.testRun({ data: packet });
    expect(data.length).toBe(packet.length + 4);
    expect(new Uint32Array(data.slice(0, 4).buffer)[0]).toBe(0x01020304);
    expect([...data.subarray(4, 16)]).toEqual([...packet.subarray(0, 12)]);
  });

  test("the parsing helpers load, and find the inner header", () => {
    const parse = xdp("parse", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const frame = parseEthernet($, pass);
      $.if(frame.proto.ne(ETH_P_IP), pass.else);
      const ip = parseIpv4($, pass);
      $.if(ip.protocol.ne(17), pass.else);
      const udp = $.packet.take(udphdr, pass);
      return $.return(udp.dest.toHost());
    });
    using program = BpfProgram.load(parse);
    const plain = udpPacket(4321, { ihl: 7 });
    const tagged = new Uint8Array([
      ...plain.subarray(0, 12),
      0x88,
      0xa8,
      0,
      5,
      0x81,
      0,
      0,
      6,
      ...plain.subarray(12),
    ]);
    expect(program.testRun({ data: plain }).retval).toBe(4321);
    expect(program.testRun({ data: tagged }).retval).toBe(4321);
  });
});

describeKernel("maps", () => {
  const key = struct("flow", { addr: be32, proto: u8 });
  const value = struct("count", { packets: u64, bytes: u64 });
  const counts = mapDef({ name: "counts", type: "hash", key, value, maxEntries: 16 });
  const total = mapDef({ name: "total", type: "array", key: u32, value: u64, maxEntries: 1 });

  test("lookup, update, atomic addition, global data", () => {
    const count = tc("count", ($) => {
      const ok = { else: () => $.return(TC_ACT_OK) };
      $.packet.take(ethhdr, ok);
      const ip = $.packet.take(iphdr, ok);
      const flow = { addr: ip.saddr, proto: ip.protocol };
      $.lookup(counts, flow, (entry) => {
        $.atomic.add(entry.packets, 1);
        $.atomic.add(entry.bytes, $.ctx.len);
      }).else(() => {
        $.update(counts, flow, { packets: 1, bytes: $.ctx.len });
      });
      const all = $.global(total);
      all.set(all.add(1));
      return $.return(TC_ACT_OK);
    });
    using map = BpfMap.create(counts);
    using sum = BpfMap.create(total);
    using program = BpfProgram.load(count, { maps: [map, sum] });
    const packet = udpPacket(7);
    for (let turn = 0; turn < 3; turn++) expect(program.testRun({ data: packet }).retval).toBe(0);
    expect([...map.entries()]).toEqual([
      [
        { addr: 0x0a000001, proto: 17 },
        { packets: 3n, bytes: BigInt(packet.length * 3) },
      ],
    ]);
    expect(sum.get(0)).toBe(3n);
  });

  test("a ring buffer's record", async () => {
    const event = struct("event", { port: u16, len: u32 });
    const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });
    const report = xdp("report", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      $.packet.take(ethhdr, pass);
      $.packet.take(iphdr, pass);
      const udp = $.packet.take(udphdr, pass);
      const record = $.reserve(ring, event, pass);
      $.assign(record, { port: udp.dest.toHost(), len: $.packet.length() });
      $.if(udp.dest.eq(9), () => {
        $.discard(record);
        return $.return(XDP_DROP);
      });
      $.submit(record);
      return $.return(XDP_PASS);
    });
    using map = BpfMap.create(ring);
    using program = BpfProgram.load(report, { maps: [map] });
    expect(program.testRun({ data: udpPacket(9) }).retval).toBe(1);
    expect(program.testRun({ data: udpPacket(80) }).retval).toBe(2);
    using reader = RingBuffer.open(map, event);
    expect(reader.take(10)).toEqual([{ port: 80, len: udpPacket(80).length }]);
    expect(decode(event, new Uint8Array(event.size))).toEqual({ port: 0, len: 0 });
  });
});

describeKernel("program types", () => {
  test("a socket filter, a cgroup's filter and a raw tracepoint load", () => {
    const filter = socketFilter("filter", ($) => $.return($.ctx.len.and(0xff)));
    using first = BpfProgram.load(filter);
    expect(first.testRun({ data: udpPacket(1) }).retval).toBe(udpPacket(1).length - 14);
    using second = BpfProgram.load(
      cgroupSkb("egress", ($) => {
        $.if($.ctx.mark.eq(7), () => $.return(0));
        return $.return(1);
      }),
    );
    expect(second.testRun({ data: udpPacket(1) }).retval).toBe(1);
    using third = BpfProgram.load(rawTracepoint("raw", ($) => $.return($.ctx.args.at(0).to(u32))));
    expect(third.testRun({ ctx: new Uint8Array(new BigUint64Array([5n, 0n]).buffer) }).retval).toBe(5);
  });

  test("context fields are written where the kernel lets them be", () => {
    const mark = tc("mark", ($) => {
      $.ctx.mark.set(0x42);
      return $.return($.ctx.mark.eq(0x42).toU32());
    });
    using program = BpfProgram.load(mark);
    expect(program.testRun({ data: udpPacket(1) }).retval).toBe(1);
    expect(TC_ACT_SHOT).toBe(2);
  });
});
