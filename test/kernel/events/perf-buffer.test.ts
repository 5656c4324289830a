import { setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import {
  add,
  call,
  exit,
  lddw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r6,
  r10,
  stdw,
  stxdw,
} from "../../../src/asm/index.ts";
import { LayoutError, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { readCpus } from "../../../src/kernel/cpus.ts";
import { lostCounter, mergeEvents, PerfBuffer } from "../../../src/kernel/events/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { progTestRun } from "../../../src/syscall/bpf-prog.ts";
import { FdClosedError } from "../../../src/syscall/fd.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { BPF_F_CURRENT_CPU, BPF_F_TEST_RUN_ON_CPU } from "../../../src/uapi/bpf.ts";
import { EINVAL, EMFILE } from "../../../src/uapi/errno.ts";
import { bpf_get_smp_processor_id, bpf_perf_event_output } from "../../../src/uapi/helpers.ts";
import { eachFailure } from "../../support/failing-syscalls.ts";
import { watchFds } from "../../support/fd-leak.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import {
  MAGIC,
  mappedRings,
  numbered,
  perfDef,
  perfProducer,
  run,
  runElsewhere,
  sequenceDef,
} from "./support.ts";

/** A perf event array, and a program that sends numbered samples to it. */
function setUpPerf(sys: Syscalls, maxEntries = 64) {
  const defs = { perf: perfDef(maxEntries), seq: sequenceDef(), lost: lostCounter("lost") };
  const map = BpfMap.create(defs.perf, { sys });
  const seq = BpfMap.create(defs.seq, { sys });
  const lost = BpfMap.create(defs.lost, { sys });
  const maps = [map, seq, lost];
  const program = BpfProgram.load(perfProducer(defs.perf, defs.seq, defs.lost), { sys, maps });
  return {
    map,
    program,
    produced: () => seq.get(0) ?? 0,
    /** What the program was refused. */
    refused: () => lost.get(0) ?? 0,
    emit: (records = 1) => run(sys, program, records),
    [Symbol.dispose]: () => {
      for (const object of [program, ...maps]) object.close();
    },
  };
}

/** A raw tracepoint program, which can be run on a CPU of choice: it sends that CPU's number. */
function sendOnCpu(events: ReturnType<typeof perfDef>) {
  return program("raw_tracepoint", "send_cpu", {
    entry: [
      mov(r6, r1),
      call(bpf_get_smp_processor_id),
      stxdw([r10, -16], r0),
      stdw([r10, -8], MAGIC),
      mov(r1, r6),
      lddw(r2, mapFd(events)),
      lddw(r3, BPF_F_CURRENT_CPU),
      mov(r4, r10),
      add(r4, -16),
      mov32(r5, 16),
      call(bpf_perf_event_output),
      mov32(r0, 0),
      exit(),
    ],
  });
}

const bySeq = (a: { seq: number }, b: { seq: number }): number => a.seq - b.seq;

describeKernel("perf buffer", () => {
  const sys = tracedSyscalls();

  test("samples, decoded and as bytes", () => {
    using setup = setUpPerf(sys);
    {
      using perf = PerfBuffer.open(setup.map, numbered, { sys });
      expect(perf.cpus).toEqual(readCpus().online);
      setup.emit(5);
      const samples = perf.take(10).sort(bySeq);
      expect(samples.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4]);
      expect(samples.every(({ magic }) => magic === MAGIC)).toBe(true);
      expect([perf.available, perf.lost]).toEqual([0, 0]);
    }
    using bytes = PerfBuffer.open(setup.map, undefined, { sys });
    setup.emit(1);
    bytes.drain((sample) => {
      expect(sample, "16 bytes after a length of 4, padded to 24").toHaveLength(20);
      expect(sample[0]).toBe(5);
    });
    setup.emit(1);
    expect(bytes.take(1)[0]?.buffer.byteLength).toBe(20);
  });

  test("the CPU that a sample is from", () => {
    const def = perfDef();
    using map = BpfMap.create(def, { sys });
    using prog = BpfProgram.load(sendOnCpu(def), { sys, maps: [map] });
    const layout = struct("sent", { cpu: u64.asNumber, magic: u64.asNumber });
    using perf = PerfBuffer.open(map, layout, { sys });
    const seen: number[] = [];
    for (const cpu of [...perf.cpus, ...perf.cpus]) {
      progTestRun(sys, { prog_fd: prog.fd, flags: BPF_F_TEST_RUN_ON_CPU, cpu });
    }
    perf.drainRaw((view, offset, length, cpu) => {
      expect(length).toBe(20);
      expect(layout.read(view, offset)).toEqual({ cpu, magic: MAGIC });
      seen.push(cpu);
    });
    expect(seen).toEqual(perf.cpus.flatMap((cpu) => [cpu, cpu]));
  });

  test("over the end of the buffer, again and again", () => {
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, numbered, { sys, sizePerCpu: 1 });
    const seen = new Set<number>();
    for (let round = 0; round < 40; round++) {
      setup.emit(90);
      perf.drain(({ seq, magic }) => {
        if (magic !== MAGIC) expect.fail(`sample ${seq} has magic ${magic}`);
        seen.add(seq);
      });
    }
    expect([seen.size, setup.produced(), perf.lost]).toEqual([3600, 3600, 0]);
  });

  test("exactly so many are lost as do not fit", () => {
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, numbered, { sys, sizePerCpu: 4096 });
    let delivered = 0;
    for (let round = 1; round <= 30; round++) {
      setup.emit(round * 20);
      expect(perf.lost).toBe(setup.refused());
      delivered += perf.drain(() => true, round * 10);
    }
    delivered += perf.drain(() => true);
    expect(perf.lost).toBeGreaterThan(1000);
    expect(delivered + perf.lost).toBe(setup.produced());
  });

  test("lost ones on a kernel that tells them between samples only", () => {
    // Kernels before 6.0 refuse the format in which the count can be read.
    const older: Syscalls = {
      ...sys,
      perfEventOpen: (attr, ...rest) => (attr[32] === 0 ? sys.perfEventOpen(attr, ...rest) : -EINVAL),
    };
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, numbered, { sys: older, sizePerCpu: 4096, cpus: [0] });
    const produce = (): void => {
      // On CPU 0 alone, wherever this thread is.
      while (perf.available === 0) setup.emit(1000);
    };
    produce();
    expect(perf.lost).toBe(0);
    perf.drain(() => true);
    produce();
    perf.drain(() => true);
    expect(perf.lost).toBeGreaterThan(500);
  });

  test("half a million samples, when the reader keeps up", () => {
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, undefined, { sys, sizePerCpu: 8 << 20 });
    let delivered = 0;
    for (let round = 0; round < 10; round++) {
      setup.emit(50_000);
      delivered += perf.drainRaw(() => true);
    }
    expect([delivered, perf.lost, setup.refused()]).toEqual([500_000, 0, 0]);
  });

  test("beside a producer on another thread", async () => {
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, numbered, { sys, sizePerCpu: 1 << 14 });
    const stop = new AbortController();
    const producing = runElsewhere(setup.program, { rounds: 100, repeat: 500 }).finally(async () => {
      await setTimeout(50);
      stop.abort();
    });
    let delivered = 0;
    for await (const batch of perf.batches({ signal: stop.signal })) {
      for (const { seq, magic } of batch)
        if (magic !== MAGIC) expect.fail(`sample ${seq} has magic ${magic}`);
      delivered += batch.length;
    }
    await producing;
    delivered += perf.drain(() => true);
    expect(delivered).toBeGreaterThan(500);
    expect(delivered + perf.lost).toBe(setup.produced());
  });

  test("a loop waits without polling", async () => {
    using setup = setUpPerf(sys);
    let wakes = 0;
    const watchReadable: Syscalls["watchReadable"] = (fd, onReadable) =>
      sys.watchReadable(fd, () => {
        wakes++;
        onReadable();
      });
    using perf = PerfBuffer.open(setup.map, numbered, { sys: { ...sys, watchReadable } });
    const samples = perf.records();
    for (let round = 0; round < 5; round++) {
      const next = samples.next();
      await setTimeout(20);
      expect(wakes, "idle").toBeLessThanOrEqual(round * 3);
      setup.emit(1);
      expect(await next).toMatchObject({ value: { seq: round } });
    }
    const last = samples.next();
    perf.close();
    expect(await last).toEqual({ done: true, value: undefined });
  });

  test("wakes after so many samples", async () => {
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, numbered, { sys, wakeupEvents: 1000 });
    const few = perf.readable({ signal: AbortSignal.timeout(50) });
    await setTimeout(10);
    setup.emit(5);
    expect(await few).toBe(false);
    expect(perf.take(9)).toHaveLength(5);
    const many = perf.readable({ signal: AbortSignal.timeout(5000) });
    await setTimeout(10);
    setup.emit(4000);
    expect(await many).toBe(true);
  });

  test("samples of CPUs that are added later", async () => {
    const def = perfDef();
    using map = BpfMap.create(def, { sys });
    using prog = BpfProgram.load(sendOnCpu(def), { sys, maps: [map] });
    using perf = PerfBuffer.open(map, undefined, { sys, cpus: [] });
    const next = perf.records().next();
    await setTimeout(5);
    const { online } = readCpus();
    expect(perf.addOnlineCpus()).toEqual(online);
    expect(perf.addOnlineCpus()).toEqual([]);
    const last = online.at(-1) as number;
    await setTimeout(5);
    progTestRun(sys, { prog_fd: prog.fd, flags: BPF_F_TEST_RUN_ON_CPU, cpu: last });
    expect((await next).value[0]).toBe(last);
  });

  test("samples of another size than the layout", () => {
    using setup = setUpPerf(sys);
    using perf = PerfBuffer.open(setup.map, struct("other", { a: u32 }), { sys });
    setup.emit(1);
    expect(() => perf.drain(() => true)).toThrow(LayoutError);
  });

  test("together with another reader", async () => {
    using one = setUpPerf(sys);
    using two = setUpPerf(sys);
    using first = PerfBuffer.open(one.map, numbered, { sys });
    using second = PerfBuffer.open(two.map, numbered, { sys });
    two.emit(1);
    for await (const { from } of mergeEvents({ first, second })) {
      if (from === "first") break;
      one.emit(1);
    }
  });

  test("closing takes the events out of the map, and the memory away", () => {
    using setup = setUpPerf(sys);
    const [leaks, before] = [watchFds(), mappedRings()];
    const perf = PerfBuffer.open(setup.map, numbered, { sys });
    expect(mappedRings()).toBe(before + perf.cpus.length);
    perf.close();
    perf.close();
    expect(mappedRings()).toBe(before);
    expect(leaks()).toEqual([]);
    setup.emit(3);
    expect(setup.refused()).toBe(3);
    for (const use of [
      () => perf.take(1),
      () => perf.lost,
      () => perf.available,
      () => perf.addOnlineCpus(),
    ]) {
      expect(use).toThrow(FdClosedError);
      expect(use).toThrow("perf buffer 'samples' is closed");
    }
  });

  test("a sample that was kept is memory after closing", () => {
    using setup = setUpPerf(sys);
    const perf = PerfBuffer.open(setup.map, undefined, { sys });
    const kept: Uint8Array[] = [];
    setup.emit(2);
    perf.drain((sample) => kept.push(sample));
    perf.close();
    expect(kept.map((sample) => sample[0]).sort()).toEqual([0, 1]);
  });
});

