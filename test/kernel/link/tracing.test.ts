import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import koffi from "koffi";
import { expect, test } from "vitest";
import {
  add,
  call,
  exit,
  jeq,
  ldxdw,
  mapDef,
  mov,
  mov32,
  type Program,
  program,
  r0,
  r1,
  r2,
  r3,
  r10,
  stw,
} from "../../../src/asm/index.ts";
import { LITTLE_ENDIAN } from "../../../src/base/host.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { attachIterator } from "../../../src/kernel/link/iterator.ts";
import { attachKprobe, attachKprobeMulti } from "../../../src/kernel/link/kprobe.ts";
import { linkFromId, listLinks, openLink } from "../../../src/kernel/link/open.ts";
import { attachPerfEvent, attachPerfEventOnEachCpu } from "../../../src/kernel/link/perf-event.ts";
import { attachRawTracepoint, attachTracepoint } from "../../../src/kernel/link/tracepoint.ts";
import { attachTracing } from "../../../src/kernel/link/tracing.ts";
import { attachUprobe, attachUprobeMulti, readElfFunctions } from "../../../src/kernel/link/uprobe.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { UnsupportedError } from "../../../src/kernel/unsupported.ts";
import { bpf_cmd } from "../../../src/uapi/bpf.ts";
import { bpf_attr_link_create, bpf_attr_link_create_tracing } from "../../../src/uapi/bpf-attr.ts";
import { EINVAL } from "../../../src/uapi/errno.ts";
import { bpf_seq_write } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { bpftoolLink, counter, pinDirectory } from "./support.ts";

/** Something that runs `sched_process_exec`, and switches tasks. */
const runTrue = (): unknown => execFileSync("/bin/true");

