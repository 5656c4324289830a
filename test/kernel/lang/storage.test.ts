import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { pointer, s32, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachRawTracepoint,
  BpfMap,
  BpfProgram,
  kernelLayout,
  tracepointArguments,
} from "../../../src/kernel/index.ts";
import { sockContext, tc, tpBtf } from "../../../src/lang/index.ts";
import { BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE } from "../../../src/uapi/bpf.ts";
import { describeKernel } from "../../support/privileges.ts";

const Kept = struct("kept", { runs: u64, last: u32 });

describeKernel("what is kept with objects of the kernel", () => {
  test("a socket: the context's own", () => {
    const store = mapDef({
      name: "store",
      type: "sk_storage",
      key: s32,
      value: Kept,
      maxEntries: 0,
      flags: BPF_F_NO_PREALLOC,
    });
    const program = tc("sockets", ($) => {
      const result = $.let(u32, 0);
      $.ifPresent($.socket(), (sk) => {
        $.ifPresent($.bpf_sk_fullsock(sk), (full) => {
          const { family } = $.view(full, sockContext);
          $.ifPresent($.bpf_sk_storage_get(store, full, null, BPF_LOCAL_STORAGE_GET_F_CREATE), (value) => {
            const kept = $.view(value, Kept);
            $.atomic.add(kept.runs, 1);
            kept.last.set($.ctx.len);
            result.set(kept.runs.to(u32).shl(16).or(kept.last.shl(4)).or(family.and(15)));
          });
        });
      });
      return $.return(result);
    });
    using map = BpfMap.create(store);
    using prog = BpfProgram.load(program, { maps: [map] });
    // A test run has one socket for all of its repetitions.
    const { retval } = prog.testRun({ data: new Uint8Array(64), repeat: 3 });
    expect([retval >> 16, (retval >> 4) & 0xfff]).toEqual([3, 64]);
  });

  test("a task", () => {
    const store = mapDef({
      name: "tasks",
      type: "task_storage",
      key: s32,
      value: Kept,
      maxEntries: 0,
      flags: BPF_F_NO_PREALLOC,
    });
    const totals = mapDef({ name: "totals", type: "array", key: u32, value: u64, maxEntries: 1 });
    const Task = kernelLayout("task_struct", {
      tgid: s32,
      real_parent: pointer(kernelLayout("task_struct", { tgid: s32 })),
    });
    const started = tpBtf("started", tracepointArguments("sched_process_exec", { p: pointer(Task) }), ($) => {
      $.if($.ctx.p.real_parent.tgid.ne(process.pid), () => $.return(0));
      const task = $.pointer("task_struct", $.ctx.p);
      $.ifPresent($.bpf_task_storage_get(store, task, null, BPF_LOCAL_STORAGE_GET_F_CREATE), (value) => {
        $.view(value, Kept).runs.set(7);
      });
      return $.return(0);
    });
    const ended = tpBtf("ended", tracepointArguments("sched_process_exit", { p: pointer(Task) }), ($) => {
      const task = $.pointer("task_struct", $.ctx.p);
      $.ifPresent($.bpf_task_storage_get(store, task, null, 0), (value) => {
        $.atomic.add($.global(totals), $.view(value, Kept).runs);
      });
      return $.return(0);
    });
    using map = BpfMap.create(store);
    using total = BpfMap.create(totals);
    using first = BpfProgram.load(started, { maps: [map] });
    using second = BpfProgram.load(ended, { maps: [map, total] });
    using _first = attachRawTracepoint(first, undefined);
    using _second = attachRawTracepoint(second, undefined);
    for (let run = 0; run < 2; run++) spawnSync("/bin/true");
    expect(total.get(0)).toBe(14n);
  });
});
