import { Command } from "commander";
import type { FeaturesFlags } from "../actions/features.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption } from "../options.ts";

/** `features`: what the running kernel has. */
export function featuresCommand(): Command {
  return new Command("features")
    .summary("show what BPF features this kernel has")
    .description(
      "Tries what the kernel has: map, program, attach and link types, instructions, BTF, and the big things that build on " +
        "them, each with the kernel that brought it. Where something else stands in the way, first of all a lack of " +
        "permission, it says so instead of no. Changes nothing, and attaches nothing to any interface.",
    )
    .option("--helpers", "the helpers that each type of program may call, too (takes some seconds)")
    .addOption(jsonOption())
    .addHelpText("after", EXAMPLES)
    .action(async (flags: FeaturesFlags) => {
      const { features } = await import("../actions/features.ts");
      await features(flags);
    });
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} features
  $ ${INVOCATION} features --helpers --json`;
