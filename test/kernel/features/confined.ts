/**
 * Run by privileges.test.ts in a child that may do less than root: tries every type of program and map, prints what the
 * kernel said to each and what the product makes of it.
 *
 * With the argument `seccomp` it forbids bpf(2) to itself first, as container runtimes do.
 */
import koffi from "koffi";
import type { ProgTypeName } from "../../../src/asm/program.ts";
import { createAttempts } from "../../../src/kernel/features/attempt.ts";
import { MAP_TYPES, type ProbedMapType } from "../../../src/kernel/features/map-types.ts";
import { createProber } from "../../../src/kernel/features/prober.ts";
import { PROG_TYPES } from "../../../src/kernel/features/prog-types.ts";
import { mapTypeNumber } from "../../../src/kernel/map-type.ts";
import { capabilitiesToCreate, capabilitiesToLoad } from "../../../src/kernel/needed-capabilities.ts";
import { diagnosePermission, explainPermission } from "../../../src/kernel/privileges.ts";
import { progGetNextId } from "../../../src/syscall/bpf-object.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";

/** What this prints, as JSON. */
export interface Confined {
  readonly progs: Readonly<Record<string, Outcome>>;
  readonly maps: Readonly<Record<string, Outcome>>;
  /** The message of walking program ids, with its hint. */
  readonly walk: string;
  /** Answers of the prober, by what was asked. */
  readonly answers: Readonly<Record<string, { readonly answer: string; readonly reason?: string }>>;
}

/** Whether the kernel said EPERM before the verifier had a word, and why that may be. */
export interface Outcome {
  readonly denied: boolean;
  readonly missing: readonly string[];
  readonly cause: string;
  readonly text: string;
}

if (process.argv.includes("seccomp")) forbidBpf();

const sys = linuxSyscalls();
const attempts = createAttempts(sys);
const prober = createProber(sys);
const EPERM = -1;

const progs = Object.entries(PROG_TYPES).map(([type, { attachType, flags }]) => {
  const spec = { type: type as ProgTypeName, attachType, more: { prog_flags: flags } };
  const { result, log } = attempts.load(spec);
  return [type, outcome(result === EPERM && log === "", capabilitiesToLoad(type as ProgTypeName))];
});
const maps = (Object.keys(MAP_TYPES) as ProbedMapType[]).map((type) => {
  // What a type wants besides its sizes is looked at after the permission, or fails with another errno.
  const attr = { key_size: 4, value_size: 4, max_entries: 1, ...MAP_TYPES[type].attr };
  const { result } = attempts.map({ map_type: mapTypeNumber(type), ...attr });
  return [type, outcome(result === EPERM, capabilitiesToCreate(type))];
});

const report: Confined = {
  progs: Object.fromEntries(progs),
  maps: Object.fromEntries(maps),
  walk: messageOf(() => explainPermission(["CAP_SYS_ADMIN"], () => progGetNextId(sys, 0))),
  answers: {
    hash: prober.haveMapType("hash"),
    sockmap: prober.haveMapType("sockmap"),
    xdp: prober.haveProgType("xdp"),
    kprobe: prober.haveProgType("kprobe"),
    tcx: prober.have("tcx"),
    jlt: prober.haveIsa("jlt"),
    printk: prober.haveHelper("sched_cls", "bpf_trace_printk"),
    ring_buffer_in_sched_act: prober.haveHelper("sched_act", "bpf_ringbuf_output"),
    enum64: prober.haveBtf("enum64"),
    cgroup_link: prober.haveLinkType("cgroup"),
    flow_dissector: prober.haveAttachType("flow_dissector"),
  },
};
process.stdout.write(JSON.stringify(report));

function outcome(denied: boolean, needed: Parameters<typeof diagnosePermission>[0]): Outcome {
  return { denied, ...diagnosePermission(needed) };
}

function messageOf(run: () => unknown): string {
  try {
    run();
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Installs a classic BPF filter that answers bpf(2) with EPERM (seccomp(2)). */
function forbidBpf(): void {
  const prctl = koffi.load("libc.so.6").func("int prctl(int option, ulong a, void *b, ulong c, ulong d)");
  const filter = [
    [0x20, 0, 0, 0], // A = the number of the system call
    [0x15, 0, 1, process.arch === "x64" ? 321 : 280], // is it bpf(2)?
    [0x06, 0, 0, 0x0005_0001], // SECCOMP_RET_ERRNO | EPERM
    [0x06, 0, 0, 0x7fff_0000], // SECCOMP_RET_ALLOW
  ] as const;
  const code = Buffer.alloc(filter.length * 8);
  for (const [index, [op, jt, jf, k]] of filter.entries()) {
    code.writeUInt16LE(op, index * 8);
    code.writeUInt8(jt, index * 8 + 2);
    code.writeUInt8(jf, index * 8 + 3);
    code.writeUInt32LE(k, index * 8 + 4);
  }
  const program = Buffer.alloc(16);
  program.writeUInt16LE(filter.length, 0);
  program.writeBigUInt64LE(koffi.address(code), 8);
  const failed = prctl(38, 1, null, 0, 0) !== 0 || prctl(22, 2, program, 0, 0) !== 0;
  if (failed) throw new Error("seccomp filter refused");
}