/** The error that `fn` throws. */
function thrown(fn: () => unknown): Error {
  try {
    fn();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

describeKernel("tracepoint links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();

  test("a program sees the events, and none after the link is closed", () => {
    using seen = counter(sys, "tracepoint", "on_exec");
    using link = attachTracepoint(seen.prog, "sched:sched_process_exec", { sys, cookie: 77 });
    runTrue();
    expect(seen.count()).toBeGreaterThan(0);
    const progId = seen.prog.info().id;
    expect(link.kind).toBe("perf_event");
    expect(link.info()).toEqual({
      kind: "perf_event",
      id: link.id,
      progId,
      event: { type: "tracepoint", name: "sched_process_exec", cookie: 77n },
    });
    expect(listLinks({ sys })).toContainEqual(link.info());
    expect(bpftoolLink(link.id)).toMatchObject({
      type: "perf_event",
      prog_id: progId,
      tracepoint: "sched_process_exec",
    });
    link.close();
    link.close();
    const before = seen.count();
    runTrue();
    expect(seen.count()).toBe(before);
    expect(linkFromId(link.id ?? 0, { sys })).toBeUndefined();
    expect(bpftoolLink(link.id)).toBeUndefined();
  });

  test("a pin keeps it attached, and openLink gets it back", () => {
    using seen = counter(sys, "tracepoint", "on_exec");
    const path = pin("exec");
    const link = attachTracepoint(seen.prog, "sched:sched_process_exec", { sys });
    link.pin(path);
    link.close();
    const before = seen.count();
    runTrue();
    expect(seen.count()).toBeGreaterThan(before);
    using again = openLink(path, { sys });
    expect(again.id).toBe(link.id);
    expect(again.kind).toBe("perf_event");
    expect(() => attachTracepoint(seen.prog, "sched:sched_process_exec", { sys })).toThrow(
      "The program is attached there already.",
    );
    using other = attachTracepoint(seen.prog, "sched:sched_process_exit", { sys });
    expect(() => other.unpin(path)).toThrow(`'${path}' is a pin of link ${link.id}, not of link ${other.id}`);
    again.unpin(path);
    expect(existsSync(path)).toBe(false);
    expect(() => again.unpin(path)).toThrow("ENOENT");
  });

  test("it keeps its program, and says so", () => {
    using seen = counter(sys, "tracepoint", "on_exec");
    using other = counter(sys, "tracepoint", "other");
    using link = attachTracepoint(seen.prog, "sched:sched_process_exec", { sys });
    const error = thrown(() => link.update(other.prog));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ feature: "replacing the program of a perf_event link", since: undefined });
    expect(error.message).toBe(
      [
        "cannot update link of tracepoint sched:sched_process_exec: a perf_event link keeps its program",
        `  bpf(BPF_LINK_UPDATE) failed: EINVAL (Invalid argument) [link_fd=${linkFd(error)}, new_prog_fd=${other.prog.fd}]`,
        "  Attach the new program, then close this link: for a moment, both see the events.",
      ].join("\n"),
    );
  });

  test("detach ends it, and says where something else holds it", () => {
    using seen = counter(sys, "tracepoint", "on_exec");
    const free = attachTracepoint(seen.prog, "sched:sched_process_exec", { sys });
    free.detach();
    free.detach();
    expect(linkFromId(free.id ?? 0, { sys })).toBeUndefined();
    const pinned = attachTracepoint(seen.prog, "sched:sched_process_exec", { sys });
    pinned.pin(pin("held"));
    expect(() => pinned.detach()).toThrow(
      /^link of tracepoint sched:sched_process_exec is still attached: something else holds it\n.*EOPNOTSUPP/,
    );
  });

  test("without links, an ioctl attaches it (before kernel 5.15)", () => {
    using seen = counter(sys, "tracepoint", "on_exec");
    const old = {
      ...sys,
      bpf: (cmd: number, attr: Uint8Array) =>
        cmd === bpf_cmd.BPF_LINK_CREATE ? -EINVAL : sys.bpf(cmd, attr),
    };
    using link = attachTracepoint(seen.prog, "sched:sched_process_exec", { sys: old });
    expect(link.id).toBeUndefined();
    expect(link.info()).toMatchObject({ kind: "perf_event", progId: seen.prog.info().id });
    runTrue();
    expect(seen.count()).toBeGreaterThan(0);
    expect(() => link.update(seen.prog)).toThrow(
      "cannot update the program of tracepoint sched:sched_process_exec: it keeps its program\n" +
        "  It came with kernel 5.15; this one is",
    );
    expect(() => link.pin(pin("no"))).toThrow(
      /^cannot pin the program of tracepoint sched:sched_process_exec to .*: there is no bpf_link behind it/,
    );
    expect(() => link.unpin(pin("no"))).toThrow("there is no bpf_link behind it");
    link.close();
    const before = seen.count();
    runTrue();
    expect(seen.count()).toBe(before);
    expect(() => attachTracepoint(seen.prog, "sched:sched_process_exec", { sys: old, cookie: 1 })).toThrow(
      "EINVAL",
    );
  });

  test.each([
    ["sched", "'sched' is not the name of a tracepoint\n  Write group and name, as in sched:sched_switch."],
    ["sched:sched_swich", "no tracepoint sched:sched_swich\n  Did you mean 'sched_switch'?"],
    ["net:sched_switch", "no tracepoint net:sched_switch\n  Did you mean 'sched:sched_switch'?"],
  ])("%s", (name, message) => {
    using seen = counter(sys, "tracepoint", "on_exec");
    expect(thrown(() => attachTracepoint(seen.prog, name, { sys })).message).toBe(message);
  });

  test("a program of another type", () => {
    using seen = counter(sys, "socket_filter", "filter");
    expect(() => attachTracepoint(seen.prog, "sched:sched_switch", { sys })).toThrow(
      /^cannot attach 'filter' to tracepoint sched:sched_switch: EINVAL\n.*\n {2}It takes a program of type tracepoint\.$/,
    );
  });
});

/** The descriptor that an error message names: it is closed by then. */
const linkFd = ({ message }: Error): string => /link_fd=(\d+)/.exec(message)?.[1] ?? "";

