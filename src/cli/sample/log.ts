import { ensureFilesystem } from "../../kernel/filesystems.ts";
import { removeStaleInstances, type TraceLine, TraceLog } from "../../kernel/trace-log.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { colourOfCore } from "../output.ts";

/** A hook of the sample, as its lines name it. */
export type SampleHook = "XDP" | "TC ingress" | "TC egress" | "XDP cpumap";

/** A line that a program of the sample printed. */
export interface SampleLine extends TraceLine {
  readonly hook: SampleHook;
  /** The core that the program said it ran on. */
  readonly saidCpu: number;
}

/** Opens a log of its own; the global `trace_pipe` keeps every line. Removes the logs of processes that were killed. */
export function openSampleLog(sys: Syscalls): TraceLog {
  const tracefs = ensureFilesystem(sys, "tracefs");
  removeStaleInstances(tracefs);
  return TraceLog.open({ sys, tracefs });
}

/** Reads a line as one of the sample's; `undefined` where it is somebody else's. */
export function parseSampleLine(line: TraceLine): SampleLine | undefined {
  const match = /^\[(XDP|TC ingress|TC egress|XDP cpumap) *\] cpu=(\d+)$/.exec(line.message);
  if (match === null) return undefined;
  return { ...line, hook: match[1] as SampleHook, saidCpu: Number(match[2]) };
}

/** A line as `trace_pipe` shows it, in the colour of its core. */
export function formatSampleLine(line: SampleLine): string {
  return colourOfCore(line.cpu, line.raw);
}
