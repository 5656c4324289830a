import { closeSync, openSync, readFileSync } from "node:fs";
import koffi from "koffi";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, char, pointer, s32, struct, u16, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachKprobe,
  attachPerfEvent,
  attachTracepoint,
  attachTracing,
  attachUprobe,
  BpfMap,
  BpfProgram,
  functionArguments,
  kernelLayout,
  RingBuffer,
  tracepointLayout,
  UnsupportedError,
} from "../../../src/kernel/index.ts";
import {
  fentry,
  fexit,
  kprobe,
  perfEvent,
  perfEventContext,
  registers,
  tracepoint,
} from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const Call = struct("call", { path: array(char, 32), mode: u32, result: s32 });
const calls = mapDef({ name: "calls", type: "ringbuf", maxEntries: 65536 });

describeKernel("programs at functions and samples", () => {
  const libc = /^.* (\/.*\/libc\.so\.6)$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[1] ?? "";
  const access = koffi.load("libc.so.6").func("int access(const char *path, int mode)");

  test("a function of a process: its arguments by number, a text of its memory, and its result", () => {
    const enters = kprobe("enters", registers(process.arch), ($) => {
      const record = $.reserve(calls, Call, { else: () => $.return(0) });
      $.copyText(record.path, $.ctx.arg0, { from: "user" });
      record.mode.set($.ctx.arg1.to(u32));
      record.result.set(1);
      $.submit(record);
      return $.return(0);
    });
    const leaves = kprobe("leaves", registers(process.arch), ($) => {
      $.output(calls, $.struct(Call, { result: $.ctx.result.to(s32) }));
      return $.return(0);
    });
    using map = BpfMap.create(calls);
    using entering = BpfProgram.load(enters, { maps: [map] });
    using leaving = BpfProgram.load(leaves, { maps: [map] });
    using ring = RingBuffer.open(map, Call);
    const where = { path: libc, symbol: "access" };
    using _enter = attachUprobe(entering, where, { pid: process.pid });
    using _leave = attachUprobe(leaving, where, { pid: process.pid, returns: true });
    expect(access("/no/such/file", 4)).toBe(-1);
    expect(ring.take(10)).toEqual([
      { path: "/no/such/file", mode: 4, result: 1 },
      { path: "", mode: 0, result: -1 },
    ]);
  });

  test("samples of a counter: where the process was", () => {
    const seen = mapDef({ name: "seen", type: "array", key: u32, value: u64, maxEntries: 2 });
    const program = perfEvent("sample", perfEventContext(process.arch), ($) => {
      const { ip, sample_period } = $.ctx;
      $.lookup(seen, 0, (slot) => slot.set(ip));
      $.lookup(seen, 1, (slot) => slot.set(sample_period));
      return $.return(0);
    });
    using map = BpfMap.create(seen);
    using prog = BpfProgram.load(program, { maps: [map] });
    using _link = attachPerfEvent(prog, { software: "cpu_clock" }, { period: 1_000_000, pid: process.pid });
    const until = performance.now() + 2_000;
    while (map.get(0) === 0n && performance.now() < until);
    expect(map.get(0)).toBeGreaterThan(4096n);
    expect(map.get(1)).toBe(1_000_000n);
  });

  test("memory of a process: the file name and a struct of a system call", () => {
    const How = struct("open_how", { flags: u64, mode: u64, resolve: u64 });
    const Open = tracepointLayout("syscalls:sys_enter_openat", { dfd: s32, filename: u64, flags: u32 });
    const program = tracepoint("on_open", Open, ($) => {
      const record = $.reserve(calls, Call, { else: () => $.return(0) });
      $.copyText(record.path, $.ctx.filename, { from: "user" });
      // The name's first eight bytes as a number, of the process's memory.
      record.mode.set($.view($.ctx.filename, How, { from: "user" }).flags.to(u32));
      record.result.set($.ctx.dfd);
      $.submit(record);
      return $.return(0);
    });
    using map = BpfMap.create(calls);
    using prog = BpfProgram.load(program, { maps: [map] });
    using ring = RingBuffer.open(map, Call);
    using _link = attachTracepoint(prog, "syscalls:sys_enter_openat");
    closeSync(openSync("/proc/self/cmdline", "r"));
    const bytes = new TextEncoder().encode("/pro");
    expect(ring.take(1000)).toContainEqual({
      path: "/proc/self/cmdline",
      mode: new DataView(bytes.buffer).getUint32(0, true),
      result: -100, // AT_FDCWD
    });
  });

  const Sock = kernelLayout(
    "sock",
    { sk_protocol: u16, sk_family: u16 },
    { names: { sk_family: "__sk_common.skc_family" } },
  );

  test("a kernel function by its registers is loaded; it is attached where the kernel has kprobes", () => {
    const program = kprobe("connects", registers(process.arch), ($) => {
      const sk = $.view($.ctx.arg0, Sock);
      return $.return(sk.sk_protocol.to(u32).or(sk.sk_family.to(u32)));
    });
    using prog = BpfProgram.load(program);
    let error: unknown;
    try {
      attachKprobe(prog, "tcp_connect").close();
    } catch (thrown) {
      error = thrown;
    }
    if (error !== undefined) expect(error).toBeInstanceOf(UnsupportedError);
  });

  test.each([
    ["fentry", fentry],
    ["fexit", fexit],
  ] as const)("%s is loaded for the function of its arguments, or the error says why not", (name, kind) => {
    const Connect = functionArguments("tcp_connect", { sk: pointer(Sock), result: s32 });
    const program = kind("connects", Connect, ($) => {
      $.if($.ctx.sk.sk_protocol.eq(6), () => $.printk`TCP`);
      return $.return(0);
    });
    expect(program.attachTo).toBe("tcp_connect");
    let error: unknown;
    try {
      using prog = BpfProgram.load(program);
      attachTracing(prog).close();
    } catch (thrown) {
      error = thrown;
    }
    if (error === undefined) return;
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ feature: `${name} programs` });
  });
});
