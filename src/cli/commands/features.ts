import { Command } from "commander";
import { FEATURE_GROUPS, probeFeatures } from "../../kernel/features/index.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { formatFeatures } from "../features/format.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption } from "../options.ts";
import { say, sayJson } from "../output.ts";

interface FeaturesFlags {
  readonly helpers?: boolean;
  readonly json?: boolean;
}

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
    .action(features);
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} features
  $ ${INVOCATION} features --helpers --json`;

function features({ helpers = false, json = false }: FeaturesFlags): void {
  const groups = FEATURE_GROUPS.filter((group) => helpers || group !== "helpers");
  const report = probeFeatures(linuxSyscalls(), groups);
  if (json) sayJson(report);
  else say(...formatFeatures(report));
}