describeKernel("raw tracepoint links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();

  test("a raw tracepoint", () => {
    using seen = counter(sys, "raw_tracepoint", "on_switch");
    using link = attachRawTracepoint(seen.prog, "sched_switch", { sys, cookie: 5 });
    runTrue();
    expect(seen.count()).toBeGreaterThan(0);
    const progId = seen.prog.info().id;
    const info = { kind: "raw_tracepoint", id: link.id, progId, name: "sched_switch", cookie: 5n };
    expect(link.info()).toEqual(info);
    expect(bpftoolLink(link.id)).toMatchObject({ type: "raw_tracepoint", tp_name: "sched_switch" });
    link.pin(pin("raw"));
    link.close();
    using again = openLink(pin("raw"), { sys });
    expect(again.info()).toEqual(info);
    expect(() => again.update(seen.prog)).toThrow("a raw_tracepoint link keeps its program");
  });

  test("a BTF-typed one follows its arguments", () => {
    // sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm): the verifier knows the types.
    using seen = counter(sys, "tracing", "typed", {
      attachType: "trace_raw_tp",
      attachTo: "sched_process_exec",
    });
    using link = attachRawTracepoint(seen.prog, undefined, { sys });
    runTrue();
    expect(seen.count()).toBeGreaterThan(0);
    expect(link.info()).toMatchObject({ kind: "raw_tracepoint", name: "sched_process_exec" });
    link.detach();
    const before = seen.count();
    runTrue();
    expect(seen.count()).toBe(before);
  });

  test("names that do not fit", () => {
    using raw = counter(sys, "raw_tracepoint", "raw");
    using typed = counter(sys, "tracing", "typed", {
      attachType: "trace_raw_tp",
      attachTo: "sched_switch",
    });
    expect(() => attachRawTracepoint(raw.prog, "sched_swich", { sys })).toThrow(
      /^cannot attach 'raw' to raw tracepoint sched_swich: ENOENT\n.*\n {2}There is no tracepoint of this name/,
    );
    expect(() => attachRawTracepoint(raw.prog, undefined, { sys })).toThrow(
      "'raw' is not loaded for one tracepoint: name the one to attach it to",
    );
    expect(() => attachRawTracepoint(typed.prog, "sched_switch", { sys })).toThrow(
      "'typed' was loaded for its tracepoint, and cannot be attached to 'sched_switch'",
    );
    expect(() =>
      counter(sys, "tracing", "typo", { attachType: "trace_raw_tp", attachTo: "sched_swich" }),
    ).toThrow(
      "program 'typo': the running kernel has no tracepoint 'sched_swich'\n  Did you mean 'sched_switch'?",
    );
    expect(() => counter(sys, "tracing", "none", { attachType: "trace_raw_tp" })).toThrow(
      "program 'none' is loaded for one target, and none is given\n" +
        "  Give load the option attachTo: the name of a tracepoint, without its group.",
    );
    expect(() => counter(sys, "xdp", "odd", { attachTo: "sched_switch" })).toThrow(
      "program 'odd' of type xdp is not loaded for 'sched_switch'",
    );
  });
});

