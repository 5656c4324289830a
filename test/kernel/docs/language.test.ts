import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import koffi from "koffi";
import { afterAll, expect, test } from "vitest";
import { type MapDef, mapDef, type Program } from "../../../src/asm/index.ts";
import { decode, type Layout, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachRawTracepoint,
  attachTcxLink,
  attachTracepoint,
  attachUprobe,
  attachXdpLink,
  BpfMap,
  BpfProgram,
  PerfBuffer,
  RingBuffer,
} from "../../../src/kernel/index.ts";
import { skbContext, TC_ACT_UNSPEC, tc } from "../../../src/lang/index.ts";
import { codeBlocks } from "../../docs/markdown.ts";
import { ROOT, writeBlocks } from "../../docs/page.ts";
import { checksum, ethernet, ipv4, ipv6, payload, tcp, udp, vlan } from "../../lang/packets.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { runBlock } from "./support.ts";

const PAGE = "docs/language.md";
const [DROP, PASS] = [1, 2];
const [OK, SHOT] = [0, 2];

describeKernel(PAGE, () => {
  const page = writeBlocks(PAGE);
  const [firstOutput, leakOutput] = codeBlocks(join(ROOT, PAGE), "text");
  afterAll(() => page[Symbol.dispose]());
  const block = <Exports>(name: string): Promise<Exports> =>
    import(pathToFileURL(page.path(name)).href) as Promise<Exports>;
  const packets = (type: number, inner: Uint8Array): Uint8Array => ethernet(type, inner);
  const udpTo = (port: number, options = {}): Uint8Array =>
    packets(0x0800, ipv4(17, udp(4000, port, payload(20)), options));

  test("1: a first program", async () => {
    expect((await runBlock(page.path("first.ts"))).stdout).toBe(firstOutput);
  });

  test("2: a comparison for each port", async () => {
    const { dropPorts } = await block<{ dropPorts(ports: readonly number[]): Program<"xdp"> }>("ports.ts");
    using prog = BpfProgram.load(dropPorts([53, 123]));
    const run = (data: Uint8Array): number => prog.testRun({ data }).retval;
    expect([udpTo(53), udpTo(123), udpTo(54), udpTo(53).subarray(0, 40)].map(run)).toEqual([
      DROP,
      DROP,
      PASS,
      PASS,
    ]);
  });

  test("3: numbers", async () => {
    const { numbers } = await block<{ numbers: Program<"xdp"> }>("numbers.ts");
    using prog = BpfProgram.load(numbers);
    const run = (options: object): number => prog.testRun({ data: udpTo(53, options) }).retval;
    const udpLength = 8 + 20;
    expect(run({ ttl: 61, source: 0x0a4d0001 })).toBe((udpLength << 16) | (3 << 8) | 1);
    expect(run({ ttl: 65, source: 0x0a4e0001, options: 8 })).toBe((udpLength << 16) | (255 << 8));
  });

  test("4: branches", async () => {
    const { prioritise } = await block<{ prioritise: Program<"sched_cls"> }>("branches.ts");
    using prog = BpfProgram.load(prioritise);
    const run = (type: number, length: number, mark = 0): [verdict: number, priority: number] => {
      const given = new Uint8Array(skbContext.size);
      new DataView(given.buffer).setUint32(skbContext.offset.mark, mark, true);
      const { retval, ctx } = prog.testRun({ data: packets(type, payload(length - 14)), ctx: given });
      const view = new DataView(ctx.buffer, ctx.byteOffset);
      return [retval, view.getUint32(skbContext.offset.priority, true)];
    };
    expect(run(0x0800, 99)).toEqual([OK, 7]);
    expect(run(0x86dd, 100)).toEqual([OK, 4]);
    expect(run(0x0806, 100, 1)).toEqual([OK, 1]);
    expect(run(0x88cc, 1000)).toEqual([SHOT, 1]);
  });

  test("5: loops", async () => {
    const { sum, bits } = await block<Record<"sum" | "bits", Program<"xdp">>>("loops.ts");
    using summing = BpfProgram.load(sum);
    const data = payload(40, 3);
    const words = (bytes: Uint8Array): number =>
      bytes.reduce((total, byte, index) => total + (index % 2 === 0 ? byte << 8 : byte), 0);
    expect(summing.testRun({ data }).retval).toBe(words(data.subarray(0, 32)));
    expect(summing.testRun({ data: data.subarray(0, 21) }).retval).toBe(words(data.subarray(0, 20)));
    using counting = BpfProgram.load(bits);
    expect(counting.testRun({ data }).retval).toBe(PASS); // queue 0
  });

  test("6: the packet moves, and a length that it gives", async () => {
    const { untag } = await block<{ untag: Program<"xdp"> }>("untag.ts");
    using untagging = BpfProgram.load(untag);
    const inner = ipv4(17, udp(1, 2, payload(30)));
    const tagged = ethernet(0x8100, vlan(5, 0x0800, inner));
    const untagged = untagging.testRun({ data: tagged });
    expect([untagged.retval, [...untagged.data]]).toEqual([PASS, [...ethernet(0x0800, inner)]]);
    const { dropDns } = await block<{ dropDns: Program<"xdp"> }>("options.ts");
    using dropping = BpfProgram.load(dropDns);
    const run = (data: Uint8Array): number => dropping.testRun({ data }).retval;
    for (const options of [0, 4, 40]) {
      expect([run(udpTo(53, { options })), run(udpTo(54, { options }))]).toEqual([DROP, PASS]);
    }
    expect(run(udpTo(53, { ihl: 4 }))).toBe(PASS);
  });

  test("6: bytes that cannot be read directly", async () => {
    const { markRequests, eraseRequests, onlyUdp } = await block<{
      markRequests: Program<"sched_cls">;
      eraseRequests: Program<"sched_cls">;
      onlyUdp: Program<"socket_filter">;
    }>("requests.ts");
    const request = (text: string): Uint8Array =>
      packets(0x0800, ipv4(6, tcp(4000, 80, 0x18, new TextEncoder().encode(text)), { options: 4 }));
    using marking = BpfProgram.load(markRequests);
    const mark = (data: Uint8Array): number => {
      const { ctx } = marking.testRun({ data, ctx: new Uint8Array(skbContext.size) });
      return new DataView(ctx.buffer, ctx.byteOffset).getUint32(skbContext.offset.mark, true);
    };
    expect([request("GET /"), request("PUT /"), request("GET"), udpTo(80)].map(mark)).toEqual([80, 0, 0, 0]);
    using erasing = BpfProgram.load(eraseRequests);
    const { data } = erasing.testRun({ data: request("GET /") });
    expect([...data.subarray(-5)]).toEqual([0, 0, 0, 0, 0x2f]);
    using filtering = BpfProgram.load(onlyUdp);
    const kept = [udpTo(53), request("GET /")].map((packet) => filtering.testRun({ data: packet }).retval);
    expect(kept).toEqual([0xffff, 0]);
  });

  test("6: checksums", async () => {
    const { natXdp, natTc } = await block<{ natXdp: Program<"xdp">; natTc: Program<"sched_cls"> }>("nat.ts");
    const to = (destination: number, port: number, ttl: number): Uint8Array => {
      const packet = packets(0x0800, ipv4(17, udp(4000, port, payload(21), 0), { destination, ttl }));
      const covered = Uint8Array.from([...packet.subarray(26, 34), 0, 17, 0, 29, ...packet.subarray(34)]);
      new DataView(packet.buffer).setUint16(40, checksum(covered));
      return packet;
    };
    for (const nat of [natXdp, natTc]) {
      using prog = BpfProgram.load(nat);
      const run = (data: Uint8Array): number[] => [...prog.testRun({ data }).data];
      expect(run(to(0xcb007107, 53, 64))).toEqual([...to(0x0a4d0001, 5353, 63)]);
      expect(run(to(0xcb007108, 53, 64))).toEqual([...to(0xcb007108, 53, 64)]);
    }
  });

  test("6: metadata", async () => {
    const { note, use } = await block<{ note: Program<"xdp">; use: Program<"sched_cls"> }>("metadata.ts");
    const marked = mapDef({ name: "marked", type: "array", key: u32, value: u64, maxEntries: 2 });
    const count = tc("count", ($) => {
      const packets = $.lookup(marked, $.ctx.mark, { else: () => $.return(TC_ACT_UNSPEC) });
      $.atomic.add(packets, 1);
      return $.return(TC_ACT_UNSPEC);
    });
    using map = BpfMap.create(marked);
    using noting = BpfProgram.load(note);
    using marking = BpfProgram.load(use);
    using counting = BpfProgram.load(count, { maps: [map] });
    await using net = await createTestNet();
    using first = inNetns(net.inside.path, () => attachTcxLink(marking, "eth0", { hook: "ingress" }));
    using _then = inNetns(net.inside.path, () =>
      attachTcxLink(counting, "eth0", { hook: "ingress", after: first }),
    );
    expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
    using _xdp = inNetns(net.inside.path, () => attachXdpLink(noting, "eth0"));
    expect(await net.ping({ count: 3 })).toMatchObject({ received: 3 });
    expect([map.get(0), map.get(1)]).toEqual([2n, 3n]); // queue 0, plus 1
  });

  test("7: maps", async () => {
    const { flows, settings, countFlows } = await block<{
      flows: MapDef<"lru_hash", { source: number; protocol: number }, { packets: bigint; bytes: bigint }>;
      settings: MapDef<"array", number, bigint>;
      countFlows: Program<"sched_cls">;
    }>("counts.ts");
    using map = BpfMap.create(flows);
    using enabled = BpfMap.create(settings);
    using prog = BpfProgram.load(countFlows, { maps: [map, enabled] });
    const data = udpTo(53, { source: 0x0a000001 });
    prog.testRun({ data });
    expect([...map.entries()]).toEqual([]);
    enabled.set(0, 1n);
    prog.testRun({ data, repeat: 3 });
    expect([...map.entries()]).toEqual([
      [
        { source: 0x0a000001, protocol: 17 },
        { packets: 3n, bytes: BigInt(3 * data.length) },
      ],
    ]);
  });

  test("7: a value under a lock", async () => {
    const { buckets, limit } = await block<{
      buckets: MapDef<"hash", number, { tokens: number; filled: bigint }>;
      limit(perSecond: number): Program<"xdp">;
    }>("limit.ts");
    using map = BpfMap.create(buckets);
    using prog = BpfProgram.load(limit(3), { maps: [map] });
    const data = udpTo(53, { source: 0x0a000009 });
    const run = (): number => prog.testRun({ data }).retval;
    expect(run()).toBe(PASS);
    const bucket = map.get(0x0a000009);
    expect(bucket).toMatchObject({ tokens: 2 });
    // As if it had been filled in the future: no second passes, however slow this machine is.
    const filled = (bucket?.filled ?? 0n) + 3_600_000_000_000n;
    map.set(0x0a000009, { tokens: 2, filled });
    expect([run(), run(), run()]).toEqual([PASS, PASS, DROP]);
    map.set(0x0a000009, { tokens: 0, filled: 0n }); // long ago
    expect(run()).toBe(PASS);
    expect(map.get(0x0a000009)).toMatchObject({ tokens: 2 });
  });

  test("7: a map of maps", async () => {
    const { protocols, queues, countByQueue } = await block<{
      protocols: MapDef<"hash", number, bigint>;
      queues: MapDef<"array_of_maps", number, number>;
      countByQueue: Program<"xdp">;
    }>("queues.ts");
    using outer = BpfMap.create(queues);
    using first = BpfMap.create(protocols);
    using prog = BpfProgram.load(countByQueue, { maps: [outer] });
    prog.testRun({ data: udpTo(53) }); // no map for queue 0 yet
    outer.set(0, first as never);
    prog.testRun({ data: udpTo(53) });
    prog.testRun({ data: packets(0x86dd, payload(60)), repeat: 2 });
    expect(Object.fromEntries(first.entries())).toEqual({ [0x0800]: 1n, [0x86dd]: 2n });
  });

  test("8: events", async () => {
    const { Syn, syns, watchSyn } = await block<{
      Syn: Layout<{ source: number; port: number }>;
      syns: MapDef<"ringbuf">;
      watchSyn: Program<"xdp">;
    }>("syn.ts");
    using map = BpfMap.create(syns);
    using prog = BpfProgram.load(watchSyn, { maps: [map] });
    using ring = RingBuffer.open(map, Syn);
    const segment = (flags: number): Uint8Array =>
      packets(0x0800, ipv4(6, tcp(4000, 443, flags, payload(0)), { source: 0x0a000009, options: 4 }));
    for (const flags of [0x02, 0x12, 0x10]) prog.testRun({ data: segment(flags) });
    expect(ring.take(10)).toEqual([{ source: 0x0a000009, port: 443 }]);
  });

  test("8: an event with bytes of the packet", async () => {
    const { Seen, seen, capture } = await block<{
      Seen: Layout<{ length: number; queue: number }>;
      seen: MapDef<"perf_event_array", number, number>;
      capture: Program<"xdp">;
    }>("capture.ts");
    using map = BpfMap.create(seen);
    using prog = BpfProgram.load(capture, { maps: [map] });
    using reader = PerfBuffer.open(map);
    const data = udpTo(53);
    prog.testRun({ data });
    const [bytes = new Uint8Array()] = reader.take(10);
    expect(decode(Seen, bytes.slice(0, 8))).toEqual({ length: data.length, queue: 0 });
    expect([...bytes.slice(8, 22)]).toEqual([...data.subarray(0, 14)]);
  });

  test("9: functions", async () => {
    const { pick } = await block<{ pick: Program<"xdp"> }>("functions.ts");
    using prog = BpfProgram.load(pick);
    const picked = Array.from({ length: 64 }, (_, host) =>
      prog.testRun({ data: udpTo(1, { source: 0x0a000000 + host }) }),
    ).map(({ retval }) => retval);
    expect(new Set(picked)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
    expect(prog.testRun({ data: packets(0x86dd, payload(60)) }).retval).toBe(PASS);
  });

  test("10: helpers", async () => {
    const { cpus, spread, clearSource } = await block<{
      cpus: MapDef<"cpumap">;
      spread: Program<"xdp">;
      clearSource: Program<"sched_cls">;
    }>("helpers.ts");
    using map = BpfMap.create(cpus);
    using redirecting = BpfProgram.load(spread, { maps: [map] });
    expect(redirecting.testRun({ data: udpTo(1) }).retval).toBe(PASS); // no CPU has an entry
    using clearing = BpfProgram.load(clearSource);
    const { data } = clearing.testRun({ data: udpTo(1) });
    expect([...data.subarray(6, 12)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("11: an error, and a listing", async () => {
    const { stdout } = await runBlock(page.path("leak.ts"));
    expect(stdout.replace(`${dirname(page.path("leak.ts"))}/`, "")).toBe(leakOutput);
    const shown = (await runBlock(page.path("listing.ts"))).stdout;
    expect(shown).toContain("listing.ts:6");
    expect(shown).toContain("exit");
  });

  test("12: a raw tracepoint", async () => {
    const { calls, countCalls } = await block<{
      calls: MapDef<"array", number, bigint>;
      countCalls: Program<"raw_tracepoint">;
    }>("calls.ts");
    using map = BpfMap.create(calls);
    using prog = BpfProgram.load(countCalls, { maps: [map] });
    prog.testRun({ ctx: new Uint8Array(new BigUint64Array([0n, 39n]).buffer) });
    expect(map.get(39)).toBe(1n);
  });

  test("13: a tracepoint, and kernel structs", async () => {
    const { Started, started, watchExec } = await block<{
      Started: Layout<{ pid: number; parent: number; comm: string; file: string }>;
      started: MapDef<"ringbuf">;
      watchExec(): Program<"tracepoint">;
    }>("watch-exec.ts");
    using map = BpfMap.create(started);
    using prog = BpfProgram.load(watchExec(), { maps: [map] });
    using ring = RingBuffer.open(map, Started);
    using _link = attachTracepoint(prog, "sched:sched_process_exec");
    const { pid } = spawnSync("/bin/true");
    expect(ring.take(1000)).toContainEqual({
      pid,
      parent: process.pid,
      comm: readFileSync("/proc/self/comm", "utf8").trim(),
      file: "/bin/true",
    });
  });

  test("13: a typed raw tracepoint", async () => {
    const { codes, exitCodes } = await block<{
      codes: MapDef<"hash", number, bigint>;
      exitCodes(): Program<"tracing">;
    }>("exit-codes.ts");
    using map = BpfMap.create(codes);
    using prog = BpfProgram.load(exitCodes(), { maps: [map] });
    using _link = attachRawTracepoint(prog, undefined);
    spawnSync("/bin/sh", ["-c", "exit 77"]);
    expect(map.get(77 << 8)).toBe(1n);
  });

  test("13: a function of a process", async () => {
    const { Access, accesses, watchAccess } = await block<{
      Access: Layout<{ mode: number; path: string }>;
      accesses: MapDef<"ringbuf">;
      watchAccess: Program<"kprobe">;
    }>("opened.ts");
    using map = BpfMap.create(accesses);
    using prog = BpfProgram.load(watchAccess, { maps: [map] });
    using ring = RingBuffer.open(map, Access);
    const libc = /^.* (\/.*\/libc\.so\.6)$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[1] ?? "";
    using _link = attachUprobe(prog, { path: libc, symbol: "access" }, { pid: process.pid });
    koffi.load("libc.so.6").func("int access(const char *path, int mode)")("/etc/hostname", 4);
    expect(ring.take(10)).toEqual([{ mode: 4, path: "/etc/hostname" }]);
  });

  test("14: kernel functions", async () => {
    const { parentOf } = await block<{ parentOf(): Program<"sched_cls"> }>("task-of.ts");
    using prog = BpfProgram.load(parentOf());
    const data = new Uint8Array(64);
    new DataView(data.buffer).setInt32(0, process.pid, true);
    expect(prog.testRun({ data }).retval).toBe(process.ppid);
  });

  test("15: the parser, on packets of every kind", async () => {
    const { services, countServices } = await block<{
      services: MapDef<"lru_hash", { protocol: number; port: number }, bigint>;
      countServices: Program<"xdp">;
    }>("parser.ts");
    using map = BpfMap.create(services);
    using prog = BpfProgram.load(countServices, { maps: [map] });
    const datagram = udp(1, 53, payload(8));
    const segment = tcp(1, 443, 0x10, payload(8));
    for (const data of [
      packets(0x0800, ipv4(17, datagram)),
      ethernet(0x88a8, vlan(1, 0x8100, vlan(2, 0x0800, ipv4(17, datagram, { options: 8 })))),
      packets(0x86dd, ipv6(17, datagram)),
      packets(0x86dd, ipv6(6, segment)),
      packets(0x0800, ipv4(6, segment)),
      packets(0x0800, ipv4(1, payload(40))),
      packets(0x0800, ipv4(17, datagram, { fragment: 100 })),
      packets(0x0806, payload(46)),
    ]) {
      expect(prog.testRun({ data }).retval).toBe(PASS);
    }
    const counted = [...map.entries()].map(([{ protocol, port }, count]) => [protocol, port, count]);
    expect(counted.sort()).toEqual([
      [1, 0, 1n],
      [17, 53, 3n],
      [6, 443, 2n],
    ]);
  });

  test("15: the parser on an interface", async () => {
    await using net = await createTestNet();
    const running = net.spawn("inside", process.execPath, [
      "--import",
      "tsx",
      page.path("run-parser.ts"),
      "eth0",
    ]);
    await running.waitFor("counting on eth0\n", 30_000);
    expect(await net.sendUdp({ port: 7001, count: 5 })).toEqual({ sent: 5 });
    const { code, stdout, stderr } = await running.ended();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("protocol 17, port 7001: 5 packets\n");
  });
});
