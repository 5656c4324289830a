import { existsSync } from "node:fs";
import { add, mov, mov32 } from "../../asm/alu.ts";
import { type Insn, insn } from "../../asm/insn.ts";
import { exit, ja, jeq } from "../../asm/jump.ts";
import type { Blocks, ProgTypeName } from "../../asm/program.ts";
import { r0, r1, r2, r3, r10 } from "../../asm/register.ts";
import { BpfAttr } from "../../syscall/attr.ts";
import { type BpfCmd, bpf } from "../../syscall/bpf.ts";
import { mapFreeze, mapLookupBatch } from "../../syscall/bpf-map.ts";
import { enableStats } from "../../syscall/bpf-object.ts";
import {
  type ProgTestRunAttr,
  progBindMap,
  progLoad,
  progTestRun,
  rawTracepointOpen,
} from "../../syscall/bpf-prog.ts";
import {
  BPF_CALL,
  BPF_F_MMAPABLE,
  BPF_F_SLEEPABLE,
  BPF_F_TEST_XDP_LIVE_FRAMES,
  BPF_F_XDP_HAS_FRAGS,
  BPF_JMP,
  BPF_LSM_MAC,
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_HASH,
  BPF_PROG_TYPE_SOCKET_FILTER,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_TRACE_FENTRY,
} from "../../uapi/bpf.ts";
import { bpf_attr_prog_stream_read, bpf_attr_token_create } from "../../uapi/bpf-attr.ts";
import { EBADF, EPERM } from "../../uapi/errno.ts";
import type { HelperName } from "../../uapi/helpers.ts";
import { no, unknown, type Verdict, yes } from "./answer.ts";
import { probeAttachType } from "./attach-types.ts";
import { type Attempt, type Attempts, NO_FD, saidBy, verdictLine } from "./attempt.ts";
import { findVariants, helperByName, probeHelper } from "./helpers.ts";
import { probeLinkType } from "./link-types.ts";
import { probeMapType } from "./map-types.ts";
import { targetId } from "./tracing-target.ts";

/** Something that a program builds on as a whole, by a name of ours. */
export type Ability =
  | "test_run"
  | "kprobes"
  | "uprobes"
  | "spin_lock"
  | "map_freeze"
  | "kernel_btf"
  | "mmapable_arrays"
  | "trampolines"
  | "batch_operations"
  | "struct_ops"
  | "lsm"
  | "ring_buffer"
  | "iterators"
  | "run_statistics"
  | "xdp_devmap_programs"
  | "xdp_cpumap_programs"
  | "xdp_link"
  | "prog_bind_map"
  | "sleepable"
  | "kfuncs"
  | "attach_cookies"
  | "timers"
  | "bpf_loop"
  | "kprobe_multi"
  | "xdp_frags"
  | "xdp_live_frames"
  | "dynptr"
  | "kptr"
  | "user_ring_buffer"
  | "open_coded_iterators"
  | "netfilter"
  | "log_true_size"
  | "tcx"
  | "uprobe_multi"
  | "exceptions"
  | "netkit"
  | "arena"
  | "token"
  | "streams";

/** How it is asked for. */
export interface AbilityProbe {
  /** The kernel that brought it. */
  readonly since: string;
  /** What it is, for people. */
  readonly title: string;
  readonly probe: (attempts: Attempts) => Verdict;
}

/** Whether the kernel has it. Nothing stays attached, and no interface is touched. */
export function probeAbility(attempts: Attempts, ability: Ability): Verdict {
  return ABILITIES[ability].probe(attempts);
}

