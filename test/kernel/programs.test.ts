import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Program } from "../../src/asm/program.ts";
import { readCpus } from "../../src/kernel/cpus.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { TraceLog } from "../../src/kernel/trace-log.ts";
import { attachXdp } from "../../src/kernel/xdp.ts";
import {
  cpuMapDef,
  tcEgress,
  tcEgressLang,
  tcIngress,
  tcIngressLang,
  xdpOnTargetCpu,
  xdpOnTargetCpuLang,
  xdpSameCpu,
  xdpSameCpuLang,
} from "../../src/programs/index.ts";
import { TC_ACT_REDIRECT, TC_ACT_UNSPEC, XDP_ABORTED, XDP_PASS, XDP_REDIRECT } from "../../src/uapi/bpf.ts";
import { inNetns } from "../support/in-netns.ts";
import { ensureTracefs } from "../support/mounts.ts";
import { createTestNet, type TestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const tracefs = ensureTracefs();
const { online, possible } = readCpus();
const def = cpuMapDef(possible.length);
const packet = new Uint8Array(64);

/** What a private trace shows of a run, by this process. */
function linesOf(run: () => unknown): readonly string[] {
  using log = TraceLog.open({ sys, tracefs });
  run();
  return log
    .drain()
    .filter(({ pid }) => pid === process.pid)
    .map(({ message }) => message);
}

const inInstructions = { xdpSameCpu, tcIngress, tcEgress, xdpOnTargetCpu };
const inLanguage: typeof inInstructions = {
  xdpSameCpu: xdpSameCpuLang,
  tcIngress: tcIngressLang,
  tcEgress: tcEgressLang,
  xdpOnTargetCpu: xdpOnTargetCpuLang,
};

describeKernel("the sample's programs", () => {
  describe("in instructions", () => sampleTests(inInstructions));
  describe("in the language", () => sampleTests(inLanguage));
});

function sampleTests({ xdpSameCpu, tcIngress, tcEgress, xdpOnTargetCpu }: typeof inInstructions): void {
  test.each<[string, (map: BpfMap) => Program, string]>([
    ["xdp_same_cpu", () => xdpSameCpu(def), "[XDP       ] cpu="],
    ["tc_ingress", () => tcIngress(), "[TC ingress] cpu="],
    ["tc_ingress that redirects", () => tcIngress({ redirectTo: 1 }), "[TC ingress] cpu="],
    ["tc_egress", () => tcEgress(), "[TC egress ] cpu="],
  ])("%s prints its line, with the core that it runs on", (_, make, line) => {
    using map = BpfMap.create(def, { sys });
    using prog = BpfProgram.load(make(map as BpfMap), { sys, maps: [map] });
    expect(prog.btfRefusal).toBeUndefined();
    const lines = linesOf(() => prog.testRun({ data: packet }));
    expect(lines).toHaveLength(1);
    const [text = ""] = lines;
    expect(text.slice(0, line.length)).toBe(line);
    expect(possible).toContain(Number(text.slice(line.length)));
  });

  test.each([
    ["xdp_same_cpu", xdpSameCpu(def, { trace: false })],
    ["tc_ingress", tcIngress({ trace: false })],
    ["tc_egress", tcEgress({ trace: false })],
  ])("%s in silence prints none", (_, program) => {
    using map = BpfMap.create(def, { sys });
    using prog = BpfProgram.load(program, { sys, maps: [map] });
    expect(linesOf(() => prog.testRun({ data: packet }))).toEqual([]);
  });

  describe("verdicts", () => {
    test.each([
      ["with an entry for every core", online, {}, XDP_REDIRECT],
      ["without an entry", [], {}, XDP_PASS],
      ["without an entry, asked to drop", [], { missing: "drop" }, XDP_ABORTED],
      ["with an entry, asked to drop where there is none", online, { missing: "drop" }, XDP_REDIRECT],
    ] as const)("xdp_same_cpu %s", (_, cpus, options, verdict) => {
      using map = BpfMap.create(def, { sys });
      for (const cpu of cpus) map.set(cpu, { qsize: 192, prog: 0 });
      using prog = BpfProgram.load(xdpSameCpu(def, { trace: false, ...options }), { sys, maps: [map] });
      expect(prog.testRun({ data: packet, repeat: 10 }).retval).toBe(verdict);
    });

    test.each([
      ["tc_ingress", tcIngress({ trace: false }), TC_ACT_UNSPEC],
      ["tc_ingress with its line", tcIngress(), TC_ACT_UNSPEC],
      ["tc_egress", tcEgress(), TC_ACT_UNSPEC],
      ["tc_ingress to another interface", tcIngress({ trace: false, redirectTo: 1 }), TC_ACT_REDIRECT],
    ])("%s", (_, program, verdict) => {
      using prog = BpfProgram.load(program, { sys });
      expect(prog.testRun({ data: packet }).retval).toBe(verdict);
    });
  });

  describe("the second program, on the target core", () => {
    let net: TestNet;
    beforeAll(async () => {
      net = await createTestNet();
    });
    afterAll(() => net.dispose());

    test.each([false, true])("fragments: %s", async (frags) => {
      using map = BpfMap.create(def, { sys });
      using second = BpfProgram.load(xdpOnTargetCpu({ frags }), { sys });
      using first = BpfProgram.load(xdpSameCpu(def, { frags, trace: false }), { sys, maps: [map] });
      for (const cpu of online) map.set(cpu, { qsize: 192, prog: second.fd });
      using log = TraceLog.open({ sys, tracefs });
      const link = inNetns(net.inside.path, () => attachXdp(first, "eth0", { sys, mode: "native" }));
      try {
        expect(await net.ping({ count: 3 })).toMatchObject({ received: 3 });
      } finally {
        inNetns(net.inside.path, () => link.detach());
      }
      const { id } = map.info();
      // The trace cuts a task's name at 15 characters.
      const threadOf = (cpu: number): string => `cpumap/${cpu}/map:${id}`.slice(0, 15);
      const lines = log.drain().filter(({ task, cpu }) => task === threadOf(cpu));
      expect(lines.map(({ message }) => message)).toEqual(lines.map(({ cpu }) => `[XDP cpumap] cpu=${cpu}`));
      expect(lines).toHaveLength(3);
    });
  });
}
