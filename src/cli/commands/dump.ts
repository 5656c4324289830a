import { Argument, Command, Option } from "commander";
import type { DumpFlags } from "../actions/dump.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption } from "../options.ts";

/** Names of the sample's programs, as they are loaded. */
const NAMES = ["xdp_same_cpu", "tc_ingress", "tc_egress", "xdp_target_cpu"] as const;

/** `dump [program]`: the bytes of the sample's programs, and where they come from. */
export function dumpCommand(): Command {
  return new Command("dump")
    .summary("show the programs: bytes, instructions, blocks, lines of TypeScript")
    .description(
      "Assembles the sample's programs and shows them instruction by instruction, as they are given to the kernel (with " +
        "0 in the place of the map's fd). Needs no privileges.",
    )
    .addArgument(new Argument("[program]", "one of them (default: all)").choices(NAMES))
    .option("--no-trace", "as `up --no-trace` loads them")
    .addOption(
      new Option(
        "--dialect <dialect>",
        "whose words to use: the kernel's and bpftool's, or those of llvm-objdump",
      )
        .choices(["kernel", "llvm"])
        .default("kernel"),
    )
    .addOption(new Option("--raw <file>", "write the bytes of the program to this file").conflicts("json"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `\nExamples:\n  $ ${INVOCATION} dump xdp_same_cpu\n  $ ${INVOCATION} dump tc_ingress --raw tc_ingress.bin`,
    )
    .action(async (name: string | undefined, flags: DumpFlags) => {
      const { dump } = await import("../actions/dump.ts");
      await dump(name, flags);
    });
}