/** Everything of this kind that can be asked for, in the order in which it came. */
export const ABILITIES: Readonly<Record<Ability, AbilityProbe>> = {
  test_run: { since: "4.12", title: "test runs of programs", probe: (attempts) => testRun(attempts, {}) },
  kprobes: { since: "4.17", title: "kprobes through perf events", probe: () => hasPmu("kprobe") },
  uprobes: { since: "4.17", title: "uprobes through perf events", probe: () => hasPmu("uprobe") },
  spin_lock: { since: "5.1", title: "spin locks in map values", probe: helper("sched_cls", "bpf_spin_lock") },
  map_freeze: { since: "5.2", title: "frozen maps", probe: probeFreeze },
  kernel_btf: { since: "5.4", title: "the kernel's own types (BTF)", probe: probeKernelBtf },
  mmapable_arrays: {
    since: "5.5",
    title: "arrays that are mapped into memory",
    probe: (attempts) =>
      attempts.conclude(attempts.map({ map_type: BPF_MAP_TYPE_ARRAY, ...WORDS, map_flags: BPF_F_MMAPABLE })),
  },
  trampolines: { since: "5.5", title: "fentry and fexit (trampolines)", probe: probeTrampolines },
  batch_operations: { since: "5.6", title: "many map entries in one call", probe: probeBatch },
  struct_ops: { since: "5.6", title: "kernel interfaces as programs (struct_ops)", probe: probeStructOps },
  lsm: { since: "5.7", title: "security policies as programs (BPF LSM)", probe: probeLsm },
  ring_buffer: { since: "5.8", title: "ring buffer", probe: (attempts) => probeMapType(attempts, "ringbuf") },
  iterators: {
    since: "5.8",
    title: "iterators over kernel objects",
    probe: (attempts) => probeLinkType(attempts, "iter"),
  },
  run_statistics: { since: "5.8", title: "run time and run count of programs", probe: probeStatistics },
  xdp_devmap_programs: {
    since: "5.8",
    title: "XDP programs in a devmap",
    probe: (attempts) => probeAttachType(attempts, "xdp_devmap"),
  },
  xdp_cpumap_programs: {
    since: "5.9",
    title: "XDP programs in a CPU map",
    probe: (attempts) => probeAttachType(attempts, "xdp_cpumap"),
  },
  xdp_link: {
    since: "5.9",
    title: "XDP attached by a link",
    probe: (attempts) => probeLinkType(attempts, "xdp"),
  },
  prog_bind_map: { since: "5.10", title: "maps bound to programs as metadata", probe: probeBindMap },
  sleepable: { since: "5.10", title: "programs that may sleep", probe: probeSleepable },
  kfuncs: { since: "5.13", title: "calls of kernel functions (kfuncs)", probe: probeKfuncs },
  attach_cookies: {
    since: "5.15",
    title: "cookies of attachments",
    probe: helper("kprobe", "bpf_get_attach_cookie"),
  },
  timers: { since: "5.15", title: "timers", probe: helper("sched_cls", "bpf_timer_init") },
  bpf_loop: {
    since: "5.17",
    title: "loops over a callback (bpf_loop)",
    probe: helper("sched_cls", "bpf_loop"),
  },
  kprobe_multi: {
    since: "5.18",
    title: "many kprobes by one link",
    probe: (attempts) => probeLinkType(attempts, "kprobe_multi"),
  },
  xdp_frags: {
    since: "5.18",
    title: "XDP on packets in fragments",
    probe: (attempts) =>
      attempts.conclude(attempts.load({ type: "xdp", more: { prog_flags: BPF_F_XDP_HAS_FRAGS } })),
  },
  xdp_live_frames: {
    since: "5.18",
    title: "test runs that send packets (live frames)",
    // Older kernels do not look at the flags of an XDP test run; batch_size, which came along, they refuse.
    probe: (attempts) => testRun(attempts, { flags: BPF_F_TEST_XDP_LIVE_FRAMES, batch_size: 1 }),
  },
  dynptr: { since: "5.19", title: "dynamic pointers", probe: helper("sched_cls", "bpf_dynptr_from_mem") },
  kptr: {
    since: "5.19",
    title: "kernel pointers in map values",
    probe: helper("sched_cls", "bpf_kptr_xchg"),
  },
  user_ring_buffer: {
    since: "6.1",
    title: "user ring buffer",
    probe: (attempts) => probeMapType(attempts, "user_ringbuf"),
  },
  open_coded_iterators: {
    since: "6.4",
    title: "iterators as loops of a program",
    probe: probeOpenCodedIterators,
  },
  netfilter: {
    since: "6.4",
    title: "netfilter programs, attached by a link",
    probe: (attempts) => probeLinkType(attempts, "netfilter"),
  },
  log_true_size: { since: "6.4", title: "the verifier tells how long its log is", probe: probeLogTrueSize },
  tcx: { since: "6.6", title: "TCX", probe: (attempts) => probeLinkType(attempts, "tcx") },
  uprobe_multi: {
    since: "6.6",
    title: "many uprobes by one link",
    probe: (attempts) => probeLinkType(attempts, "uprobe_multi"),
  },
  exceptions: { since: "6.7", title: "exceptions (by architecture)", probe: probeExceptions },
  netkit: { since: "6.7", title: "netkit", probe: (attempts) => probeLinkType(attempts, "netkit") },
  arena: {
    since: "6.9",
    title: "arena (by architecture)",
    probe: (attempts) => probeMapType(attempts, "arena"),
  },
  token: {
    since: "6.9",
    title: "tokens, which delegate BPF to user namespaces",
    probe: command("BPF_TOKEN_CREATE", (attempts) =>
      new BpfAttr(attempts.sys, bpf_attr_token_create).u32("bpffs_fd", NO_FD),
    ),
  },
  streams: {
    since: "6.17",
    title: "streams that programs write to",
    probe: command("BPF_PROG_STREAM_READ_BY_FD", (attempts) =>
      new BpfAttr(attempts.sys, bpf_attr_prog_stream_read).u32("prog_fd", NO_FD).u32("stream_id", 1),
    ),
  },
};

