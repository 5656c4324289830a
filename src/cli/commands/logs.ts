import { Command, Option } from "commander";
import type { LogsFlags } from "../actions/logs.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption, wholeNumber } from "../options.ts";

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
    .addHelpText("after", EXAMPLES)
    .action(async (flags: LogsFlags) => {
      const { logs } = await import("../actions/logs.ts");
      await logs(flags);
    });
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} logs
  $ ${INVOCATION} logs -n 20 --json`;
