import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { setImmediate, setTimeout } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { printk } from "../../src/asm/printk.ts";
import { xdp } from "../../src/asm/program.ts";
import { r0, r6 } from "../../src/asm/register.ts";
import { TsbpfError } from "../../src/base/error.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { type TraceLine, TraceLog } from "../../src/kernel/trace-log.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { XDP_PASS } from "../../src/uapi/bpf.ts";
import { ensureTracefs } from "../support/mounts.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const tracefs = ensureTracefs();
const packet = new Uint8Array(64);
/** Every line carries it, lest lines of others who print at the same time be taken for ours. */
const marker = process.pid;

const instances = (): string[] =>
  readdirSync(`${tracefs}/instances`).filter((name) => name.startsWith(`tsbpf-${process.pid}-`));
afterEach(() => {
  expect(instances()).toEqual([]);
});

const open = (): TraceLog => TraceLog.open({ sys, tracefs });

/** A program that prints `hello PID`. */
const loadPrinter = (): BpfProgram => {
  const printer = xdp("printer", {
    entry: [mov32(r6, marker), ...printk("hello %d\n", r6), mov32(r0, XDP_PASS), exit()],
  });
  return BpfProgram.load(printer, { sys });
};
const print = (prog: BpfProgram, count = 1): void => void prog.testRun({ data: packet, repeat: count });
const ours = (lines: readonly TraceLine[]): readonly TraceLine[] =>
  lines.filter(({ message }) => message === `hello ${marker}`);