const WORDS = { key_size: 4, value_size: 4, max_entries: 1 };

function helper(type: ProgTypeName, name: HelperName): AbilityProbe["probe"] {
  return (attempts) => probeHelper(attempts, findVariants(attempts, type), helperByName(name));
}

/** A command about a descriptor that is not open: a kernel that knows the command complains about the descriptor. */
function command(
  cmd: BpfCmd,
  attr: (attempts: Attempts) => BpfAttr<typeof bpf_attr_token_create | typeof bpf_attr_prog_stream_read>,
): AbilityProbe["probe"] {
  return (attempts) =>
    attempts.conclude(
      attempts.call(`bpf(${cmd})`, [], () => {
        bpf(attempts.sys, cmd, attr(attempts), () => ({}));
        return undefined;
      }),
      [EBADF],
    );
}

/** Drops one packet of zeros, which belongs to the loopback interface and never was on it. */
function testRun(attempts: Attempts, how: Pick<ProgTestRunAttr, "flags" | "batch_size">): Verdict {
  return attempts.conclude(
    attempts.load({ type: "xdp" }, (prog_fd) =>
      attempts.call("bpf(BPF_PROG_TEST_RUN)", [], () => {
        progTestRun(attempts.sys, { prog_fd, data_in: new Uint8Array(64), repeat: 1, ...how });
        return undefined;
      }),
    ),
  );
}

function hasPmu(name: string): Verdict {
  const devices = "/sys/bus/event_source/devices";
  if (!existsSync(devices)) return unknown(`${devices} is not in sight`);
  return existsSync(`${devices}/${name}`) ? yes() : no(`the kernel has no perf events of type ${name}`);
}

function probeFreeze(attempts: Attempts): Verdict {
  return attempts.conclude(
    attempts.map({ map_type: BPF_MAP_TYPE_ARRAY, ...WORDS }, (fd) =>
      attempts.call("bpf(BPF_MAP_FREEZE)", [], () => {
        mapFreeze(attempts.sys, fd);
        return undefined;
      }),
    ),
  );
}

function probeKernelBtf(): Verdict {
  if (existsSync("/sys/kernel/btf/vmlinux")) return yes();
  return existsSync("/sys/kernel")
    ? no("/sys/kernel/btf/vmlinux does not exist")
    : unknown("/sys/kernel is not in sight");
}

function probeBatch(attempts: Attempts): Verdict {
  return attempts.conclude(
    attempts.map({ map_type: BPF_MAP_TYPE_HASH, ...WORDS }, (map_fd) =>
      attempts.call("bpf(BPF_MAP_LOOKUP_BATCH)", [], () => {
        const bytes = new Uint8Array(4);
        mapLookupBatch(attempts.sys, {
          map_fd,
          keys: bytes,
          values: bytes,
          count: 1,
          in_batch: undefined,
          out_batch: bytes,
        });
        return undefined;
      }),
    ),
  );
}

/** Attaches to a function that nothing but the kernel's own tests call, for an instant. */
function probeTrampolines(attempts: Attempts): Verdict {
  const id = targetId({ kind: "func", name: "bpf_fentry_test1" });
  if (typeof id !== "number") return id;
  return attempts.conclude(
    attempts.load(
      { type: "tracing", code: RETURN_0, attachType: BPF_TRACE_FENTRY, more: { attach_btf_id: id } },
      (prog_fd) =>
        attempts.call("bpf(BPF_RAW_TRACEPOINT_OPEN)", ["CAP_PERFMON"], () =>
          rawTracepointOpen(attempts.sys, { prog_fd }),
        ),
    ),
  );
}

const RETURN_0: readonly Insn[] = [mov32(r0, 0), exit()];

/** For the first member of the TCP congestion control; that the verifier has a say is answer enough. */
function probeStructOps(attempts: Attempts): Verdict {
  const id = targetId({ kind: "struct", name: "tcp_congestion_ops" });
  if (typeof id !== "number") return id;
  const attempt = attempts.load({ type: "struct_ops", attachType: 0, more: { attach_btf_id: id } });
  return verdictLine(attempt.log) === undefined ? attempts.conclude(attempt) : yes();
}

