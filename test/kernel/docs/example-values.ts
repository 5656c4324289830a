/** What stands behind the names that the examples of TSDoc take for granted (test/docs/example-names.ts), when they run. */
import {
  add,
  call,
  encode,
  exit,
  jeq,
  lddw,
  ldxdw,
  type MapDef,
  mapDef,
  mapFd,
  mov,
  mov32,
  type Program,
  type ProgramOptions,
  type ProgTypeName,
  printk,
  program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r10,
  stw,
  xdp,
} from "tsbpf/asm";
import { createBtfBuilder } from "tsbpf/btf";
import {
  attachXdpLink,
  BpfMap,
  BpfProgram,
  linuxSyscalls,
  RingBuffer,
  ringbufOutput,
  vmlinuxBtf,
} from "tsbpf/kernel";
import { array, char, type Layout, struct, u32 } from "tsbpf/layout";
import { BPF_F_CURRENT_CPU, XDP_DROP, XDP_PASS, XDP_TX } from "tsbpf/uapi/bpf";
import { bpf_perf_event_output, bpf_seq_write } from "tsbpf/uapi/helpers";
import { mapCreate } from "../../../src/syscall/bpf-map.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import type * as names from "../../docs/example-names.ts";

/** Values by name: those that an example of this file uses. */
export type ExampleValues = Partial<typeof names>;

/**
 * The values for an example. What they hold in the kernel goes when they are disposed of, after what the example itself holds.
 *
 * @param source - the file that it is in: `src/kernel/xdp.ts`.
 * @param pins - the directory on a bpffs that its pins are in.
 */