describeKernel("TraceLog", () => {
  test("gives what is printed from now on, with who, where and when", () => {
    using prog = loadPrinter();
    print(prog);
    using log = open();
    expect(ours(log.drain())).toEqual([]);
    print(prog, 3);
    const lines = ours(log.drain());
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatchObject({
      event: "bpf_trace_printk",
      pid: expect.any(Number),
      cpu: expect.any(Number),
      message: `hello ${marker}`,
    });
    expect(lines.map(({ time }) => time)).toEqual(lines.map(({ time }) => time).toSorted((a, b) => a - b));
    expect(log.drain().filter(({ message }) => message === `hello ${marker}`)).toEqual([]);
  });

  test("two logs read the same lines: neither takes one from the other, nor from the global trace", () => {
    using prog = loadPrinter();
    using first = open();
    using second = open();
    print(prog, 5);
    expect(ours(first.drain())).toHaveLength(5);
    expect(ours(second.drain())).toHaveLength(5);
    // The global buffer still has them: looking at `trace` consumes nothing.
    const shown = execFileSync("grep", ["-c", `hello ${marker}`, `${tracefs}/trace`], { encoding: "utf8" });
    expect(Number(shown)).toBeGreaterThanOrEqual(5);
  });

  test("iterates as lines come, and ends with the signal", async () => {
    using prog = loadPrinter();
    using log = open();
    const abort = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { message } of log.lines({ signal: abort.signal })) {
        if (message === `hello ${marker}`) seen.push(message);
        if (seen.length === 4) abort.abort();
      }
    })();
    await setTimeout(20); // it waits by now
    print(prog, 2);
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(2);
    print(prog, 2);
    await reading;
    expect(seen).toHaveLength(4);
    for await (const _ of log.lines({ signal: abort.signal })) expect.fail("aborted from the start");
  });

  test("aborted while it waits", async () => {
    using log = open();
    const abort = new AbortController();
    const reading = (async () => {
      for await (const { message } of log.lines({ signal: abort.signal })) {
        expect(message).not.toBe(`hello ${marker}`);
      }
    })();
    await setTimeout(20);
    abort.abort();
    await reading;
  });

  test("closed while it waits: the iterator ends", async () => {
    const log = open();
    const reading = (async () => {
      for await (const { message } of log) expect(message).not.toBe(`hello ${marker}`);
    })();
    await setTimeout(20);
    log.close();
    await reading;
    log.close();
    for await (const _ of log) expect.fail("closed");
    expect(() => log.drain()).toThrow(/^trace_pipe of tsbpf-\d+-\d+ is closed/);
  });

  test("two that wait: the second is told", async () => {
    using log = open();
    const abort = new AbortController();
    const next = (): Promise<unknown> => log.lines({ signal: abort.signal }).next();
    const first = next();
    await setTimeout(20);
    await expect(next()).rejects.toThrow(/^somebody waits for the lines of tsbpf-\d+-\d+ already\n/);
    abort.abort();
    await first;
  });

  test("a consumer that takes its time is left alone meanwhile", async () => {
    using prog = loadPrinter();
    let wakes = 0;
    const watchReadable: Syscalls["watchReadable"] = (fd, onReadable) =>
      sys.watchReadable(fd, () => {
        wakes++;
        onReadable();
      });
    using log = TraceLog.open({ sys: { ...sys, watchReadable }, tracefs });
    const lines = log.lines();
    const next = lines.next();
    await setImmediate(); // it waits by now
    print(prog, 1);
    await next;
    expect(wakes).toBeGreaterThan(0);
    const before = wakes;
    print(prog, 1); // there is something to read, and nobody wants it yet
    await setTimeout(100);
    expect(wakes).toBe(before);
    await lines.return();
  });

  test("what was written over is counted", () => {
    using prog = loadPrinter();
    using log = open();
    writeFileSync(`${tracefs}/instances/${log.name}/buffer_size_kb`, "4");
    const printed = 20_000;
    print(prog, printed);
    const read = ours(log.drain()).length;
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(printed);
    // Others may print, too, and what they print may be lost as well.
    expect(read + log.lost).toBeGreaterThanOrEqual(printed);
    expect(log.lost).toBeGreaterThan(0);
  });

  test("a reader that keeps up loses none", async () => {
    using prog = loadPrinter();
    using log = open();
    let seen = 0;
    for (let round = 0; round < 50; round++) {
      print(prog, 100);
      seen += ours(log.drain()).length;
    }
    expect([seen, log.lost]).toEqual([5000, 0]);
  });

  test("a tracepoint beside the printed lines, filtered", () => {
    using log = open();
    log.record({ name: "syscalls/sys_enter_getpid", filter: `common_pid == ${process.pid}` });
  });

  test("a tracepoint or a filter that the kernel does not have", () => {
    using log = open();
    expect(() => log.record({ name: "no/such" })).toThrow("cannot record the tracepoint no/such");
    expect(() => log.record({ name: "xdp/xdp_cpumap_enqueue", filter: "nothing == 1" })).toThrow(
      "cannot record the tracepoint xdp/xdp_cpumap_enqueue\n  with the filter nothing == 1",
    );
  });

  test("a task with an odd name", async () => {
    using prog = loadPrinter();
    using log = open();
    const odd = "a-1 [0] . 1.0:";
    const title = process.title;
    process.title = odd; // which also renames the thread that runs the program
    try {
      // The kernel notes names when it switches between tasks: it may take a moment to know the new one.
      const nextTask = async (): Promise<string | undefined> => {
        print(prog);
        await setTimeout(5);
        return ours(log.drain()).at(-1)?.task;
      };
      await expect.poll(nextTask, { interval: 10, timeout: 5_000 }).toBe(odd);
    } finally {
      process.title = title;
    }
  });

  test("somebody has a file of it open: it says so, and can be closed again", () => {
    const log = open();
    const theirs = openSync(`${tracefs}/instances/${log.name}/trace`, "r");
    let error: unknown;
    try {
      log.close();
    } catch (thrown) {
      error = thrown;
    } finally {
      closeSync(theirs);
    }
    expect(error).toBeInstanceOf(TsbpfError);
    expect((error as TsbpfError).message).toMatch(
      /^the tracing instance tsbpf-\d+-\d+ cannot be removed\n {2}Somebody has one of its files open \(fuser /,
    );
    log.close();
    expect(existsSync(`${tracefs}/instances/${log.name}`)).toBe(false);
  });

  test("names of others are in nobody's way", async () => {
    const taken = `${tracefs}/instances/tsbpf-${process.pid}-0`;
    mkdirSync(taken);
    try {
      using log = open();
      expect(log.name).toBe(`tsbpf-${process.pid}-1`);
    } finally {
      rmdirSync(taken);
    }
  });

  test("the tracefs is found where none is named", () => {
    using log = TraceLog.open({ sys });
    expect(instances()).toContain(log.name);
  });

  test("no tracefs there", () => {
    expect(() => TraceLog.open({ sys, tracefs: "/tmp" })).toThrow(
      "cannot make a tracing instance in /tmp/instances\n" +
        "  It takes root, and a tracefs: mount -t tracefs tracefs /sys/kernel/tracing",
    );
  });

  test("an open log keeps no process from ending when it is not waited for", async () => {
    const code = `
      import { TraceLog } from "${new URL("../../src/kernel/trace-log.ts", import.meta.url).href}";
      const log = TraceLog.open({ tracefs: "${tracefs}" });
      log.drain();
      process.on("exit", () => log.close());
    `;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], {
      stdio: "inherit",
    });
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});
