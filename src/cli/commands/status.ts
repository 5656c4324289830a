import { Command } from "commander";
import type { StatusFlags } from "../actions/status.ts";
import { INVOCATION } from "../invocation.ts";
import { bpffsOption, jsonOption, netnsOption } from "../options.ts";

/** `status`: what is up. */
export function statusCommand(): Command {
  return new Command("status")
    .summary("show what is up")
    .description(
      "Shows what tsbpf has attached in this network namespace, as the kernel tells it: programs with ids and tags, " +
        "the mode that XDP really runs in, the entries of the CPU map and their threads.",
    )
    .addOption(netnsOption())
    .addOption(bpffsOption())
    .addOption(jsonOption())
    .addHelpText("after", EXAMPLES)
    .action(async (flags: StatusFlags) => {
      const { status } = await import("../actions/status.ts");
      await status(flags);
    });
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} status
  $ ${INVOCATION} status --netns blue --json`;