function probeLsm(attempts: Attempts): Verdict {
  const { lsms } = attempts.facts();
  if (lsms !== undefined && !lsms.includes("bpf")) {
    return no(
      `bpf is not among the active security modules (${lsms.join(", ")}): it takes lsm=...,bpf at boot`,
    );
  }
  const id = targetId({ kind: "func", name: "bpf_lsm_file_open" });
  if (typeof id !== "number") return id;
  return attempts.conclude(
    attempts.load({ type: "lsm", code: RETURN_0, attachType: BPF_LSM_MAC, more: { attach_btf_id: id } }),
  );
}

function probeStatistics(attempts: Attempts): Verdict {
  return attempts.conclude(
    attempts.call("bpf(BPF_ENABLE_STATS)", ["CAP_SYS_ADMIN"], () => enableStats(attempts.sys)),
  );
}

function probeBindMap(attempts: Attempts): Verdict {
  return attempts.conclude(
    attempts.call("bpf(BPF_PROG_BIND_MAP)", [], () => {
      progBindMap(attempts.sys, { prog_fd: NO_FD, map_fd: NO_FD });
      return undefined;
    }),
    [EBADF],
  );
}

/** No socket filter may sleep: a kernel that knows the flag says which programs may. */
function probeSleepable(attempts: Attempts): Verdict {
  const attempt = attempts.load({ type: "socket_filter", more: { prog_flags: BPF_F_SLEEPABLE } });
  return /sleepable/.test(attempt.log) ? yes() : attempts.conclude(attempt);
}

/** Type 1 of the kernel's BTF is no function: a kernel that knows the instruction says so. */
function probeKfuncs(attempts: Attempts): Verdict {
  const attempt = attempts.load({ type: "sched_cls", code: [kfuncCall(1), mov32(r0, 0), exit()] });
  if (/is not a function/.test(attempt.log)) return yes();
  return attempts.conclude(attempt);
}

function kfuncCall(imm: number): Insn<never, never> {
  return insn<never, never>({ code: BPF_JMP | BPF_CALL, src_reg: BPF_PSEUDO_KFUNC_CALL, imm });
}

/** Loads blocks that call kernel functions by their ids. */
function withKfuncs<Name extends string>(
  attempts: Attempts,
  names: readonly Name[],
  blocks: (call: Readonly<Record<Name, Insn<never, never>>>) => Blocks,
): Verdict {
  const calls: Partial<Record<Name, Insn<never, never>>> = {};
  for (const name of names) {
    const id = targetId({ kind: "func", name });
    if (typeof id !== "number") return id;
    calls[name] = kfuncCall(id);
  }
  return attempts.conclude(
    attempts.load({ type: "sched_cls", code: blocks(calls as Readonly<Record<Name, Insn<never, never>>>) }),
  );
}

function probeOpenCodedIterators(attempts: Attempts): Verdict {
  const iterator = [mov(r1, r10), add(r1, -8)];
  return withKfuncs(attempts, ["bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"], (call) => ({
    entry: [...iterator, mov(r2, 0), mov(r3, 4), call.bpf_iter_num_new],
    loop: [...iterator, call.bpf_iter_num_next, jeq(r0, 0, "done"), ja("loop")],
    done: [...iterator, call.bpf_iter_num_destroy, mov32(r0, 0), exit()],
  }));
}

function probeExceptions(attempts: Attempts): Verdict {
  return withKfuncs(attempts, ["bpf_throw"], (call) => ({
    entry: [mov(r1, 0), call.bpf_throw, mov32(r0, 0), exit()],
  }));
}

/** The field of the answer is zero where the kernel does not know it. */
function probeLogTrueSize(attempts: Attempts): Verdict {
  const insns = new Uint8Array(16); // two words of zeros are no instructions: refused, with a log
  const attr = {
    prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
    insns,
    license: "GPL",
    log_level: 1,
    log_buf: new Uint8Array(4096),
  };
  const { result, log_true_size } = progLoad(attempts.sys, attr);
  if (log_true_size !== undefined) return yes();
  const attempt: Attempt = { result, log: "", call: "bpf(BPF_PROG_LOAD)", needed: ["CAP_BPF"] };
  if (result === -EPERM) return attempts.conclude(attempt);
  return attr.log_buf[0] === 0 ? unknown(saidBy(attempt)) : no();
}
