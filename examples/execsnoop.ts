/** Prints every program that is started on the machine: a tracepoint, and a ring buffer to tell about it. */
import {
  add,
  and32,
  call,
  exit,
  jeq,
  lddw,
  ldxdw,
  ldxw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r6,
  r7,
  r10,
  rsh,
  stxw,
} from "tsbpf/asm";
import { kernelStruct } from "tsbpf/btf";
import {
  attachTracepoint,
  BpfMap,
  BpfProgram,
  countLost,
  lostCounter,
  RingBuffer,
  vmlinuxBtf,
} from "tsbpf/kernel";
import { array, char, struct, u32 } from "tsbpf/layout";
import {
  bpf_get_current_comm,
  bpf_get_current_pid_tgid,
  bpf_get_current_task,
  bpf_get_current_uid_gid,
  bpf_probe_read_kernel,
  bpf_probe_read_kernel_str,
  bpf_ringbuf_reserve,
  bpf_ringbuf_submit,
} from "tsbpf/uapi/helpers";
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

/** The program, with the offsets that kernel structs have on this machine. */
const execsnoop = () => {
  const record = kernelStruct(vmlinuxBtf(), "trace_event_raw_sched_process_exec");
  const task = kernelStruct(vmlinuxBtf(), "task_struct");
  return program("tracepoint", "execsnoop", {
    entry: [
      mov(r6, r1),
      lddw(r1, mapFd(events)),
      mov(r2, Event.size),
      mov(r3, 0),
      call(bpf_ringbuf_reserve),
      jeq(r0, 0, "lost"),
      mov(r7, r0),
      call(bpf_get_current_pid_tgid), // the process is in the upper half, the thread in the lower
      rsh(r0, 32),
      stxw([r7, Event.offset.pid], r0),
      call(bpf_get_current_uid_gid),
      stxw([r7, Event.offset.uid], r0),
      mov(r1, r7),
      add(r1, Event.offset.comm),
      mov(r2, 16),
      call(bpf_get_current_comm),
      // task->real_parent->tgid
      call(bpf_get_current_task),
      mov(r3, r0),
      add(r3, task.field("real_parent").offset),
      mov(r1, r10),
      add(r1, -8),
      mov(r2, 8),
      call(bpf_probe_read_kernel),
      ldxdw(r3, [r10, -8]),
      add(r3, task.field("tgid").offset),
      mov(r1, r7),
      add(r1, Event.offset.ppid),
      mov(r2, 4),
      call(bpf_probe_read_kernel),
      // A text of the record is behind it: 16 bits say where, 16 how long it is.
      ldxw(r3, [r6, record.field("__data_loc_filename").offset]),
      and32(r3, 0xffff),
      add(r3, r6),
      mov(r1, r7),
      add(r1, Event.offset.filename),
      mov(r2, 128),
      call(bpf_probe_read_kernel_str),
      mov(r1, r7),
      mov(r2, 0),
      call(bpf_ringbuf_submit),
    ],
    done: [mov32(r0, 0), exit()],
    lost: [...countLost(lost), mov32(r0, 0), exit()],
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
