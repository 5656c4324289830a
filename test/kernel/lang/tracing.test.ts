import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import {
  array,
  char,
  dataLoc,
  type Layout,
  pointer,
  s32,
  struct,
  u8,
  u32,
  u64,
} from "../../../src/btf/layout/index.ts";
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
import {
  type HostVal,
  type Operand,
  rawTracepoint,
  type ScopeOf,
  type Statements,
  tpBtf,
  tracepoint,
  type View,
} from "../../../src/lang/index.ts";
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
type TracepointScope = ScopeOf<"tracepoint", Layout, number>;
const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 256 * 1024 });

describeKernel("programs that watch", () => {
  const Grandparent = kernelLayout("task_struct", { tgid: s32 });
  const Parent = kernelLayout("task_struct", { tgid: s32, real_parent: pointer(Grandparent) });
  const Task = kernelLayout("task_struct", {
    tgid: s32,
    comm: array(char, 16),
    real_parent: pointer(Parent),
  });

  const Exec = tracepointLayout("sched:sched_process_exec", { filename: dataLoc, pid: s32 });

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
  const Args = tracepointArguments("sched_process_exec", {
    p: pointer(Task),
    old_pid: s32,
    bprm: pointer(Binary),
  });

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

  const found = mapDef({ name: "found", type: "array", key: u32, value: u64, maxEntries: 8 });

  /** What a program writes into `found` at the start of a process of this test. */
  async function atExec(
    body: ($: TracepointScope, put: (index: number, value: Operand<"u64">) => void) => void,
  ): Promise<{ readonly pid: number; readonly found: readonly bigint[] }> {
    const own = mapDef({ name: "own", type: "array", key: u32, value: u32, maxEntries: 1 });
    const program = tracepoint(
      "at_exec",
      Exec,
      ($) => {
        const Current = kernelLayout("task_struct", {
          real_parent: pointer(kernelLayout("task_struct", { tgid: u32 })),
        });
        const { real_parent } = $.view($.bpf_get_current_task(), Current);
        $.if(real_parent.tgid.ne($.global(own)), () => $.return(0)); // somebody else's
        body($, (index, value) => {
          $.lookup(found, index, (slot) => slot.set(value as HostVal<"u64">));
        });
        return $.return(0);
      },
      { kernel: "6.4" },
    );
    using map = BpfMap.create(found);
    using ownMap = BpfMap.create(own);
    ownMap.set(0, process.pid);
    using prog = BpfProgram.load(program, { maps: [map, ownMap] });
    using _link = attachTracepoint(prog, "sched:sched_process_exec");
    const pid = await runTrue();
    return { pid, found: [...map.entries()].map(([, value]) => value) };
  }

  test("names that differ between kernels, paths, bit fields, and a member of an anonymous union", async () => {
    const task = kernelStruct("task_struct");
    const Fields = kernelLayout(
      "task_struct",
      { state: u32, weight: u64, in_execve: u32, tgid: s32 },
      { names: { state: ["__state", "state"], weight: ["se.load.weight", "load.weight"] } },
    );
    expect(Fields.offset.state).toBe(task.field("__state").offset);
    expect(Fields.fields.in_execve).toMatchObject({ width: 1 });
    const { pid, found } = await atExec(($, put) => {
      for (const [index, view] of [
        $.view($.bpf_get_current_task(), Fields),
        $.view($.bpf_get_current_task_btf(), Fields),
      ].entries()) {
        put(index * 4, view.tgid.to(u64));
        put(index * 4 + 1, view.weight);
        put(index * 4 + 2, view.in_execve);
        put(index * 4 + 3, view.state);
      }
    });
    for (const [tgid, weight, flag] of [found.slice(0, 4), found.slice(4)]) {
      expect(tgid).toBe(BigInt(pid));
      expect(weight).toBeGreaterThan(0n);
      expect(flag).toBe(1n);
    }
  });

  test("what cannot be read is zero, or the else", async () => {
    const Text = struct("text", { text: array(char, 16) });
    const { found } = await atExec(($, put) => {
      const nowhere = $.view(8n, Task);
      put(0, nowhere.tgid.to(u64).add(1));
      put(1, nowhere.real_parent.tgid.to(u64).add(2));
      put(2, $.copyText($.struct(Text).text, nowhere.comm).lt(0).toU32());
      $.copy($.struct(Text).text, $.view($.bpf_get_current_task(), Task).comm, { else: () => $.return(0) });
      put(3, 3);
      $.copy($.struct(Text).text, nowhere.comm, { else: () => $.return(0) });
      put(4, 4);
    });
    expect(found.slice(0, 5)).toEqual([1n, 2n, 1n, 3n, 0n]);
  });

  test("a null pointer is found by its address, also before a typed one is followed", async () => {
    const Mm = kernelLayout("mm_struct", { total_vm: u64 });
    const Bios = kernelLayout("bio_list", { head: u64 });
    const WithMm = kernelLayout("task_struct", {
      mm: pointer(Mm),
      bio_list: pointer(Bios),
      group_leader: pointer(Task),
    });
    const { found, pid } = await atExec(($, put) => {
      const task = $.view($.bpf_get_current_task_btf(), WithMm);
      const { mm, bio_list, group_leader } = task;
      $.if($.address(bio_list).eq(0), () => put(3, 3)).else(() => put(3, bio_list.head));
      $.if($.address(mm).ne(0), () => put(0, mm.total_vm));
      put(1, group_leader.tgid.to(u64));
      const again = $.view($.address(group_leader), Task); // the same by helpers
      put(2, again.tgid.to(u64));
    });
    expect(found.slice(1, 4)).toEqual([BigInt(pid), BigInt(pid), 3n]);
    expect(found[0]).toBeGreaterThan(100n); // pages
  });

  test("an element at an index that the program computed, by typed pointers and by addresses", async () => {
    const Letters = kernelLayout("task_struct", { comm: array(u8, 16) });
    const { found } = await atExec(($, put) => {
      const index = $.let(u32, 2);
      $.if($.bpf_get_smp_processor_id().gt(1000), () => index.set(3)); // never, which the compiler does not know
      const typed = $.view($.bpf_get_current_task_btf(), Letters).comm;
      const raw = $.view($.bpf_get_current_task(), Letters).comm;
      put(0, typed.wrap(index).to(u64));
      put(1, raw.at(index, { else: () => $.return(0) }).to(u64));
      put(2, typed.at(3).to(u64));
    });
    expect(found.slice(0, 3).map((code) => String.fromCharCode(Number(code)))).toEqual(["u", "u", "e"]); // true
  });

  test("up the ancestors in loops of every form", async () => {
    const { parent } = ancestors();
    const Up = kernelLayout("task_struct", { tgid: s32, real_parent: u64 });
    const { found } = await atExec(($, put) => {
      for (const [index, as] of (["unroll", "loop", "iterator", "bpf_loop"] as const).entries()) {
        const at = $.let(u64, $.bpf_get_current_task());
        $.for(2, () => void at.set($.view(at, Up).real_parent), { as });
        put(index, $.view(at, Up).tgid.to(u64));
      }
    });
    expect(found.slice(0, 4)).toEqual([parent, parent, parent, parent].map(BigInt));
  });
});
