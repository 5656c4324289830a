import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, char, pointer, s32, struct, u8, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachRawTracepoint,
  BpfMap,
  BpfProgram,
  kernelLayout,
  TsbpfError,
  tracepointArguments,
} from "../../../src/kernel/index.ts";
import {
  acquired,
  kernelObject,
  kfuncDef,
  nullableObject,
  programContext,
  programMemory,
  released,
  TC_ACT_OK,
  tc,
  tpBtf,
  XDP_ABORTED,
  XDP_PASS,
  xdp,
} from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const taskFromPid = kfuncDef("bpf_task_from_pid", [s32], acquired("task_struct", "bpf_task_release"));
const taskAcquire = kfuncDef(
  "bpf_task_acquire",
  [kernelObject("task_struct")],
  acquired("task_struct", "bpf_task_release"),
);
const taskRelease = kfuncDef("bpf_task_release", [released("task_struct")]);
const cpumaskCreate = kfuncDef("bpf_cpumask_create", [], acquired("bpf_cpumask", "bpf_cpumask_release"));
const cpumaskRelease = kfuncDef("bpf_cpumask_release", [released("bpf_cpumask")]);
const cpumaskSet = kfuncDef("bpf_cpumask_set_cpu", [u32, kernelObject("bpf_cpumask")]);
const cpumaskFirst = kfuncDef("bpf_cpumask_first", [kernelObject("cpumask")], u32);

const found = mapDef({ name: "found", type: "array", key: u32, value: u64, maxEntries: 4 });

describeKernel("kernel functions", () => {
  test("a task by its number, in TC: its fields are read, and it is given back", () => {
    const Task = kernelLayout("task_struct", { tgid: s32, comm: array(char, 16) });
    const Name = struct("name", { text: array(char, 16) });
    const names = mapDef({ name: "names", type: "array", key: u32, value: Name, maxEntries: 1 });
    const program = tc("find_task", ($) => {
      const wanted = $.packet.take(struct("wanted", { pid: s32 }), { else: () => $.return(TC_ACT_OK) });
      const result = $.let(u32, 0xdead);
      $.ifPresent($.kfunc(taskFromPid, wanted.pid), (task) => {
        const view = $.view(task, Task);
        result.set(view.tgid.to(u32));
        $.copyText($.global(names).text, view.comm);
        $.kfunc(taskRelease, task);
      });
      return $.return(result);
    });
    using map = BpfMap.create(names);
    using prog = BpfProgram.load(program, { maps: [map] });
    const run = (pid: number): number => {
      const data = new Uint8Array(64);
      new DataView(data.buffer).setInt32(0, pid, true);
      return prog.testRun({ data }).retval;
    };
    expect(run(process.pid)).toBe(process.pid);
    expect(map.get(0)?.text).not.toBe("");
    expect(run(0x3fffffff)).toBe(0xdead);
  });

  test("a typed pointer of a tracepoint is acquired, and handed to a kernel function", async () => {
    const Task = kernelLayout("task_struct", {
      tgid: u32,
      cpus_ptr: pointer(kernelLayout("cpumask", { bits: u64 }, { names: { bits: "bits[0]" } })),
      real_parent: pointer(kernelLayout("task_struct", { tgid: u32 })),
    });
    const Exec = tracepointArguments("sched_process_exec", { p: pointer(Task) });
    const own = mapDef({ name: "own", type: "array", key: u32, value: u32, maxEntries: 1 });
    const program = tpBtf("on_exec", Exec, ($) => {
      const { p } = $.ctx;
      $.if(p.real_parent.tgid.ne($.global(own)), () => $.return(0));
      $.ifPresent($.kfunc(taskAcquire, $.pointer("task_struct", p)), (task) => {
        $.lookup(found, 0, (slot) => slot.set($.view(task, Task).tgid));
        $.kfunc(taskRelease, task);
      });
      $.ifPresent($.kfunc(cpumaskCreate), (mask) => {
        $.kfunc(cpumaskSet, 3, mask);
        $.lookup(found, 1, (slot) => slot.set($.kfunc(cpumaskFirst, $.pointer("cpumask", p.cpus_ptr))));
        $.kfunc(cpumaskRelease, mask);
      });
      return $.return(0);
    });
    using map = BpfMap.create(found);
    using owner = BpfMap.create(own);
    owner.set(0, process.pid);
    map.set(1, 99n);
    using prog = BpfProgram.load(program, { maps: [map, owner] });
    using _link = attachRawTracepoint(prog, undefined);
    const child = spawn("/bin/true", { stdio: "ignore" });
    await once(child, "exit");
    expect(map.get(0)).toBe(BigInt(child.pid as number));
    expect(map.get(1)).toBeLessThan(64n);
  });

  test("the context and memory as arguments: bytes of a packet through a dynptr", () => {
    const Dynptr = struct("bpf_dynptr", { opaque: array(u64, 2) });
    const fromXdp = kfuncDef("bpf_dynptr_from_xdp", [programContext, u64, programMemory(Dynptr)], s32);
    const sizeOf = kfuncDef("bpf_dynptr_size", [programMemory(Dynptr)], u32);
    const slice = kfuncDef(
      "bpf_dynptr_slice",
      [programMemory(Dynptr), u32, programMemory(), u32],
      nullableObject("bytes"),
    );
    const program = xdp(
      "through_dynptr",
      ($) => {
        const packet = $.struct(Dynptr);
        $.if($.kfunc(fromXdp, 0, packet).ne(0), () => $.return(XDP_ABORTED));
        const room = $.struct(array(u8, 4));
        const byte = $.let(u32, 0);
        $.ifPresent($.kfunc(slice, packet, 40, room, 4), (bytes) =>
          byte.set($.view(bytes, array(u8, 4)).at(2)),
        );
        return $.return($.kfunc(sizeOf, packet).shl(8).or(byte));
      },
      { kernel: "6.4" },
    );
    using prog = BpfProgram.load(program);
    const data = Uint8Array.from({ length: 100 }, (_, index) => index);
    expect(prog.testRun({ data }).retval).toBe((100 << 8) | 42);
  });

  test("one that this kernel does not have: the line, and one that is like it", () => {
    const missing = kfuncDef("bpf_task_from_pidd", [s32], acquired("task_struct", "bpf_task_release"));
    const program = xdp("missing", ($) => {
      $.ifPresent($.kfunc(missing, 1), (task) => $.kfunc(taskRelease, task));
      return $.return(XDP_PASS);
    });
    expect(() => BpfProgram.load(program)).toThrow(TsbpfError);
    expect(() => BpfProgram.load(program)).toThrow(
      /no function 'bpf_task_from_pidd'\n.*kfunc\.test\.ts:\d+:\d+\n.*Did you mean 'bpf_task_from_v?pid'/,
    );
  });
});
