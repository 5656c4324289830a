import { readdirSync, readFileSync } from "node:fs";
import { kernelBefore } from "../../kernel/privileges.ts";

/** Pids of CPU maps' kernel threads, by what `/proc/PID/comm` calls them. */
export type CpuMapThreads = ReadonlyMap<string, readonly number[]>;

/** The kernel thread behind an entry of a CPU map. */
export interface CpuMapThread {
  readonly pid: number;
  /** In full: `cpumap/<cpu>/map:<id>`. `ps` cuts it at 15 characters. */
  readonly name: string;
}

/** Looks for the kernel threads of all CPU maps of this machine. */
export function readCpuMapThreads(): CpuMapThreads {
  const threads = new Map<string, number[]>();
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
      if (name.startsWith("cpumap/")) threads.set(name, [...(threads.get(name) ?? []), Number(pid)]);
    } catch {
      // it has ended meanwhile
    }
  }
  return threads;
}

/**
 * The thread behind the entry of `cpu` in a CPU map; `undefined` where there is none.
 *
 * Kernels before 5.17 cut the names of their threads at 15 characters, and so map 12 and map 123 have threads of the same
 * name: `undefined` where several have it, since nobody can tell them apart.
 *
 * @param cut - whether the kernel cuts them.
 */
export function findCpuMapThread(
  threads: CpuMapThreads,
  cpu: number,
  mapId: number,
  cut: boolean = kernelBefore(5, 17),
): CpuMapThread | undefined {
  const name = `cpumap/${cpu}/map:${mapId}`;
  const pids = threads.get(name) ?? (cut ? threads.get(name.slice(0, CUT_AT)) : undefined) ?? [];
  const pid = pids.at(-1); // after an update the old thread ends in its own time
  return pid === undefined || (cut && pids.length > 1) ? undefined : { pid, name };
}

/** TASK_COMM_LEN without its NUL. */
const CUT_AT = 15;
