import { expect, test } from "vitest";
import { progLoad } from "../../../src/syscall/bpf-prog.ts";
import { check } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import {
  perfEventDisable,
  perfEventEnable,
  perfEventOpen,
  perfEventSetBpf,
} from "../../../src/syscall/perf-event.ts";
import { describeKernel } from "../../support/privileges.ts";
import { returning, tracedSyscalls } from "./support.ts";

const [PERF_TYPE_SOFTWARE, CPU_CLOCK, BPF_PROG_TYPE_PERF_EVENT] = [1, 0, 7];

describeKernel("perf events", () => {
  const sys = tracedSyscalls();

  test("a software event takes a program", () => {
    const { result } = progLoad(sys, {
      prog_type: BPF_PROG_TYPE_PERF_EVENT,
      insns: returning(0),
      license: "GPL",
    });
    using prog = Fd.own(sys, check(result, "bpf(BPF_PROG_LOAD)"), "program");
    const spec = { type: PERF_TYPE_SOFTWARE, config: CPU_CLOCK, sample_freq: 10, set: ["disabled"] } as const;
    using event = Fd.own(sys, perfEventOpen(sys, spec, { pid: 0, cpu: -1 }), "perf event");
    perfEventSetBpf(sys, event.number, prog.number);
    perfEventEnable(sys, event.number);
    perfEventDisable(sys, event.number);
    expect(() => perfEventSetBpf(sys, event.number, event.number)).toThrow(
      `ioctl(PERF_EVENT_IOC_SET_BPF) failed: EINVAL (Invalid argument) [fd=${event.number}, prog_fd=${event.number}]`,
    );
  });

  test("counts while it is enabled", () => {
    const spec = { type: PERF_TYPE_SOFTWARE, config: CPU_CLOCK } as const;
    using event = Fd.own(sys, perfEventOpen(sys, spec, { pid: 0, cpu: -1 }), "perf event");
    const count = (): bigint => {
      const value = new Uint8Array(8);
      expect(sys.read(event.number, value)).toBe(8);
      return new BigUint64Array(value.buffer)[0] ?? 0n;
    };
    const first = count();
    for (let i = 0; i < 1e5; i++) Math.sqrt(i);
    const second = count();
    expect(second).toBeGreaterThan(first);
    perfEventDisable(sys, event.number);
    const stopped = count();
    for (let i = 0; i < 1e5; i++) Math.sqrt(i);
    expect(count()).toBe(stopped);
  });

  test("an event that does not exist", () => {
    expect(() => perfEventOpen(sys, { type: 2, config: 0xffff_ffff }, { pid: 0, cpu: -1 })).toThrow(
      /^perf_event_open failed: E\w+ \(.*\) \[type=2, config=4294967295, pid=0, cpu=-1\]$/,
    );
  });
});