describeKernel("perf event links", () => {
  const sys = tracedSyscalls();

  /** Keeps this CPU busy for so long. */
  const spin = (ms: number): void => {
    for (const end = Date.now() + ms; Date.now() < end; ) Math.sqrt(end);
  };

  test("a clock samples every CPU", () => {
    using seen = counter(sys, "perf_event", "sample");
    using set = attachPerfEventOnEachCpu(seen.prog, { software: "cpu_clock" }, { sys, frequency: 1000 });
    spin(100);
    expect(seen.count()).toBeGreaterThan(5);
    expect(set.links.length).toBeGreaterThan(0);
    const [link] = set.links;
    expect(link?.info()).toMatchObject({
      kind: "perf_event",
      event: { type: "event", config: 0n, cookie: 0n },
    });
    expect(bpftoolLink(link?.id)).toMatchObject({ type: "perf_event" });
    set.close();
    const before = seen.count();
    spin(20);
    expect(seen.count()).toBe(before);
  });

  test("a counter of one thread", () => {
    using seen = counter(sys, "perf_event", "faults");
    using link = attachPerfEvent(
      seen.prog,
      { software: "page_faults" },
      { sys, period: 1, pid: process.pid },
    );
    const touched = new Uint8Array(64 << 20);
    for (let i = 0; i < touched.length; i += 4096) touched[i] = 1;
    expect(seen.count()).toBeGreaterThan(0);
    expect(link.info()).toMatchObject({ event: { type: "event", perfType: 1, config: 2n } });
  });

  test("a counter that this machine lacks", () => {
    using seen = counter(sys, "perf_event", "cycles");
    const attach = () =>
      attachPerfEvent(seen.prog, { hardware: "cpu_cycles" }, { sys, period: 1000, cpu: 0 });
    if (existsSync("/sys/bus/event_source/devices/cpu")) {
      using link = attach();
      expect(link.info()).toMatchObject({ event: { type: "event", perfType: 0, config: 0n } });
      return;
    }
    const error = thrown(attach);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(
      /^cannot attach 'cycles' to cpu_cycles: this kernel has no counter cpu_cycles\n {2}perf_event_open failed: ENOENT/,
    );
    expect(error).toMatchObject({
      hint: "It takes hardware that counts it (virtual machines often have none). { software: 'cpu_clock' } samples anywhere.",
    });
  });

  test("what makes no sense", () => {
    using seen = counter(sys, "perf_event", "sample");
    const clock = { software: "cpu_clock" } as const;
    expect(() => attachPerfEvent(seen.prog, clock, { sys, frequency: 99 })).toThrow(
      "a perf event counts on one CPU, for one thread, or both",
    );
    expect(() => attachPerfEvent(seen.prog, clock, { sys, cpu: 0 })).toThrow(
      "a perf event takes either a frequency or a period",
    );
    expect(() => attachPerfEventOnEachCpu(seen.prog, clock, { sys, frequency: 9, cpus: [0, 9999] })).toThrow(
      /^cannot attach 'sample' to cpu_clock/,
    );
  });
});

describeKernel("iterators", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();

  /** Writes one 32-bit number for each object, none for the end: `struct bpf_iter__*` begins with meta, then the object. */
  const writer = (name: string): Program =>
    program(
      "tracing",
      name,
      {
        entry: [
          ldxdw(r2, [r1, 8]),
          jeq(r2, 0, "out"),
          ldxdw(r1, [r1, 0]), // struct bpf_iter_meta
          ldxdw(r1, [r1, 0]), // its seq
          stw([r10, -8], 1),
          mov(r2, r10),
          add(r2, -8),
          mov(r3, 4),
          call(bpf_seq_write),
        ],
        out: [mov32(r0, 0), exit()],
      },
      { attachType: "trace_iter" },
    );

  test("of tasks", () => {
    using prog = BpfProgram.load(writer("tasks"), { sys, attachTo: "task" });
    using link = attachIterator(prog, {}, { sys });
    expect(link.info()).toMatchObject({ kind: "iter", name: "task", tid: 0, pid: 0 });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "iter", target_name: "task" });
    const all = link.read();
    expect(all.length / 4).toBeGreaterThan(10);
    using one = attachIterator(prog, { pid: process.pid }, { sys });
    expect(one.info()).toMatchObject({ pid: process.pid });
    expect(one.read().length / 4).toBeLessThan(all.length / 4);
    expect([...new Uint32Array(one.read().slice().buffer)][0]).toBe(1);
  });

  test("a pinned one is a file, and is updated in place", () => {
    using prog = BpfProgram.load(writer("tasks"), { sys, attachTo: "task" });
    using silent = counter(sys, "tracing", "silent", { attachType: "trace_iter", attachTo: "task" });
    using link = attachIterator(prog, {}, { sys });
    link.pin(pin("tasks"));
    expect(readFileSync(pin("tasks")).length).toBeGreaterThan(40);
    link.update(silent.prog, { expected: prog });
    expect(readFileSync(pin("tasks")).length).toBe(0);
    expect(silent.count()).toBeGreaterThan(10);
    expect(link.info().progId).toBe(silent.prog.info().id);
    expect(() => link.update(prog, { expected: prog })).toThrow(
      `its program is ${silent.prog.info().id}, not the expected 'tasks'`,
    );
  });

  test("of a map's elements takes the map, or this kernel takes no such program and says so", () => {
    const load = () =>
      counter(sys, "tracing", "elements", { attachType: "trace_iter", attachTo: "bpf_map_elem" });
    let loaded: ReturnType<typeof load>;
    try {
      loaded = load();
    } catch (error) {
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error).toMatchObject({ feature: "programs for the iterator bpf_map_elem", since: undefined });
      expect((error as Error).message).toMatch(
        new RegExp(
          "^cannot load 'elements': this kernel takes no programs for the iterator bpf_map_elem\n" +
            " {2}the verifier refused program 'elements': EPERM \\(Operation not permitted\\)\n" +
            " {2}This process has the capabilities for it, and the verifier stops before the first instruction",
        ),
      );
      return;
    }
    using prog = loaded;
    using map = BpfMap.create(mapDef({ name: "m", type: "hash", key: u32, value: u32, maxEntries: 9 }), {
      sys,
    });
    for (const key of [1, 2, 3]) map.set(key, key);
    using link = attachIterator(prog.prog, { map }, { sys });
    link.read();
    expect(prog.count()).toBe(3 + 1); // and the end
    expect(link.info()).toMatchObject({ kind: "iter", name: "bpf_map_elem", mapId: map.info().id });
    expect(() => attachIterator(prog.prog, {}, { sys })).toThrow(
      /^cannot attach iterator 'elements': E\w+\n.*\n {2}.*(give it one|target that fits)/,
    );
    expect(() => attachIterator(prog.prog, { pid: 1, tid: 1 }, { sys })).toThrow(
      "an iterator takes one of map, cgroup, tid and pid",
    );
  });

  test("of cgroups starts at one of them", () => {
    const path = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "";
    using prog = counter(sys, "tracing", "cgroups", { attachType: "trace_iter", attachTo: "cgroup" });
    using link = attachIterator(prog.prog, { cgroup: { path, order: "self" } }, { sys });
    link.read();
    expect(prog.count()).toBe(1 + 1);
    expect(link.info()).toMatchObject({ name: "cgroup", cgroupId: statSync(path, { bigint: true }).ino });
  });

  test("one that the kernel does not have", () => {
    expect(() => BpfProgram.load(writer("typo"), { sys, attachTo: "taks" })).toThrow(
      "program 'typo': the running kernel has no iterator 'taks'\n  Did you mean 'task'?",
    );
  });
});

