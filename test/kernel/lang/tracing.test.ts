import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, char, dataLoc, pointer, s32, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachRawTracepoint,
  attachTracepoint,
  BpfMap,
  BpfProgram,
  kernelLayout,
  kernelStruct,
  RingBuffer,
  tracepointArguments,
  tracepointLayout,
} from "../../../src/kernel/index.ts";
import { rawTracepoint, type Statements, tpBtf, tracepoint, type View } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

/** What /proc tells of this process: its parent, and that one's. */
function ancestors(): { readonly parent: number; readonly grandparent: number } {
  const parentOf = (pid: number): number => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]);
  };
  const parent = parentOf(process.pid);
  return { parent, grandparent: parentOf(parent) };
}

/** Runs a program whose file has a name of this run's own, and waits for its end; gives its process id. */
async function runTrue(): Promise<number> {
  const child = spawn("/bin/true", { stdio: "ignore" });
  await once(child, "exit");
  return child.pid as number;
}

const Event = struct("event", {
  pid: u32,
  ppid: u32,
  grandparent: u32,
  comm: array(char, 16),
  filename: array(char, 32),
});
const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 256 * 1024 });

describeKernel("programs that watch", () => {
  const Grandparent = kernelLayout("task_struct", { tgid: s32 });
  const Parent = kernelLayout("task_struct", { tgid: s32, real_parent: pointer(Grandparent) });
  const Task = kernelLayout("task_struct", {
    tgid: s32,
    comm: array(char, 16),
    real_parent: pointer(Parent),
  });

  /** Fills a record with what is known of a task. */
  const describeTask = (
    $: Pick<Statements, "copy">,
    record: View<typeof Event, "record">,
    task: View<typeof Task, "kernel">,
  ): void => {
    record.pid.set(task.tgid.to(u32));
    record.ppid.set(task.real_parent.tgid.to(u32));
    record.grandparent.set(task.real_parent.real_parent.tgid.to(u32));
    $.copy(record.comm, task.comm);
  };

  /** The event of a process that this one starts while the program is attached. */
  async function seen(
    load: () => BpfProgram,
    attach: (prog: BpfProgram) => Disposable,
    map: BpfMap<"ringbuf", never, never>,
  ): Promise<unknown> {
    using prog = load();
    using ring = RingBuffer.open(map, Event);
    using _link = attach(prog);
    const pid = await runTrue();
    return ring.take(1000).find((event) => event.pid === pid);
  }

  const expected = () => {
    const { parent } = ancestors();
    return { ppid: process.pid, grandparent: parent, comm: "true" };
  };

  test("a tracepoint: its record's text, and the kernel's structs by addresses", async () => {
    const Exec = tracepointLayout("sched:sched_process_exec", { filename: dataLoc, pid: s32 });
    const program = tracepoint("on_exec", Exec, ($) => {
      const record = $.reserve(events, Event, { else: () => $.return(0) });
      describeTask($, record, $.view($.bpf_get_current_task(), Task));
      $.copyText(record.filename, $.ctx.filename);
      $.submit(record);
      return $.return(0);
    });
    using map = BpfMap.create(events);
    const event = await seen(
      () => BpfProgram.load(program, { maps: [map] }),
      (prog) => attachTracepoint(prog, "sched:sched_process_exec"),
      map,
    );
    expect(event).toMatchObject({ ...expected(), filename: "/bin/true" });
  });

  test("a tracepoint: the same, by typed pointers", async () => {
    const Exec = tracepointLayout("sched:sched_process_exec", { filename: dataLoc });
    const program = tracepoint("on_exec", Exec, ($) => {
      const record = $.reserve(events, Event, { else: () => $.return(0) });
      describeTask($, record, $.view($.bpf_get_current_task_btf(), Task));
      $.copyText(record.filename, $.ctx.filename);
      $.submit(record);
      return $.return(0);
    });
    using map = BpfMap.create(events);
    const event = await seen(
      () => BpfProgram.load(program, { maps: [map] }),
      (prog) => attachTracepoint(prog, "sched:sched_process_exec"),
      map,
    );
    expect(event).toMatchObject({ ...expected(), filename: "/bin/true" });
  });

  const Binary = kernelLayout("linux_binprm", { filename: u64 });
  const Args = tracepointArguments("sched_process_exec", { p: pointer(Task), old_pid: s32, bprm: pointer(Binary) });

  test("a raw tracepoint with its arguments by name", async () => {
    const program = rawTracepoint("on_exec", Args, ($) => {
      const record = $.reserve(events, Event, { else: () => $.return(0) });
      describeTask($, record, $.ctx.p);
      $.copyText(record.filename, $.ctx.bprm.filename);
      $.submit(record);
      return $.return(0);
    });
    using map = BpfMap.create(events);
    const event = await seen(
      () => BpfProgram.load(program, { maps: [map] }),
      (prog) => attachRawTracepoint(prog, "sched_process_exec"),
      map,
    );
    expect(event).toMatchObject({ ...expected(), filename: "/bin/true" });
  });

  test("a typed raw tracepoint is loaded for the tracepoint of its arguments", async () => {
    const program = tpBtf("on_exec", Args, ($) => {
      const record = $.reserve(events, Event, { else: () => $.return(0) });
      describeTask($, record, $.ctx.p);
      $.copyText(record.filename, $.ctx.bprm.filename);
      $.submit(record);
      return $.return(0);
    });
    expect(program.attachTo).toBe("sched_process_exec");
    using map = BpfMap.create(events);
    const event = await seen(
      () => BpfProgram.load(program, { maps: [map] }),
      (prog) => attachRawTracepoint(prog, undefined),
      map,
    );
    expect(event).toMatchObject({ ...expected(), filename: "/bin/true" });
  });

  void execFileSync;
  void kernelStruct;
  void u64;
});
