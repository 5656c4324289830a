import { expect, test } from "vitest";
import { call, exit, lddw, mapDef, mapFd, mov32, program, r1, r2 } from "../../../src/asm/index.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { readCpus } from "../../../src/kernel/cpus.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { perfEventOpen } from "../../../src/syscall/perf-event.ts";
import { bpf_perf_event_read } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const { online } = readCpus();
const PERF_TYPE_SOFTWARE = 1;
const PERF_COUNT_SW_CPU_CLOCK = 0;

describeKernel("perf_event_array", () => {
  const counters = mapDef({
    name: "counters",
    type: "perf_event_array",
    key: u32,
    value: u32,
    maxEntries: (online.at(-1) ?? 0) + 1,
  });
  const cpu = online.at(-1) ?? 0;
  /** The counter of one CPU, in units of 1024 ns. */
  const read = program("raw_tracepoint", "read", {
    entry: [lddw(r1, mapFd(counters)), mov32(r2, cpu), call(bpf_perf_event_read), exit()],
  });
  const openCounter = (): Fd => {
    const attr = { type: PERF_TYPE_SOFTWARE, config: PERF_COUNT_SW_CPU_CLOCK };
    return Fd.own(sys, perfEventOpen(sys, attr, { pid: -1, cpu }), "CPU clock");
  };

  test("programs read the counters that are in it", () => {
    using map = BpfMap.create(counters, { sys });
    using prog = BpfProgram.load(read, { sys, maps: [map] });
    const run = (): number => prog.testRun({ ctx: new Uint8Array(0), cpu }).retval;
    expect(run()).toBe(-2); // ENOENT
    using event = openCounter();
    map.set(cpu, event.number);
    const [first, second] = [run() >>> 0, run() >>> 0];
    expect((second - first) >>> 0).toBeGreaterThan(0);
    expect(map.delete(cpu)).toBe(true);
    expect(map.delete(cpu)).toBe(false);
    expect(run()).toBe(-2);
    map.set(cpu, { fd: event.number });
    expect(run()).not.toBe(-2);
  });

  test("user space cannot read it, and is told what it takes", () => {
    using map = BpfMap.create(counters, { sys });
    expect(() => map.get(cpu)).toThrow("User space cannot read a map of type perf_event_array.");
    expect(() => map.set(cpu, map)).toThrow("Its values are perf events, by their descriptors.");
  });
});