describeKernel("uprobe links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const libc = /^.* (\/.*\/libc\.so\.6)$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[1] ?? "";
  const library = koffi.load("libc.so.6");
  const getppid = library.func("int getppid()");
  const getuid = library.func("int getuid()");

  test("a function of a library is seen to be called, in any process or in one", () => {
    using seen = counter(sys, "kprobe", "on_getppid");
    using link = attachUprobe(
      seen.prog,
      { path: libc, symbol: "getppid" },
      { sys, pid: process.pid, cookie: 9 },
    );
    for (let i = 0; i < 3; i++) getppid();
    expect(seen.count()).toBe(3);
    const offset = readElfFunctions(libc).get("getppid");
    const event = { type: "uprobe", path: libc, offset, cookie: 9n };
    expect(link.info()).toMatchObject({ kind: "perf_event", event });
    expect(bpftoolLink(link.id)).toMatchObject({ retprobe: false, file: libc, offset });
    link.pin(pin("getppid"));
    link.close();
    getppid();
    expect(seen.count()).toBe(4);
    using again = openLink(pin("getppid"), { sys });
    expect(again.id).toBe(link.id);
  });

  test("a return, and every process", () => {
    using seen = counter(sys, "kprobe", "on_return");
    using everywhere = counter(sys, "kprobe", "everywhere");
    using link = attachUprobe(
      seen.prog,
      { path: libc, symbol: "getppid" },
      { sys, pid: process.pid, returns: true },
    );
    using all = attachUprobe(everywhere.prog, { path: libc, symbol: "getppid" }, { sys });
    getppid();
    expect(seen.count()).toBe(1);
    expect(everywhere.count()).toBeGreaterThan(0);
    expect(link.info()).toMatchObject({ event: { type: "uretprobe" } });
    link.detach();
    all.detach();
    getppid();
    expect(seen.count()).toBe(1);
  });

  test("several functions in one link", () => {
    using seen = counter(sys, "kprobe", "several", { attachType: "trace_uprobe_multi" });
    const target = { path: libc, symbols: ["getppid", "getuid"] };
    using link = attachUprobeMulti(seen.prog, target, { sys, pid: process.pid, cookies: [1, 2] });
    getppid();
    getuid();
    expect(seen.count()).toBe(2);
    expect(link.info()).toMatchObject({
      kind: "uprobe_multi",
      path: libc,
      count: 2,
      returns: false,
      pid: process.pid,
    });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "uprobe_multi", func_cnt: 2 });
    link.close();
    getppid();
    expect(seen.count()).toBe(2);
    using matching = attachUprobeMulti(
      seen.prog,
      { path: libc, symbols: /^getp?pid$/ },
      { sys, pid: process.pid, returns: true },
    );
    getppid();
    expect(seen.count()).toBe(3);
    expect(matching.info()).toMatchObject({ returns: true, count: 2 });
  });

  test("functions that are not there", () => {
    using seen = counter(sys, "kprobe", "typo");
    expect(() => attachUprobe(seen.prog, { path: libc, symbol: "getpidd" }, { sys })).toThrow(
      `${libc} has no function 'getpidd'\n  Did you mean 'getpid'?`,
    );
    expect(() => attachUprobe(seen.prog, { path: "/etc/passwd", symbol: "main" }, { sys })).toThrow(
      "/etc/passwd is not an ELF file",
    );
    expect(() => attachUprobeMulti(seen.prog, { path: libc, symbols: /^nothing$/ }, { sys })).toThrow(
      `${libc} has no function whose name matches /^nothing$/`,
    );
    expect(() => attachUprobeMulti(seen.prog, { path: libc, symbols: ["getpid"] }, { sys })).toThrow(
      /EINVAL\n.*\n {2}It takes a program of type kprobe with the attach type trace_uprobe_multi\.$/,
    );
  });
});

