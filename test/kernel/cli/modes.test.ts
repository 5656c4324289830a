import { afterAll, beforeAll, expect, test } from "vitest";
import { onOneCore } from "../../../src/cli/demo/correlate.ts";
import { parseCpuList } from "../../../src/kernel/cpus.ts";
import type { TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import {
  atEgress,
  down,
  expectGone,
  follow,
  inEvent,
  kernelView,
  NOTHING,
  objectsOf,
  sampleNet,
  status,
  up,
  withoutMissingBpftool,
} from "./harness.ts";

// Every way to attach, with real packets. Operations run in this process: what the command line adds is tested elsewhere.

let net: TestNet;

const matrix = (["native", "generic"] as const).flatMap((xdpMode) =>
  (["bpftool", "tcx", "clsact"] as const).flatMap((tc) =>
    ["0", "0-1"].map((list) => ({ xdpMode, tc, list })),
  ),
);

describeKernel("XDP mode x TC backend x cores", () => {
  beforeAll(async () => {
    net = await sampleNet({ secondPair: true });
  });
  afterAll(() => net.dispose());

  test.each(withoutMissingBpftool(matrix))("$xdpMode, $tc, cores $list", async ({ xdpMode, tc, list }) => {
    const cpus = parseCpuList(list);
    const { deployed, warnings } = await up(net, { xdpMode, tc, cpus });
    expect(warnings).toEqual([]);
    expect(deployed).toMatchObject([{ xdp: { mode: xdpMode }, tcBackend: { name: tc, reason: "as asked" } }]);

    const view = kernelView(net);
    const told = await status(net);
    expect(view.xdp?.mode).toBe(xdpMode);
    expect(told.interfaces).toMatchObject([
      {
        xdp: { mode: xdpMode, id: view.xdp?.id },
        tcBackend: tc,
        cpuMap: { entries: { length: cpus.length } },
      },
    ]);
    const one = { ingress: { length: 1 }, egress: { length: 1 } };
    const none = { ingress: { length: 0 }, egress: { length: 0 } };
    expect(view).toMatchObject(
      tc === "clsact"
        ? { tcx: none, filters: one, qdiscs: ["clsact"] }
        : { tcx: one, filters: none, qdiscs: [] },
    );

    for (const cpu of cpus) {
      // TCP with its many packets once for each mode and list.
      const kinds = cpu === 0 && cpus.length === 1 ? (["ping", "tcp"] as const) : (["ping", "udp"] as const);
      const { packets, problems, sent, answered } = await follow(net, { cpu, kinds });
      expect(problems).toEqual([]);
      expect(answered).toBe(sent);
      expect(packets.length).toBeGreaterThanOrEqual(sent);
      for (const packet of packets)
        expect([packet, packet.xdp, onOneCore(packet)]).toEqual([packet, cpu, true]);
    }

    const objects = objectsOf(told);
    await down(net);
    expect(kernelView(net)).toEqual(NOTHING);
    await expectGone(objects);
  });

  test("tc off attaches XDP alone", async () => {
    await up(net, { tc: "off" });
    expect(kernelView(net)).toMatchObject({
      xdp: { mode: "native" },
      tcx: { ingress: [], egress: [] },
      qdiscs: [],
      pins: ["cpu_map", "xdp_same_cpu"],
    });
    const arrived = inEvent("xdp_cpumap_enqueue");
    const { trace, answered } = await follow(net, { cpu: 1, kinds: ["ping"], arrived });
    expect(answered).toBe(3);
    expect(trace.filter(({ event }) => event === "xdp_cpumap_enqueue")).toHaveLength(3);
    expect((await status(net)).interfaces).toMatchObject([{ tcBackend: "off", tc: [] }]);
    await down(net);
  });

  test("without trace no line is printed, and packets go through the CPU map all the same", async () => {
    await up(net, { trace: false });
    const arrived = inEvent("xdp_cpumap_enqueue");
    const { trace, answered } = await follow(net, { cpu: 1, kinds: ["ping"], arrived });
    expect(answered).toBe(3);
    const enqueued = trace.filter(({ event }) => event === "xdp_cpumap_enqueue");
    expect(enqueued.map(({ cpu, message }) => [cpu, /to_cpu=\d+/.exec(message)?.[0]])).toEqual(
      Array(3).fill([1, "to_cpu=1"]),
    );
    await down(net);
  });

  test("a target program prints its line on the core that the packet was handed to", async () => {
    await up(net, { targetProgram: true });
    const told = await status(net);
    const map = told.interfaces[0]?.cpuMap;
    const target = map?.entries[0]?.progId;
    expect(target).toBeGreaterThan(0);
    expect(map?.entries.map(({ progId }) => progId)).toEqual([target, target]);
    expect(kernelView(net).pins).toContain("xdp_target_cpu");

    const threads = new Map(map?.entries.map(({ cpu, thread }) => [thread?.pid, cpu]));
    for (const cpu of [0, 1]) {
      const { trace, problems, answered } = await follow(net, { cpu, kinds: ["ping"] });
      expect([problems, answered]).toEqual([[], 3]);
      const lines = trace.filter(
        ({ message, pid }) => message.startsWith("[XDP cpumap]") && threads.has(pid),
      );
      expect(lines.map(({ pid, cpu, message }) => [threads.get(pid), cpu, message])).toEqual(
        Array(3).fill([cpu, cpu, `[XDP cpumap] cpu=${cpu}`]),
      );
    }
    await down(net);
    await expectGone({ programs: [target as number], maps: [map?.id as number] });
  });

  test.each(["tcx", "clsact"] as const)(
    "ingress redirect by %s: packets leave eth1, and down takes eth1's egress off",
    async (tc) => {
      await up(net, { tc, redirect: "eth1" });
      const list = tc === "tcx" ? "tcx" : "filters";
      const [eth0, eth1] = [kernelView(net, "eth0"), kernelView(net, "eth1")];
      expect(eth1[list].egress).toEqual(eth0[list].egress);
      expect(eth1[list].ingress).toEqual([]);
      expect(eth1.xdp).toBeUndefined();

      const [before, outBefore] = [await net.stats("inside", "eth1"), await net.stats("inside", "eth0")];
      const { packets, problems } = await follow(net, { cpu: 1, kinds: ["one way"], arrived: atEgress });
      expect(problems).toEqual([]);
      const [after, outAfter] = [await net.stats("inside", "eth1"), await net.stats("inside", "eth0")];
      expect(after.tx_packets - before.tx_packets).toBe(3);
      expect(outAfter.tx_packets - outBefore.tx_packets).toBe(0); // nor an answer: the stack never saw them
      expect(packets).toEqual(Array(3).fill({ xdp: 1, ingress: 1, egress: [1] }));

      const objects = objectsOf(await status(net));
      const [downed] = await down(net);
      expect(downed?.removed.filter((line) => line.startsWith("TC egress"))).toHaveLength(2);
      expect([kernelView(net, "eth0"), kernelView(net, "eth1")]).toEqual([NOTHING, NOTHING]);
      await expectGone(objects);
    },
  );

  test("ingress redirect out of the same interface attaches its egress once", async () => {
    await up(net, { redirect: "eth0" });
    expect(kernelView(net).tcx).toMatchObject({ ingress: { length: 1 }, egress: { length: 1 } });
    const { packets, problems } = await follow(net, { cpu: 0, kinds: ["one way"], arrived: atEgress });
    expect(problems).toEqual([]);
    expect(packets).toEqual(Array(3).fill({ xdp: 0, ingress: 0, egress: [0] }));
    await down(net);
    expect(kernelView(net)).toEqual(NOTHING);
  });

  test("clsact qdiscs that two interfaces share go with the last of them, in either order", async () => {
    for (const order of [
      ["eth0", "eth1"],
      ["eth1", "eth0"],
    ]) {
      await up(net, { tc: "clsact", redirect: "eth1", interfaces: ["eth0", "eth1"] });
      for (const name of order) await down(net, [name]);
      expect([order, kernelView(net, "eth0"), kernelView(net, "eth1")]).toEqual([order, NOTHING, NOTHING]);
    }
  });
});

describeKernel("a core without an entry", () => {
  test.each([
    { missing: "pass", xdpMode: "native" },
    { missing: "pass", xdpMode: "generic" },
    { missing: "drop", xdpMode: "native" },
    { missing: "drop", xdpMode: "generic" },
  ] as const)("$missing, $xdpMode", async ({ missing, xdpMode }) => {
    await using own = await sampleNet();
    await up(own, { missing, xdpMode, cpus: [0] });
    const [session] = (await status(own)).interfaces;
    expect(session?.cpuMap?.entries.map(({ cpu }) => cpu)).toEqual([0]);
    const exception = { name: "xdp/xdp_exception", filter: `prog_id == ${session?.xdp?.id}` };

    // A ping that is answered has pushed those before it through.
    const omitted = await follow(own, {
      cpu: 1,
      record: [exception],
      ...(missing === "pass"
        ? { kinds: ["one way", "ping"], arrived: () => Number.POSITIVE_INFINITY }
        : { kinds: ["one way"], arrived: inEvent("xdp_exception") }),
    });
    expect(omitted.answered).toBe(missing === "pass" ? 3 : 0);
    expect(omitted.trace.filter(({ event }) => event === "xdp_cpumap_enqueue")).toEqual([]);
    const exceptions = omitted.trace.filter(({ event }) => event === "xdp_exception");
    expect(exceptions.map(({ cpu, message }) => [cpu, /action=\w+/.exec(message)?.[0]])).toEqual(
      Array(missing === "drop" ? 3 : 0).fill([1, "action=ABORTED"]),
    );

    const chosen = await follow(own, { cpu: 0, kinds: ["ping"], record: [exception] });
    expect([chosen.answered, chosen.problems]).toEqual([3, []]);
    expect(chosen.packets.every(onOneCore)).toBe(true);
    await down(own);
  });
});

describeKernel("jumbo frames", () => {
  test("with MTU 9000 the programs accept packets of several buffers", async () => {
    await using own = await sampleNet({ mtu: 9000 });
    await up(own, { xdpMode: "native", targetProgram: true });
    expect(kernelView(own).xdp?.mode).toBe("native");
    expect(await own.ping({ size: 8000, cpu: 1 })).toMatchObject({ received: 3 });
    expect(await own.udpEcho({ size: 8500, cpu: 0, count: 3 })).toMatchObject({ replies: 3 });
    expect(await own.tcpEcho({ bytes: 200_000 })).toMatchObject({ intact: 1 });
    await down(own);
    expect(kernelView(own)).toEqual(NOTHING);
  });
});
