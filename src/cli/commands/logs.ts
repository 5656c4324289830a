import { Command, Option } from "commander";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { openContext } from "../context.ts";
import { interruptible } from "../interrupt.ts";
import { jsonOption, wholeNumber } from "../options.ts";
import { say } from "../output.ts";
import { formatSampleLine, openSampleLog, parseSampleLine } from "../sample/log.ts";
import { releaseMounts } from "../sample/mounts.ts";

interface LogsFlags {
  readonly count?: number;
  readonly json?: boolean;
}

/** `logs`: the lines that the sample's programs print. */
export function logsCommand(): Command {
  return new Command("logs")
    .summary("show the sample's lines as packets come, one colour for each core")
    .description(
      "Reads the lines from a tracing instance of its own, so that whoever reads /sys/kernel/tracing/trace_pipe loses " +
        "none. The lines are those of the whole machine: a line does not tell its network namespace. Ctrl-C ends it.",
    )
    .addOption(new Option("-n, --count <n>", "end after this many lines").argParser(wholeNumber))
    .addOption(jsonOption())
    .action(logs);
}

async function logs(flags: LogsFlags): Promise<void> {
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
