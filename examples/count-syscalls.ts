/** Counts the system calls of every process: a tracepoint, and a hash map that forgets the least recently used. */
import {
  aadd64,
  add,
  call,
  exit,
  jeq,
  jne,
  lddw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r10,
  rsh,
  stdw,
  stxw,
} from "tsbpf/asm";
import { attachTracepoint, BpfMap, BpfProgram } from "tsbpf/kernel";
import { array, char, struct, u32, u64 } from "tsbpf/layout";
import { BPF_NOEXIST } from "tsbpf/uapi/bpf";
import {
  bpf_get_current_comm,
  bpf_get_current_pid_tgid,
  bpf_map_lookup_elem,
  bpf_map_update_elem,
} from "tsbpf/uapi/helpers";
import { aborted, run, UsageError } from "./support/run.ts";

const Calls = struct("calls", { count: u64.asNumber, comm: array(char, 16) });
const calls = mapDef({ name: "calls", type: "lru_hash", key: u32, value: Calls, maxEntries: 10_240 });

const KEY = -4;
const VALUE = -8 - Calls.size;
const lookUp = [lddw(r1, mapFd(calls)), mov(r2, r10), add(r2, KEY), call(bpf_map_lookup_elem)];
const countSyscalls = program("tracepoint", "count_syscalls", {
  entry: [
    call(bpf_get_current_pid_tgid),
    rsh(r0, 32),
    stxw([r10, KEY], r0),
    ...lookUp,
    jne(r0, 0, "count"),
    // The first one of this process.
    ...[0, 8, 16].map((at) => stdw([r10, VALUE + at], 0)),
    lddw(r1, mapFd(calls)),
    mov(r2, r10),
    add(r2, KEY),
    mov(r3, r10),
    add(r3, VALUE),
    mov(r4, BPF_NOEXIST), // another thread may have been faster
    call(bpf_map_update_elem),
    ...lookUp,
    jeq(r0, 0, "done"),
  ],
  count: [
    mov32(r1, 1),
    aadd64([r0, Calls.offset.count], r1), // threads of the process may be on other CPUs
    mov(r1, r0),
    add(r1, Calls.offset.comm),
    mov(r2, 16),
    call(bpf_get_current_comm), // every time: exec changes it
  ],
  done: [mov32(r0, 0), exit()],
});

await run(
  `npx tsx examples/count-syscalls.ts [SECONDS]

Counts the system calls of every process, for so many seconds or until Ctrl-C, and prints the ten that made most.`,
  async ([seconds], interrupted) => {
    if (seconds !== undefined && !(Number(seconds) > 0)) throw new UsageError(`'${seconds}' seconds?`);
    using map = BpfMap.create(calls);
    using prog = BpfProgram.load(countSyscalls, { maps: [map] });
    using link = attachTracepoint(prog, "raw_syscalls:sys_enter");
    console.log(seconds === undefined ? "counting until Ctrl-C" : `counting for ${seconds} s`);
    const over = seconds === undefined ? [] : [AbortSignal.timeout(Number(seconds) * 1000)];
    await aborted(AbortSignal.any([interrupted, ...over]));
    link.close();

    const most = [...map].sort(([, a], [, b]) => b.count - a.count).slice(0, 10);
    console.log("    PID      CALLS COMM");
    for (const [pid, { count, comm }] of most) {
      console.log(`${`${pid}`.padStart(7)} ${`${count}`.padStart(10)} ${comm}`);
    }
  },
);
