/** Whose process this is: every process of one vitest run carries the run's id in its environment. */
import { readdirSync, readFileSync } from "node:fs";

const VARIABLE = "TSBPF_TEST_RUN";

/** Process id of the run's main process; this process's own id outside of a run. */
export function testRunPid(): number {
  const value = Number(process.env[VARIABLE]);
  return Number.isInteger(value) && value > 0 ? value : process.pid;
}

/** Makes this process the main process of a run: workers, and what they start, inherit the id. */
export function beginTestRun(): void {
  process.env[VARIABLE] = String(process.pid);
}

/** A process. */
export interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

/** Processes that have `NAME=value` in the environment they were started with: its heirs, whoever started them. */
export function processesWith(marker: string): readonly FoundProcess[] {
  return processesWhere((environment) => environment.includes(marker));
}

/** Processes that runs started which have themselves ended. */
export function heirsOfDeadRuns(): readonly FoundProcess[] {
  return processesWhere((environment) => {
    const run = environment.find((entry) => entry.startsWith(`${VARIABLE}=`))?.slice(VARIABLE.length + 1);
    return run !== undefined && /^[1-9]\d*$/.test(run) && !isAlive(Number(run));
  });
}

function processesWhere(matches: (environment: readonly string[]) => boolean): readonly FoundProcess[] {
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || !isAlive(pid)) return [];
    try {
      if (!matches(readFileSync(`/proc/${pid}/environ`, "latin1").split("\0"))) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
      return [{ pid, command }];
    } catch {
      return []; // ended meanwhile, or not ours to read
    }
  });
}

/** Whether a process exists and is more than a zombie. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** When a process was started, in milliseconds since 1970; `undefined` where there is none. */
export function startOf(pid: number): number | undefined {
  try {
    // The name, in brackets, may hold spaces; the 22nd field is clock ticks since the machine started.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    const bootTime = /^btime (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1];
    return Number(bootTime) * 1000 + Number(fields[19]) * (1000 / TICKS_PER_SECOND);
  } catch {
    return undefined;
  }
}

/** USER_HZ, which is 100 on every architecture that tsbpf runs on. */
const TICKS_PER_SECOND = 100;