describeKernel("perf buffer: opening", () => {
  const sys = tracedSyscalls();

  test("what is wrong is said", () => {
    using setup = setUpPerf(sys, 1);
    const open = (options: object) => () => PerfBuffer.open(setup.map, undefined, { sys, ...options });
    expect(open({ cpus: [1] })).toThrow(
      "perf buffer 'samples' has no place for CPU 1: the map has 1 entries\n  Give the map as many entries",
    );
    expect(open({ sizePerCpu: 0 })).toThrow(
      "perf buffer 'samples': sizePerCpu is 0, which is not from 1 to 1073741824",
    );
    expect(open({ wakeupEvents: 0 })).toThrow("wakeupEvents is 0, which is not a positive integer");
    using large = setUpPerf(sys, 8192);
    expect(() => PerfBuffer.open(large.map, undefined, { sys, cpus: [5000] })).toThrow(
      /perf_event_open failed: E\w+/,
    );
    using array = BpfMap.create(mapDef({ name: "no", type: "array", key: u32, value: u32, maxEntries: 1 }), {
      sys,
    });
    expect(() => PerfBuffer.open(array as never, undefined, { sys })).toThrow(
      "perf buffer 'no': the map is of type 'array', not 'perf_event_array'",
    );
  });

  test("every call that can fail", async () => {
    using setup = setUpPerf(sys);
    const [leaks, before] = [watchFds(), mappedRings()];
    const tried = await eachFailure({
      sys,
      errno: EMFILE,
      run: (failing) => PerfBuffer.open(setup.map, numbered, { sys: failing, cpus: [0] }).close(),
      check: () => {
        expect(leaks()).toEqual([]);
        expect(mappedRings()).toBe(before);
      },
    });
    expect(tried, "dup, info, open, map, enable, put in, take out").toBe(7);
  });
});
