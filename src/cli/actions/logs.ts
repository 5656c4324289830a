import type { Syscalls } from "../../syscall/syscalls.ts";
import { openContext } from "../context.ts";
import { interruptible } from "../interrupt.ts";
import { say } from "../output.ts";
import { formatSampleLine, openSampleLog, parseSampleLine } from "../sample/log.ts";
import { releaseMounts } from "../sample/mounts.ts";

/** Options of `logs`, as the command line gives them. */
export interface LogsFlags {
  readonly count?: number;
  readonly json?: boolean;
}

/** Shows the sample's lines until a signal comes, or as many as were asked for. */
export async function logs(flags: LogsFlags): Promise<void> {
  using context = openContext();
  await interruptible(async (signal) => {
    try {
      await showLines(context.sys, flags, signal);
    } finally {
      releaseMounts(context.sys);
    }
  });
}

async function showLines(sys: Syscalls, flags: LogsFlags, signal: AbortSignal): Promise<void> {
  let left = flags.count ?? Number.POSITIVE_INFINITY;
  if (left <= 0) return;
  using log = openSampleLog(sys);
  for await (const line of log.lines({ signal })) {
    const ours = parseSampleLine(line);
    if (ours === undefined) continue;
    say(flags.json === true ? JSON.stringify(ours) : formatSampleLine(ours));
    if (--left === 0 || signal.aborted) return;
  }
}
