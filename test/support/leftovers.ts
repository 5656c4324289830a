/**
 * What a run may leave on the machine: a snapshot before, another one after, and sentences about the difference.
 * Nothing here changes anything.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { listBpfObjects } from "./bpf-objects.ts";
import { listNamespaces } from "./netns.ts";

/** The part of the machine's state that tests could change, as lists of readable lines. */
export interface Snapshot {
  readonly "network namespace": readonly string[];
  readonly mount: readonly string[];
  /** Files and directories below /sys/fs/bpf. */
  readonly "bpffs entry": readonly string[];
  readonly "tracing instance": readonly string[];
  readonly "trace event": readonly string[];
  readonly setting: readonly string[];
  readonly "BPF object": readonly string[];
  /** `cpumap/CPU/map:ID`. */
  readonly "kernel thread": readonly string[];
  /** Interfaces of the namespace we are in, with the XDP program they carry. */
  readonly interface: readonly string[];
}

/** Reads the machine's state. What cannot be read (no privilege, not mounted) counts as empty. */
export function takeSnapshot(): Snapshot {
  return {
    "network namespace": listNamespaces(),
    mount: mounts(),
    "bpffs entry": tree("/sys/fs/bpf"),
    "tracing instance": names(`${TRACEFS}/instances`),
    "trace event": lines(`${TRACEFS}/set_event`)
      .filter((event) => event !== PRINTK_EVENT)
      .concat(lines(`${TRACEFS}/kprobe_events`)),
    // A tracefs that is not mounted has no settings: whether it is mounted is told by the mounts.
    setting: SETTINGS.filter((path) => existsSync(path)).map((path) => `${path} = ${setting(path)}`),
    "BPF object": bpfObjects(),
    "kernel thread": cpumapThreads(),
    interface: names("/sys/class/net"),
  };
}

/**
 * One sentence for everything that is new in the second snapshot, and for what has gone that somebody had made; empty when
 * nothing is. That an object has gone says nothing: the kernel frees them in the background, and may have been about to.
 */
export function compareSnapshots(before: Snapshot, after: Snapshot): readonly string[] {
  return (Object.keys(before) as (keyof Snapshot)[]).flatMap((key) => [
    ...onlyIn(after[key], before[key]).map((line) => `${key} left behind: ${line}`),
    ...(FREED.includes(key) ? [] : onlyIn(before[key], after[key]).map((line) => `${key} gone: ${line}`)),
  ]);
}

/** Whether two snapshots say the same. */
export function sameSnapshot(one: Snapshot, other: Snapshot): boolean {
  return compareSnapshots(one, other).length + compareSnapshots(other, one).length === 0;
}

/**
 * Compares `before` with the present again and again until they agree or the time is over, and returns the last
 * difference: the kernel frees programs, maps and threads in the background.
 *
 * @param besides - looks for what else must have gone, a line each.
 */
export async function waitForNoLeftovers(
  before: Snapshot,
  besides: () => readonly string[] = () => [],
): Promise<readonly string[]> {
  // Network namespaces, and what is attached in them, may take the kernel seconds. Where others work, too, something is
  // always left.
  const deadline = Date.now() + (process.env["CI"] === undefined ? 5_000 : 20_000);
  for (;;) {
    const difference = [...compareSnapshots(before, takeSnapshot()), ...besides()];
    if (difference.length === 0 || Date.now() > deadline) return difference;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What goes by itself once nobody holds it. */
const FREED: readonly (keyof Snapshot)[] = ["BPF object", "kernel thread"];

const onlyIn = (these: readonly string[], those: readonly string[]): readonly string[] =>
  these.filter((line) => !those.includes(line));

const TRACEFS = "/sys/kernel/tracing";
/**
 * The kernel switches this event on by itself, in the global trace, whenever a program that calls bpf_trace_printk is
 * loaded (`__set_printk_clr_event` in kernel/trace/bpf_trace.c), and never off again. So the first such program since
 * boot, anybody's, makes the difference; whoever switched it off again would take their lines from others.
 */
const PRINTK_EVENT = "bpf_trace:bpf_trace_printk";
const SETTINGS = [
  "/proc/sys/net/core/bpf_jit_enable",
  "/proc/sys/net/core/bpf_jit_harden",
  "/proc/sys/net/core/bpf_jit_kallsyms",
  "/proc/sys/net/core/bpf_jit_limit",
  "/proc/sys/kernel/bpf_stats_enabled",
  "/proc/sys/kernel/unprivileged_bpf_disabled",
  "/proc/sys/net/ipv4/ip_forward",
  "/proc/sys/net/ipv6/conf/all/forwarding",
  `${TRACEFS}/tracing_on`,
  `${TRACEFS}/current_tracer`,
  `${TRACEFS}/buffer_size_kb`,
] as const;

/** A trace buffer that nobody has used since boot says `7 (expanded: 1408)`, and `1408` from its first use on. */
function setting(path: string): string {
  return lines(path)
    .join(" ")
    .replace(/^\d+ \(expanded: (\d+)\)$/, "$1");
}

/** BPF_PROG_TYPE_CGROUP_*: service managers load and unload these at any time. */
const CGROUP_PROG_TYPES = [8, 9, 15, 18, 23, 25];

/** `ip netns` keeps one bind mount of /run/netns for good, and one per namespace, which are listed by name already. */
function mounts(): string[] {
  return lines("/proc/mounts").filter((line) => !/^\S+ (\/var)?\/run\/netns(\/| )/.test(line));
}

function bpfObjects(): string[] {
  return listBpfObjects()
    .filter(({ kind, type }) => kind !== "prog" || !CGROUP_PROG_TYPES.includes(type))
    .map(({ kind, id, type, name }) => `${kind} ${id} (type ${type}) ${name}`.trim());
}

function cpumapThreads(): string[] {
  return names("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => lines(`/proc/${pid}/comm`))
    .filter((comm) => comm.startsWith("cpumap/"))
    .sort();
}

function tree(root: string): string[] {
  try {
    return readdirSync(root, { recursive: true, encoding: "utf8" }).sort();
  } catch {
    return [];
  }
}

function names(directory: string): string[] {
  try {
    return existsSync(directory) ? readdirSync(directory).sort() : [];
  } catch {
    return [];
  }
}

function lines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}