export function exampleValues(source: string, pins: string): ExampleValues & Disposable {
  const owned: Disposable[] = [];
  const own: Own = (resource) => {
    owned.unshift(resource);
    return resource;
  };
  const dispose = (): void => {
    for (const resource of owned.splice(0)) resource[Symbol.dispose]();
  };
  try {
    return { ...BY_SOURCE[source]?.(own, pins), [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** Notes what has to go afterwards, last first. */
type Own = <Resource extends Disposable>(resource: Resource) => Resource;

const BY_SOURCE: Readonly<Record<string, (own: Own, pins: string) => ExampleValues>> = {
  "src/asm/disassemble.ts": () => ({ code: encode([mov32(r0, XDP_PASS), exit()]) }),

  "src/btf/copy.ts": () => ({ vmlinux: vmlinuxBtf(), builder: createBtfBuilder() }),
  "src/btf/layout/compare.ts": () => ({ vmlinux: vmlinuxBtf() }),
  "src/btf/layout/struct.ts": () => ({ record: new Uint8Array(40) }),
  "src/btf/lookup.ts": () => ({ btf: vmlinuxBtf() }),
  "src/btf/print-c.ts": () => ({ btf: vmlinuxBtf() }),
  "src/btf/print-typescript.ts": () => ({ btf: vmlinuxBtf() }),

  "src/kernel/events/lost.ts": () => ({ Event: eventLayout }),
  "src/kernel/events/merge.ts": (own) => {
    const exitLayout = struct("exit", { pid: u32, code: u32 });
    const exits = own(BpfMap.create(ringDef("exits")));
    return {
      execs: own(RingBuffer.open(sentEvents(own), eventLayout)),
      exits: own(RingBuffer.open(exits, exitLayout)),
    };
  },
  "src/kernel/events/perf-buffer.ts": (own) => {
    const def = mapDef({ name: "samples", type: "perf_event_array", key: u32, value: u32, maxEntries: 64 });
    const samplesMap = own(BpfMap.create(def));
    const send = own(BpfProgram.load(sampleSender(def), { maps: [samplesMap] }));
    // The kernel has nowhere to put samples until the example has opened its buffers.
    const timer = setInterval(() => send.testRun({ data: PACKET }), 10);
    own({ [Symbol.dispose]: () => clearInterval(timer) });
    return { samplesMap, Event: eventLayout };
  },
  "src/kernel/events/ring-buffer.ts": (own) => ({ events: sentEvents(own), Event: eventLayout }),
  "src/kernel/events/user-ring-buffer.ts": (own) => ({
    commandsMap: own(BpfMap.create(mapDef({ name: "commands", type: "user_ringbuf", maxEntries: 4096 }))),
    Command: struct("command", { op: u32, pid: u32 }),
  }),

  "src/kernel/link/attachments.ts": (own) => {
    own(attachXdpLink(load(own, "xdp", XDP_PASS), "eth0"));
    return {};
  },
  "src/kernel/link/cgroup.ts": (own) => ({
    policy: load(own, "cgroup_skb", 1, { attachType: "cgroup_inet_egress" }),
  }),
  "src/kernel/link/interface.ts": (own) => ({
    prog: load(own, "xdp", XDP_PASS),
    count: load(own, "sched_cls", -1),
    filter: load(own, "sched_cls", -1),
  }),
  "src/kernel/link/iterator.ts": (own) => ({
    prog: own(BpfProgram.load(taskLister(), { attachTo: "task" })),
  }),
  "src/kernel/link/link.ts": (own) => ({
    prog: load(own, "sched_cls", -1),
    better: load(own, "sched_cls", -1),
  }),
  "src/kernel/link/netfilter.ts": (own) => ({ prog: load(own, "netfilter", 1, { attachType: "netfilter" }) }),
  "src/kernel/link/open.ts": (own, pins) => {
    const link = own(attachXdpLink(load(own, "xdp", XDP_PASS), "eth0"));
    link.pin(`${pins}/count_eth0`);
    return { better: load(own, "xdp", XDP_PASS) };
  },
  "src/kernel/link/perf-event.ts": (own) => ({ prog: load(own, "perf_event") }),
  "src/kernel/link/query.ts": (own) => ({ prog: load(own, "sched_cls", -1) }),
  "src/kernel/link/struct-ops.ts": (own) => {
    const member = (name: string): BpfProgram =>
      own(BpfProgram.load(returns("struct_ops", 10), { attachTo: `tcp_congestion_ops.${name}` }));
    return { ssthresh: member("ssthresh"), cong_avoid: member("cong_avoid"), undo_cwnd: member("undo_cwnd") };
  },
  "src/kernel/link/tracepoint.ts": (own) => ({ prog: load(own, "tracepoint") }),
  "src/kernel/link/tracing.ts": () => ({ onConnect: returns("tracing", 0, { attachType: "trace_fentry" }) }),
  "src/kernel/link/uprobe.ts": (own) => ({ prog: load(own, "kprobe") }),

  "src/kernel/map.ts": (own) => {
    const flows = own(
      BpfMap.create(mapDef({ name: "flows", type: "hash", key: u32, value: u32, maxEntries: 4000 })),
    );
    flows.setBatch(Array.from({ length: 1200 }, (_, index) => [index, index * 2] as const));
    return { flows };
  },
  "src/kernel/program-tag.ts": (own) => ({ prog: load(own, "xdp", XDP_DROP) }),
  "src/kernel/program.ts": (own) => ({ prog: load(own, "xdp", XDP_TX), packet: PACKET }),
  "src/kernel/run-stats.ts": (own) => ({ prog: load(own, "xdp", XDP_PASS), packet: PACKET }),
  "src/kernel/tc/attach.ts": (own) => ({ prog: load(own, "sched_cls", -1) }),
  "src/kernel/trace-log.ts": (own) => {
    const hello = xdp("hello", { entry: [...printk("hello"), mov32(r0, XDP_PASS), exit()] });
    const prog = own(BpfProgram.load(hello));
    const timer = setInterval(() => prog.testRun({ data: PACKET }), 10);
    own({ [Symbol.dispose]: () => clearInterval(timer) });
    return {};
  },
  "src/kernel/xdp.ts": (own) => ({ prog: load(own, "xdp", XDP_PASS), better: load(own, "xdp", XDP_PASS) }),

  "src/syscall/attr.ts": (own) => ({ ...rawMap(own), key: new Uint8Array(4), value: new Uint8Array(8) }),
  "src/syscall/bpf-map.ts": (own) => rawMap(own),
  "src/syscall/fd.ts": () => ({ sys: linuxSyscalls() }),
  "src/syscall/netlink.ts": () => ({ sys: linuxSyscalls() }),
};

const PACKET = new Uint8Array(64);
const eventLayout: Layout<{ pid: number; comm: string }> = struct("event", {
  pid: u32,
  comm: array(char, 16),
});

/** A program that returns a number. */
function returns<Type extends ProgTypeName>(
  type: Type,
  value = 0,
  options: ProgramOptions = {},
): Program<Type> {
  return program(type, "example", { entry: [mov32(r0, value), exit()] } as never, options);
}

function load(own: Own, type: ProgTypeName, value = 0, options: ProgramOptions = {}): BpfProgram {
  return own(BpfProgram.load(returns(type, value, options)));
}

const ringDef = (name: string): MapDef<"ringbuf", never, never> =>
  mapDef({ name, type: "ringbuf", maxEntries: 4096 });

/** An event on the stack, at r10 - 20: pid 7, comm "sh". */
const EVENT = [
  stw([r10, -20], 7),
  stw([r10, -16], 0x6873), // "sh", in little-endian order
  stw([r10, -12], 0),
  stw([r10, -8], 0),
  stw([r10, -4], 0),
] as const;

/** A ring buffer with one event in it. */
function sentEvents(own: Own): BpfMap<"ringbuf"> {
  const def = ringDef("events");
  const events = own(BpfMap.create(def));
  const send = xdp("send", {
    entry: [...EVENT, ...ringbufOutput(def, [r10, -20], 20), mov32(r0, XDP_PASS), exit()],
  });
  using prog = BpfProgram.load(send, { maps: [events] });
  prog.testRun({ data: PACKET });
  return events;
}

/** Sends an event into the perf buffer of its CPU. */
function sampleSender(samples: MapDef): Program<"xdp"> {
  return xdp("sample", {
    entry: [
      ...EVENT,
      lddw(r2, mapFd(samples)),
      lddw(r3, BPF_F_CURRENT_CPU),
      mov(r4, r10),
      add(r4, -20),
      mov32(r5, 20),
      call(bpf_perf_event_output),
      mov32(r0, XDP_PASS),
      exit(),
    ],
  });
}

/** Writes a line for each task. */
function taskLister(): Program<"tracing"> {
  return program(
    "tracing",
    "tasks",
    {
      entry: [
        ldxdw(r2, [r1, 8]), // struct task_struct *; NULL at the end
        jeq(r2, 0, "out"),
        ldxdw(r1, [r1, 0]), // struct bpf_iter_meta
        ldxdw(r1, [r1, 0]), // its seq
        stw([r10, -8], 0x0a2e), // ".\n"
        mov(r2, r10),
        add(r2, -8),
        mov(r3, 2),
        call(bpf_seq_write),
      ],
      out: [mov32(r0, 0), exit()],
    },
    { attachType: "trace_iter" },
  );
}

/** A hash map as the calls below the library see it: keys of 4 bytes and values of 8, one entry. */
function rawMap(own: Own): Pick<typeof names, "sys" | "fd"> {
  const sys = linuxSyscalls();
  const attr = { map_type: 1, key_size: 4, value_size: 8, max_entries: 8 };
  return { sys, fd: own(Fd.own(sys, mapCreate(sys, attr), "map of an example")) };
}
