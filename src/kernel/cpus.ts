import { readFileSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";

/** The machine's CPUs as ascending lists of numbers. */
export interface Cpus {
  /** Those that run now. */
  readonly online: readonly number[];
  /** Those that may ever run: the kernel gives per-CPU maps one value for each. */
  readonly possible: readonly number[];
}

/** Reads which CPUs are online and possible. */
export function readCpus(): Cpus {
  return { online: readList("online"), possible: readList("possible") };
}

/**
 * Parses a list of CPUs as the kernel and taskset write it: `0-3,5`.
 *
 * @throws TsbpfError when it is not such a list.
 */
export function parseCpuList(list: string): readonly number[] {
  const cpus = new Set<number>();
  for (const part of list.trim().split(",")) {
    const match = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first) {
      throw new TsbpfError(`'${list}' is not a list of CPUs`, {
        hint: "Write numbers and ranges, as in 0-3,5.",
      });
    }
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

/** Writes a list of CPUs the short way: `0-3,5`. */
export function formatCpuList(cpus: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < cpus.length; ) {
    const first = cpus[index] as number;
    let last = first;
    while (cpus[++index] === last + 1) last++;
    parts.push(first === last ? `${first}` : `${first}-${last}`);
  }
  return parts.join(",");
}

function readList(name: "online" | "possible"): readonly number[] {
  return parseCpuList(readFileSync(`/sys/devices/system/cpu/${name}`, "utf8"));
}
