import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { add, add32, and32, lsh, mov, mov32, sub } from "../../src/asm/alu.ts";
import { call, kfunc } from "../../src/asm/call.ts";
import { decode } from "../../src/asm/decode.ts";
import { disassemble } from "../../src/asm/disassemble.ts";
import { exit, jeq, jgt, jne } from "../../src/asm/jump.ts";
import {
  callback,
  ksym,
  lddw,
  ldxdw,
  ldxw,
  mapFd,
  stdw,
  stw,
  stxdw,
  stxw,
} from "../../src/asm/load-store.ts";
import { mapDef } from "../../src/asm/map-def.ts";
import {
  type AttachTypeName,
  type ProgTypeName,
  program,
  schedCls,
  subprogram,
  xdp,
} from "../../src/asm/program.ts";
import { r0, r1, r2, r3, r4, r6, r10 } from "../../src/asm/register.ts";
import { setSourceCapture } from "../../src/asm/source-position.ts";
import { pointer, struct, u32, u64 } from "../../src/btf/layout/index.ts";
import { kernelStruct } from "../../src/btf/lookup.ts";
import { findKfunc } from "../../src/kernel/kfunc.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { xdpTestContext } from "../../src/kernel/test-run.ts";
import { VerifierError } from "../../src/kernel/verifier-error.ts";
import { ksymId, vmlinuxBtf } from "../../src/kernel/vmlinux.ts";
import { SyscallError } from "../../src/syscall/errno.ts";
import { FdClosedError } from "../../src/syscall/fd.ts";
import {
  BPF_BTF_LOAD,
  BPF_F_SLEEPABLE,
  BPF_PROG_LOAD,
  TC_ACT_SHOT,
  TC_ACT_UNSPEC,
  XDP_DROP,
  XDP_PASS,
  XDP_TX,
} from "../../src/uapi/bpf.ts";
import { E2BIG, EINVAL, EMFILE, ENOMEM, EPERM } from "../../src/uapi/errno.ts";
import {
  bpf_get_smp_processor_id,
  bpf_loop,
  bpf_map_lookup_elem,
  bpf_tail_call,
  bpf_this_cpu_ptr,
  bpf_xdp_adjust_head,
  bpf_xdp_adjust_tail,
} from "../../src/uapi/helpers.ts";
import { __sk_buff, xdp_md } from "../../src/uapi/structs.ts";
import { failNth } from "../support/failing-syscalls.ts";
import { failure } from "../support/failure.ts";
import { inNetns } from "../support/in-netns.ts";
import { ensureBpffs } from "../support/mounts.ts";
import { createTestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const FILE = fileURLToPath(import.meta.url);
const packet = new Uint8Array(64).fill(0xab);

/** Whether bpftool is there; the reason goes into the test's name otherwise. */
const bpftool = ["/usr/sbin/bpftool", "/usr/local/sbin/bpftool", "/usr/bin/bpftool"].some(existsSync);
const needsBpftool = (name: string): string => (bpftool ? name : `${name} [skipped: no bpftool]`);
const runBpftool = (...args: readonly string[]): string =>
  execFileSync("bpftool", args, { encoding: "utf8" });

describeKernel("load", () => {
  test.each<[ProgTypeName, AttachTypeName?, number?]>([
    ["xdp"],
    ["xdp", "xdp_cpumap"],
    ["xdp", "xdp_devmap"],
    ["sched_cls"],
    ["sched_act"],
    ["socket_filter"],
    ["cgroup_skb", "cgroup_inet_ingress"],
    ["cgroup_sock", "cgroup_inet_sock_create"],
    ["cgroup_sock_addr", "cgroup_inet4_connect"],
    ["cgroup_device"],
    ["cgroup_sysctl", "cgroup_sysctl"],
    ["cgroup_sockopt", "cgroup_getsockopt"],
    ["sock_ops"],
    ["sk_skb", "sk_skb_stream_parser"],
    ["sk_msg"],
    ["sk_lookup", "sk_lookup"],
    ["sk_reuseport"],
    ["flow_dissector"],
    ["lwt_in"],
    ["lwt_out"],
    ["lwt_xmit"],
    ["tracepoint"],
    ["raw_tracepoint"],
    ["raw_tracepoint_writable"],
    ["perf_event"],
    ["kprobe"],
    ["netfilter", "netfilter"],
  ])("%s %s", (type, attachType) => {
    const options = attachType === undefined ? {} : { attachType };
    const one = program(type, "one", { entry: [mov32(r0, 1), exit()] }, options);
    using prog = BpfProgram.load(one, { sys });
    expect(prog.btfRefusal).toBeUndefined();
    expect(prog.info()).toMatchObject({ name: "one", type: prog.type, mapIds: [] });
    expect(prog.info().btfId).not.toBe(0);
  });

  test("the tag is that of the instructions alone", () => {
    const make = (name: string, value: number) =>
      BpfProgram.load(xdp(name, { entry: [mov32(r0, value), exit()] }), { sys });
    using a = make("first", 1);
    using b = make("second", 1);
    using c = make("third", 2);
    expect(a.info().tag).toMatch(/^[0-9a-f]{16}$/);
    expect(b.info().tag).toBe(a.info().tag);
    expect(c.info().tag).not.toBe(a.info().tag);
  });

  test("opened by pin and by id", () => {
    const path = `${ensureBpffs()}/tsbpf-test-prog-${process.pid}`;
    afterAll(() => rmSync(path, { force: true }));
    let id: number;
    {
      using prog = BpfProgram.load(xdp("pinned", { entry: [mov32(r0, 1), exit()] }), { sys });
      prog.pin(path);
      id = prog.info().id;
    }
    using again = BpfProgram.open(path, { sys });
    expect(again).toMatchObject({ name: "pinned", type: 6, log: "" });
    using byId = BpfProgram.fromId(id, { sys });
    expect(byId?.info()).toEqual(again.info());
    rmSync(path);
    expect(failure(() => BpfProgram.open(path, { sys }))).toMatchObject({ code: "ENOENT" });
    expect(BpfProgram.fromId(0x7fff_ffff, { sys })).toBeUndefined();
  });

  test("closed, it says so", () => {
    const prog = BpfProgram.load(xdp("gone", { entry: [mov32(r0, 1), exit()] }), { sys });
    prog.close();
    prog.close();
    expect(prog.closed).toBe(true);
    expect(() => prog.info()).toThrow(FdClosedError);
    expect(() => prog.info()).toThrow("program 'gone' is closed");
  });

  test("without capabilities: what is lacking", () => {
    const child = fileURLToPath(new URL("./unprivileged-load.ts", import.meta.url));
    const dropped = ["--bounding-set=-all", "--inh-caps=-all"];
    const output = execFileSync("setpriv", [...dropped, process.execPath, "--import", "tsx", child], {
      encoding: "utf8",
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
    });
    const messages = JSON.parse(output) as Record<"xdp" | "socket_filter" | "map", string>;
    expect(messages.xdp).toMatch(
      /^bpf\(BPF_PROG_LOAD\) failed: EPERM \(Operation not permitted\) \[name=denied, type=xdp\]\n {2}This process lacks CAP_BPF/,
    );
    expect(messages.xdp).toContain("CAP_NET_ADMIN");
    expect(messages.map).toMatch(/^bpf\(BPF_MAP_CREATE\) failed: EPERM .*\n {2}This process lacks CAP_BPF/);
    const allowed = readFileSync("/proc/sys/kernel/unprivileged_bpf_disabled", "utf8").trim() === "0";
    if (allowed) expect(messages.socket_filter).toBe("taken");
    else expect(messages.socket_filter).toContain("EPERM");
  });
});

describeKernel("the verifier's log", () => {
  const small = xdp("small", { entry: [mov32(r0, XDP_PASS), exit()] });

  test("only when asked for", () => {
    using quiet = BpfProgram.load(small, { sys });
    using path = BpfProgram.load(small, { sys, logLevel: 1 });
    using states = BpfProgram.load(small, { sys, logLevel: 2 });
    expect(quiet.log).toBe("");
    expect(path.log).toMatch(/processed 2 insns/);
    expect(states.log).toContain("(b4) w0 = 2");
    expect(states.log.length).toBeGreaterThan(path.log.length);
  });

  test("of any size, from its first line to its last", () => {
    // 3,000 instructions and their states: several times the first buffer.
    const insns = Array.from({ length: 3000 }, () => add32(r0, 1));
    const large = xdp("large", { entry: [mov32(r0, 0), ...insns, mov32(r0, XDP_PASS), exit()] });
    using prog = BpfProgram.load(large, { sys, logLevel: 2 });
    expect(prog.log.length).toBeGreaterThan(0x1_0000);
    expect(prog.log.trimStart()).toMatch(/^(func#0|0: )/);
    expect(prog.log).toMatch(/processed 3003 insns/);
    for (const offset of [1, 1500, 3000]) expect(prog.log).toContain(`${offset}: (04) w0 += 1`);
  });
});

describeKernel("source lines", () => {
  const counted = mapDef({ name: "counted", type: "array", key: u32, value: u64, maxEntries: 1 });
  const helper = subprogram("bump", { entry: [mov(r0, r1), add(r0, 1), exit()] });
  const sample = xdp("with_lines", {
    entry: [
      lddw(r1, mapFd(counted)),
      stw([r10, -4], 0),
      mov(r2, r10),
      add(r2, -4),
      call(bpf_map_lookup_elem),
      jeq(r0, 0, "out"),
      ldxdw(r1, [r0, 0]),
      call(helper),
    ],
    out: [mov32(r0, XDP_PASS), exit()],
  });

  test.skipIf(!bpftool)(needsBpftool("bpftool prog dump xlated linum shows file, line and text"), () => {
    using map = BpfMap.create(counted, { sys });
    using prog = BpfProgram.load(sample, { sys, maps: [map] });
    const dump = runBpftool("prog", "dump", "xlated", "id", String(prog.info().id), "linum");
    const source = readFileSync(FILE, "utf8").split("\n");
    for (const text of ["stw([r10, -4], 0),", "call(bpf_map_lookup_elem),", 'jeq(r0, 0, "out"),']) {
      const line = source.findIndex((candidate) => candidate.trim() === text) + 1;
      expect(dump).toContain(`; ${text} [file:test/kernel/program.test.ts line_num:${line} line_col:7]`);
    }
    expect(dump).toContain("int with_lines(struct xdp_md * ctx):");
    expect(dump).toMatch(/unsigned long long bump\(\):/);
  });

  test.skipIf(!bpftool)(needsBpftool("without captured lines there is a listing all the same"), () => {
    const before = setSourceCapture(false);
    try {
      const blind = xdp("blind", { entry: [mov32(r0, XDP_PASS), exit()] });
      using prog = BpfProgram.load(blind, { sys });
      expect(prog.btfRefusal).toBeUndefined();
      expect(runBpftool("prog", "dump", "xlated", "id", String(prog.info().id), "linum")).toContain(
        "int blind(struct xdp_md * ctx):",
      );
    } finally {
      setSourceCapture(before);
    }
  });

  test("xlated and jited code", () => {
    using map = BpfMap.create(counted, { sys });
    using prog = BpfProgram.load(sample, { sys, maps: [map] });
    const info = prog.info();
    const xlated = prog.xlated();
    expect(xlated?.length).toBe(info.xlatedLength);
    const names = { map: (id: number) => (id === map.info().id ? "counted" : undefined) };
    const lines = disassemble(decode(xlated as Uint8Array, { form: "xlated" }), { form: "xlated", names });
    expect(lines.map(({ text }) => text).slice(0, 3)).toEqual([
      "r1 = map[id:counted]",
      "*(u32 *)(r10 -4) = 0",
      "r2 = r10",
    ]);
    if (info.jitedLength > 0) expect(prog.jited()?.length).toBe(info.jitedLength);
    else expect(prog.jited()).toBeUndefined();
  });
});

describeKernel("maps", () => {
  const make = (maxEntries = 1) =>
    mapDef({ name: "numbers", type: "array", key: u32, value: u32, maxEntries });
  const reader = (def: ReturnType<typeof make>) =>
    xdp("reader", {
      entry: [
        stw([r10, -4], 0),
        lddw(r1, mapFd(def)),
        mov(r2, r10),
        add(r2, -4),
        call(bpf_map_lookup_elem),
        jeq(r0, 0, "out"),
        ldxw(r0, [r0, 0]),
      ],
      out: [exit()],
    });

  test("a map that was opened by its id serves as well", () => {
    const def = make();
    using created = BpfMap.create(def, { sys });
    created.set(0, 41);
    using opened = BpfMap.fromId(def, created.info().id, { sys });
    using prog = BpfProgram.load(reader(def), { sys, maps: opened === undefined ? [] : [opened] });
    expect(prog.info().mapIds).toEqual([created.info().id]);
    expect(prog.testRun({ data: packet }).retval).toBe(41);
  });

  test("none was given", () => {
    expect(failure(() => BpfProgram.load(reader(make()), { sys })).message).toBe(
      "program 'reader' uses map 'numbers', and no map was created from that definition\n" +
        "  Create it with BpfMap.create(definition) and give it to load in maps.",
    );
  });

  test("one was given that comes from a definition that only looks the same", () => {
    using map = BpfMap.create(make(), { sys });
    expect(failure(() => BpfProgram.load(reader(make()), { sys, maps: [map] })).hint).toBe(
      "The 'numbers' in maps was created from another definition object (of the same shape): " +
        "make one, and use it for the map and for the program.",
    );
    expect(failure(() => BpfProgram.load(reader(make(7)), { sys, maps: [map] })).hint).toBe(
      "The 'numbers' in maps was created from another definition object (with 1 entries): " +
        "make one, and use it for the map and for the program.",
    );
  });
});

describeKernel("kernel functions and variables", () => {
  /** Builds a dynptr over the packet, and asks for its size: a value that only the kernel knows. */
  const size = xdp("size", {
    entry: [
      mov32(r2, 0),
      mov(r3, r10),
      add(r3, -16),
      call(kfunc("bpf_dynptr_from_xdp")),
      mov(r1, r10),
      add(r1, -16),
      call(kfunc("bpf_dynptr_size")),
      exit(),
    ],
  });

  test("kfuncs are called", () => {
    using prog = BpfProgram.load(size, { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(64);
    expect(prog.testRun({ data: new Uint8Array(100) }).retval).toBe(100);
  });

  const kallsyms = readFileSync("/proc/kallsyms", "utf8");
  const hasVariables = / runqueues$/m.test(kallsyms);
  const sameCpu = () =>
    xdp("same_cpu", {
      entry: [
        call(bpf_get_smp_processor_id),
        mov32(r6, r0),
        lddw(r1, ksym("runqueues")),
        call(bpf_this_cpu_ptr),
        ldxw(r1, [r0, kernelStruct(vmlinuxBtf(), "rq").field("cpu").offset]),
        mov32(r0, XDP_DROP),
        jne(r1, r6, "out"),
        mov32(r0, XDP_TX),
      ],
      out: [exit()],
    });

  test.runIf(hasVariables)("per-CPU variables are read", () => {
    using prog = BpfProgram.load(sameCpu(), { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(XDP_TX);
  });

  test.skipIf(hasVariables)("a kernel without CONFIG_KALLSYMS_ALL finds no variable, and says so", () => {
    expect(failure(() => BpfProgram.load(sameCpu(), { sys })).message).toMatch(
      "failed to find the address for kernel symbol 'runqueues'",
    );
  });

  test("the address of a kernel function", () => {
    const known = xdp("known", {
      entry: [lddw(r1, ksym("bpf_rcu_read_lock")), mov32(r0, XDP_DROP), jeq(r1, 0, "out"), mov32(r0, XDP_TX)],
      out: [exit()],
    });
    using prog = BpfProgram.load(known, { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(XDP_TX);
  });

  test("what the kernel does not have, with what is meant perhaps", () => {
    const source = readFileSync(FILE, "utf8").split("\n");
    const line = source.findIndex((text) => /call\(kfunc\("bpf_dynptr_sise/.test(text)) + 1;
    const bad = xdp("bad", { entry: [call(kfunc("bpf_dynptr_sise")), exit()] });
    expect(failure(() => BpfProgram.load(bad, { sys })).message).toBe(
      "program 'bad': the running kernel has no function 'bpf_dynptr_sise'\n" +
        `  test/kernel/program.test.ts:${line}:38\n` +
        "  Did you mean 'bpf_dynptr_size'?",
    );
    expect(failure(() => ksymId("runqueue")).message).toBe(
      "the running kernel's BTF describes no variable 'runqueue'\n" +
        "  Did you mean 'runqueues'? It describes per-CPU variables only.",
    );
    expect(failure(() => findKfunc("no_such_thing_at_all_in_here")).hint).toBe(
      "Nor has a module that is loaded: if it is in one, load that (modprobe).",
    );
  });

  test("parsed once", () => {
    expect(vmlinuxBtf()).toBe(vmlinuxBtf());
  });
});

describeKernel("functions that run", () => {
  test("a subprogram, called twice", () => {
    const twice = subprogram("twice", { entry: [mov(r0, r1), lsh(r0, 1), exit()] });
    const main = xdp("calls", {
      entry: [mov32(r1, 5), call(twice), mov(r1, r0), call(twice), add(r0, 1), exit()],
    });
    using prog = BpfProgram.load(main, { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(21);
  });

  test("a global function is checked by itself, from its parameters", () => {
    const pair = struct("pair", { a: u32, b: u32 });
    // The length of the packet and the sum of two numbers; -1 without them.
    const add2 = (name: string, checked: typeof r2 | typeof r3) =>
      subprogram(
        name,
        {
          entry: [
            jeq(checked, 0, "none"),
            ldxw(r0, [r3, pair.offset.a]),
            ldxw(r4, [r3, pair.offset.b]),
            add(r0, r4),
            add(r0, r2),
            ldxw(r4, [r1, xdp_md.data_end]),
            ldxw(r1, [r1, xdp_md.data]),
            sub(r4, r1),
            add(r0, r4),
            exit(),
          ],
          none: [mov(r0, -1), exit()],
        },
        { global: { ctx: "context", extra: u32, numbers: pointer(pair) } },
      );
    const main = (callee: ReturnType<typeof add2>, numbers: boolean) =>
      xdp("calls", {
        entry: [
          stw([r10, -8], 30),
          stw([r10, -4], 4),
          mov32(r2, 500),
          ...(numbers ? [mov(r3, r10), add(r3, -8)] : [mov(r3, 0)]),
          call(callee),
          exit(),
        ],
      });
    using prog = BpfProgram.load(main(add2("add2", r3), true), { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(64 + 500 + 34);
    using without = BpfProgram.load(main(add2("add2", r3), false), { sys });
    expect(without.testRun({ data: packet }).retval).toBe(-1);
    // A call gives it numbers, and the verifier does not follow calls: they might be missing.
    const error = failure(() => BpfProgram.load(main(add2("unchecked", r2), true), { sys }));
    expect(error).toBeInstanceOf(VerifierError);
    expect(error.message).toContain("R3 invalid mem access 'mem_or_null'");
    expect(() =>
      subprogram("six", { entry: [exit()] }, { global: { a: u32, b: u32, c: u32, d: u32, e: u32, f: u32 } }),
    ).toThrow("the global function 'six' has more than five parameters");
  });

  test("a callback of bpf_loop", () => {
    // The callback adds its index to the number behind its second argument, and ends the loop at 1000.
    const sum = subprogram("sum", {
      entry: [
        ldxdw(r3, [r2, 0]),
        add(r3, r1),
        stxdw([r2, 0], r3),
        mov32(r0, 0),
        jgt(r3, 1000, "enough"),
        exit(),
      ],
      enough: [mov32(r0, 1), exit()],
    });
    const main = (count: number) =>
      xdp("loops", {
        entry: [
          stdw([r10, -8], 0),
          mov32(r1, count),
          lddw(r2, callback(sum)),
          mov(r3, r10),
          add(r3, -8),
          mov32(r4, 0),
          call(bpf_loop),
          ldxdw(r0, [r10, -8]),
          exit(),
        ],
      });
    using short = BpfProgram.load(main(10), { sys });
    using long = BpfProgram.load(main(100_000), { sys });
    expect(short.testRun({ data: packet }).retval).toBe(45);
    expect(long.testRun({ data: packet }).retval).toBe(1035);
  });

  test("a tail call, and what follows where there is nothing to call", () => {
    const table = mapDef({ name: "table", type: "prog_array", key: u32, value: u32, maxEntries: 2 });
    const target = xdp("target", { entry: [mov32(r0, 77), exit()] });
    const main = xdp("jumper", {
      entry: [
        ldxw(r3, [r1, xdp_md.rx_queue_index]),
        lddw(r2, mapFd(table)),
        call(bpf_tail_call),
        mov32(r0, 11),
        exit(),
      ],
    });
    using map = BpfMap.create(table, { sys });
    using prog = BpfProgram.load(main, { sys, maps: [map] });
    using next = BpfProgram.load(target, { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(11);
    map.set(0, next.fd);
    expect(prog.testRun({ data: packet }).retval).toBe(77);
    expect([...map.entries()]).toEqual([[0, next.info().id]]);
    map.delete(0);
    expect(prog.testRun({ data: packet }).retval).toBe(11);
  });
});

describeKernel("test runs", () => {
  const returning = (value: number) => xdp("returns", { entry: [mov32(r0, value), exit()] });

  test("verdict, packet and time", () => {
    using prog = BpfProgram.load(returning(XDP_PASS), { sys });
    const result = prog.testRun({ data: packet, repeat: 1000 });
    expect(result).toMatchObject({ retval: XDP_PASS, data: packet, ctx: new Uint8Array(0) });
    expect(result.duration).toBeLessThan(1_000_000);
  });

  test("a verdict below zero", () => {
    const next = schedCls("next", { entry: [mov32(r0, TC_ACT_UNSPEC), exit()] });
    using prog = BpfProgram.load(next, { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(-1);
  });

  test("a packet that grows at both ends", () => {
    const grow = xdp("grow", {
      entry: [
        mov(r6, r1),
        mov32(r2, -128),
        call(bpf_xdp_adjust_head),
        mov(r1, r6),
        mov32(r2, 1000),
        call(bpf_xdp_adjust_tail),
        mov32(r0, XDP_TX),
        exit(),
      ],
    });
    using prog = BpfProgram.load(grow, { sys });
    const { retval, data } = prog.testRun({ data: packet });
    expect([retval, data.length]).toEqual([XDP_TX, 128 + 64 + 1000]);
    expect(data.subarray(128, 192)).toEqual(packet);
    expect(failure(() => prog.testRun({ data: packet, room: 100 }))).toMatchObject({
      code: "ENOSPC",
      hint: "The packet grew by more than `room`.",
    });
  });

  test("a context in and out", () => {
    const mark = schedCls("mark", {
      entry: [
        ldxw(r2, [r1, __sk_buff.mark]),
        add32(r2, 1),
        stxw([r1, __sk_buff.mark], r2),
        mov32(r0, TC_ACT_SHOT),
        exit(),
      ],
    });
    using prog = BpfProgram.load(mark, { sys });
    const ctx = new Uint8Array(__sk_buff.size);
    new DataView(ctx.buffer).setUint32(__sk_buff.mark, 41, true);
    const result = prog.testRun({ data: packet, ctx });
    expect(result.retval).toBe(TC_ACT_SHOT);
    expect(new DataView(result.ctx.buffer).getUint32(__sk_buff.mark, true)).toBe(42);
    expect(ctx[__sk_buff.mark]).toBe(41);
  });

  test("metadata before the packet", () => {
    const read = xdp("meta", {
      entry: [
        ldxw(r2, [r1, xdp_md.data_meta]),
        ldxw(r3, [r1, xdp_md.data]),
        mov32(r0, 0),
        mov(r4, r2),
        add(r4, 4),
        jgt(r4, r3, "out"),
        ldxw(r0, [r2, 0]),
        and32(r0, 0xff),
      ],
      out: [exit()],
    });
    using prog = BpfProgram.load(read, { sys });
    const data = Uint8Array.of(9, 8, 7, 6, ...packet);
    const ctx = xdpTestContext(data.length, { metaLength: 4 });
    expect(prog.testRun({ data, ctx }).retval).toBe(9);
    expect(prog.testRun({ data: packet, ctx: xdpTestContext(packet.length) }).retval).toBe(0);
  });

  test("a program that writes into its context", () => {
    const fill = program(
      "syscall",
      "fill",
      {
        entry: [stdw([r1, 0], 7), mov32(r0, 3), exit()],
      },
      { flags: BPF_F_SLEEPABLE },
    );
    using prog = BpfProgram.load(fill, { sys });
    const ctx = new Uint8Array(8);
    const result = prog.testRun({ ctx });
    expect([result.retval, result.ctx[0], ctx[0]]).toEqual([3, 7, 0]);
  });

  test("a raw tracepoint on a chosen CPU", () => {
    const where = program("raw_tracepoint", "where", { entry: [call(bpf_get_smp_processor_id), exit()] });
    using prog = BpfProgram.load(where, { sys });
    const ctx = new Uint8Array(16);
    expect(prog.testRun({ ctx, cpu: 0 }).retval).toBe(0);
  });

  test("live frames go on as the program decides: pings are answered", async () => {
    await using net = await createTestNet();
    using pass = BpfProgram.load(returning(XDP_PASS), { sys });
    using drop = BpfProgram.load(returning(XDP_DROP), { sys });
    const [eth0] = net.inside.links;
    const data = ping();
    const ctx = xdpTestContext(data.length, { ingressIfindex: eth0?.ifindex ?? 0 });
    const run = (prog: BpfProgram, repeat: number) =>
      inNetns(net.inside.path, () => prog.testRun({ data, ctx, repeat, liveFrames: true, batchSize: 10 }));
    const replies = async (): Promise<number> => (await net.stats("outside", "peer0")).rx_packets;
    const before = await replies();
    run(drop, 50);
    expect(run(pass, 100)).toMatchObject({ retval: 0, data: new Uint8Array(0), ctx: new Uint8Array(0) });
    await expect.poll(async () => (await replies()) - before).toBe(100);
  });

  test.each([
    [
      "a packet without a whole header",
      () => returning(2),
      { data: new Uint8Array(13) },
      "A packet begins with its Ethernet header of 14 bytes; 13 were given.",
    ],
    [
      "a context that contradicts the packet",
      () => returning(2),
      { data: packet, ctx: xdpTestContext(99) },
      "The context may say something about the packet that is not so: of XDP use xdpTestContext(data.length).",
    ],
    [
      "live frames of a TC program",
      () => schedCls("tc", { entry: [mov32(r0, 0), exit()] }),
      { data: packet, liveFrames: true },
      "Live frames are for XDP programs, from kernel 5.18 on.",
    ],
    [
      "a type that needs a context",
      () => program("sk_lookup", "lookup", { entry: [mov32(r0, 1), exit()] }, { attachType: "sk_lookup" }),
      {},
      "This type of program may need a context (ctx), or take no packet (data).",
    ],
    [
      "a type without test runs",
      () => program("kprobe", "probe", { entry: [mov32(r0, 1), exit()] }),
      {},
      "The kernel has no test run for this type of program.",
    ],
  ])("%s", (_, make, options, hint) => {
    using prog = BpfProgram.load(make(), { sys });
    expect(failure(() => prog.testRun(options))).toMatchObject({
      call: "bpf(BPF_PROG_TEST_RUN)",
      hint,
    });
  });
});

describeKernel("BTF that the kernel does not take", () => {
  const small = xdp("small", { entry: [mov32(r0, XDP_PASS), exit()] });
  const nop = subprogram("nop", { entry: [mov32(r0, 0), exit()] });
  const withCallback = xdp("with_callback", {
    entry: [
      mov32(r1, 1),
      lddw(r2, callback(nop)),
      mov32(r3, 0),
      mov32(r4, 0),
      call(bpf_loop),
      mov32(r0, XDP_PASS),
      exit(),
    ],
  });
  const cmd =
    (wanted: number) =>
    (name: string, [actual]: readonly unknown[]) =>
      name === "bpf" && actual === wanted;

  test.each([
    ["a kernel that knows no BTF", BPF_BTF_LOAD, EINVAL, "bpf(BPF_BTF_LOAD) failed: EINVAL"],
    ["a process that may not load it", BPF_BTF_LOAD, EPERM, "bpf(BPF_BTF_LOAD) failed: EPERM"],
    ["a kernel that knows it and not here", BPF_PROG_LOAD, E2BIG, "bpf(BPF_PROG_LOAD) failed: E2BIG"],
  ])("%s: the program runs without, and says why", (_, wanted, errno, refusal) => {
    // For E2BIG both the quiet attempt and the one with a log are refused.
    const failing = failNth(sys, 1, errno, cmd(wanted));
    const twice = errno === E2BIG ? failNth(failing.sys, 2, errno, cmd(wanted)).sys : failing.sys;
    using prog = BpfProgram.load(small, { sys: twice });
    expect(prog.info().btfId).toBe(0);
    expect(prog.btfRefusal?.message).toMatch(refusal);
    expect(prog.testRun({ data: packet }).retval).toBe(XDP_PASS);
  });

  test("a program with a callback cannot do without", () => {
    const failing = failNth(sys, 1, EINVAL, cmd(BPF_BTF_LOAD));
    expect(failure(() => BpfProgram.load(withCallback, { sys: failing.sys })).message).toMatch(
      /^bpf\(BPF_BTF_LOAD\) failed: EINVAL \(Invalid argument\) \[of=program 'with_callback'\]/,
    );
    using prog = BpfProgram.load(withCallback, { sys });
    expect(prog.testRun({ data: packet }).retval).toBe(XDP_PASS);
  });

  test.each([
    [ENOMEM, "ENOMEM"],
    [EMFILE, "EMFILE"],
  ])("a machine out of something is no opinion about BTF (%#)", (errno, code) => {
    const failing = failNth(sys, 1, errno, cmd(BPF_BTF_LOAD));
    const error = failure(() => BpfProgram.load(small, { sys: failing.sys }));
    expect(error).toBeInstanceOf(SyscallError);
    expect(error).toMatchObject({ call: "bpf(BPF_BTF_LOAD)", code });
  });

  test("a refusal that the kernel explains keeps its words", () => {
    // Real BTF with its magic number spoilt: the kernel's own complaint comes back.
    const spoilt = {
      ...sys,
      addressOf: (buffer: Uint8Array) => {
        if (buffer[0] === 0x9f && buffer[1] === 0xeb) buffer[0] = 0;
        return sys.addressOf(buffer);
      },
    };
    using prog = BpfProgram.load(small, { sys: spoilt });
    expect(prog.btfRefusal?.message).toContain("Invalid magic");
  });
});

/** An ICMP echo request from peer0 to eth0 of a test network, from its Ethernet header on. */
function ping(): Uint8Array {
  const ip = Uint8Array.of(0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1);
  const icmp = Uint8Array.of(8, 0, 0, 0, 0x12, 0x34, 0, 1);
  new DataView(ip.buffer).setUint16(10, checksum(ip));
  new DataView(icmp.buffer).setUint16(2, checksum(icmp));
  return Uint8Array.of(2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, ...ip, ...icmp);
}

/** RFC 1071. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}