describeKernel("kprobe links", () => {
  const sys = tracedSyscalls();
  const has = (symbol: string): boolean => readFileSync("/proc/kallsyms", "utf8").includes(` ${symbol}\n`);

  test("one function: it is seen, or this kernel has no kprobes and says so", () => {
    using seen = counter(sys, "kprobe", "on_exec");
    const attach = () => attachKprobe(seen.prog, "do_nanosleep", { sys });
    if (existsSync("/sys/bus/event_source/devices/kprobe")) {
      using link = attach();
      execFileSync("sleep", ["0.01"]);
      expect(seen.count()).toBeGreaterThan(0);
      expect(link.info()).toMatchObject({ event: { type: "kprobe", function: "do_nanosleep" } });
      return;
    }
    const error = thrown(attach);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ feature: "kprobes", since: "4.17" });
    expect(error.message).toMatch(
      /^cannot attach 'on_exec' to kernel function do_nanosleep: this kernel has no kprobes\n.*\n {2}It came with kernel 4\.17 and takes CONFIG_KPROBE_EVENTS=y; this one is [\w.-]+\. Tracepoints/,
    );
  });

  test("several functions: they are seen, or this kernel has no fprobes and says so", () => {
    using seen = counter(sys, "kprobe", "several", { attachType: "trace_kprobe_multi" });
    const attach = () => attachKprobeMulti(seen.prog, ["do_nanosleep"], { sys });
    if (has("fprobe_handler") || has("register_fprobe")) {
      using link = attach();
      execFileSync("sleep", ["0.01"]);
      expect(seen.count()).toBeGreaterThan(0);
      expect(link.info()).toMatchObject({ kind: "kprobe_multi", count: 1 });
      return;
    }
    const error = thrown(attach);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ feature: "kprobe_multi links", since: "5.18" });
    expect(error.message).toMatch(
      /^cannot attach 'several' to 1 kernel functions: this kernel has no kprobe_multi links\n {2}bpf\(BPF_LINK_CREATE\) failed: EOPNOTSUPP/,
    );
  });
});

