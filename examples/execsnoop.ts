/** Prints every program that is started on the machine: a tracepoint, and a ring buffer to tell about it. */
import { mapDef } from "tsbpf/asm";
import {
  attachTracepoint,
  BpfMap,
  BpfProgram,
  kernelLayout,
  lostCounter,
  RingBuffer,
  tracepointLayout,
} from "tsbpf/kernel";
import { tracepoint } from "tsbpf/lang";
import { array, char, dataLoc, pointer, struct, u32 } from "tsbpf/layout";
import { run } from "./support/run.ts";

const Event = struct("event", {
  pid: u32,
  ppid: u32,
  uid: u32,
  comm: array(char, 16),
  filename: array(char, 128),
});
const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 256 * 1024 });
const lost = lostCounter("events_lost");

/** The program, with the layouts that the kernel's records and structs have on this machine. */
const execsnoop = () => {
  const Exec = tracepointLayout("sched:sched_process_exec", { filename: dataLoc });
  const Parent = kernelLayout("task_struct", { tgid: u32 });
  const Task = kernelLayout("task_struct", { real_parent: pointer(Parent) });

  return tracepoint("execsnoop", Exec, ($) => {
    const full = () => {
      $.atomic.add($.global(lost), 1);
      return $.return(0);
    };
    const event = $.reserve(events, Event, { else: full });
    const task = $.view($.bpf_get_current_task(), Task);
    $.assign(event, {
      pid: $.bpf_get_current_pid_tgid().shr(32).to(u32), // the thread is in the lower half
      ppid: task.real_parent.tgid,
      uid: $.bpf_get_current_uid_gid().to(u32),
    });
    $.bpf_get_current_comm(event.comm, 16);
    $.copyText(event.filename, $.ctx.filename);
    $.submit(event);
    return $.return(0);
  });
};

await run(
  `npx tsx examples/execsnoop.ts

Prints a line for every program that is started on the machine: process, parent, user, name, file. Ctrl-C ends it.`,
  async (_, signal) => {
    using buffer = BpfMap.create(events);
    using counter = BpfMap.create(lost);
    using prog = BpfProgram.load(execsnoop(), { maps: [buffer, counter] });
    using ring = RingBuffer.open(buffer, Event, { lost: counter });
    using _link = attachTracepoint(prog, "sched:sched_process_exec");
    console.log("    PID    PPID   UID COMM             FILENAME");
    for await (const { pid, ppid, uid, comm, filename } of ring.records({ signal })) {
      const numbers = `${`${pid}`.padStart(7)} ${`${ppid}`.padStart(7)} ${`${uid}`.padStart(5)}`;
      console.log(`${numbers} ${comm.padEnd(16)} ${filename}`);
    }
    if (ring.lost > 0) console.log(`${ring.lost} more were lost: the reader was too slow`);
  },
);