describeKernel("links of trampolines", () => {
  const sys = tracedSyscalls();

  // Each is attached where the kernel takes such programs; here it takes none, and the error says so.
  test.each([
    ["fentry", "tracing", "trace_fentry", "hrtimer_nanosleep", "5.5"],
    ["fexit", "tracing", "trace_fexit", "hrtimer_nanosleep", "5.5"],
    ["fmod_ret", "tracing", "modify_return", "bpf_modify_return_test", "5.7"],
    ["LSM", "lsm", "lsm_mac", "bprm_check_security", "5.7"],
  ] as const)("%s", (name, type, attachType, attachTo, since) => {
    let seen: ReturnType<typeof counter>;
    try {
      seen = counter(sys, type, "probe", { attachType, attachTo });
    } catch (error) {
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error).toMatchObject({ feature: `${name} programs`, since });
      expect((error as Error).message).toMatch(
        new RegExp(
          `^cannot load 'probe': this kernel takes no ${name} programs\n {2}bpf\\(BPF_PROG_LOAD\\) failed: EPERM .*\n` +
            ` {2}It came with kernel ${since} and takes permission to patch kernel code`,
        ),
      );
      return;
    }
    using _seen = seen;
    using link = attachTracing(seen.prog, { sys });
    expect(link.kind).toBe("tracing");
    execFileSync("sleep", ["0.01"]);
    if (name !== "fmod_ret") expect(seen.count()).toBeGreaterThan(0);
    link.detach();
    const before = seen.count();
    execFileSync("sleep", ["0.01"]);
    expect(seen.count()).toBe(before);
  });

  test("freplace", () => {
    using target = counter(sys, "xdp", "target");
    const load = () => counter(sys, "ext", "better", { attachTo: { program: target.prog } });
    const error = thrown(load);
    expect(error).toMatchObject({
      feature: "programs that replace a function of another one (freplace)",
      since: "5.6",
    });
    expect(() =>
      counter(sys, "ext", "better", { attachTo: { program: target.prog, function: "targte" } }),
    ).toThrow("program 'better': 'target' has no function 'targte'\n  Did you mean 'target'?");
    expect(() => counter(sys, "ext", "better", { attachTo: "target" })).toThrow(
      "A program of type ext replaces a function of another program: attachTo: { program, function }.",
    );
  });

  test("what is asked of the kernel, where it takes them", () => {
    // This kernel refuses to load them: another program stands in, and the request for the link is looked at.
    const asked: Uint8Array[] = [];
    using raw = counter(sys, "raw_tracepoint", "raw");
    const willing = {
      ...sys,
      bpf(cmd: number, attr: Uint8Array): number {
        if (cmd === bpf_cmd.BPF_PROG_LOAD) return raw.prog.fd;
        if (cmd !== bpf_cmd.BPF_LINK_CREATE) return sys.bpf(cmd, attr);
        asked.push(attr.slice());
        return -EINVAL;
      },
      close: (fd: number) => (fd === raw.prog.fd ? 0 : sys.close(fd)),
    };
    const entry = [mov32(r0, 0), exit()];
    const def = program("tracing", "entry", { entry }, { attachType: "trace_fentry" });
    using prog = BpfProgram.load(def, { sys: willing, attachTo: "hrtimer_nanosleep" });
    expect(() => attachTracing(prog, { sys: willing, cookie: 7 })).toThrow("EINVAL");
    const view = new DataView(asked[0]?.buffer ?? new ArrayBuffer(0));
    const fields = [
      bpf_attr_link_create.prog_fd,
      bpf_attr_link_create.target_fd,
      bpf_attr_link_create.attach_type,
    ];
    expect(fields.map((at) => view.getUint32(at, LITTLE_ENDIAN))).toEqual([raw.prog.fd, 0, 24]);
    expect(view.getBigUint64(bpf_attr_link_create_tracing.cookie, LITTLE_ENDIAN)).toBe(7n);
    expect(() => attachTracing(prog, { sys: willing })).toThrow(/BPF_RAW_TRACEPOINT_OPEN\) failed: E/);
  });

  test("a program that was not loaded for a target", () => {
    using seen = counter(sys, "kprobe", "probe");
    expect(() => attachTracing(seen.prog, { sys })).toThrow(
      /^cannot attach 'probe' to the function it was loaded for: EINVAL\n/,
    );
  });
});
