import { Argument, Command, Option } from "commander";
import type { DumpFlags } from "../actions/dump.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption } from "../options.ts";

/** `dump [program]`: the bytes of programs, and the lines that they come from. */
export function dumpCommand(): Command {
  return new Command("dump")
    .summary("show the programs: bytes, instructions, blocks, lines of TypeScript")
    .description(
      "Assembles the sample's programs, or those of a module, and shows each line of TypeScript with the instructions that " +
        "it became, as they are given to the kernel (with 0 in the place of the map's fd). Needs no privileges.",
    )
    .addArgument(new Argument("[program]", "one of them, by its name (default: all)"))
    .option("--no-trace", "as `up --no-trace` loads them")
    .option("--lang", "the sample as it is written in the structured language")
    .addOption(
      new Option(
        "--from <module>",
        "the programs that this module exports, instead of the sample's",
      ).conflicts(["lang", "trace"]),
    )
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
      `\nExamples:\n  $ ${INVOCATION} dump xdp_same_cpu\n  $ ${INVOCATION} dump --lang xdp_same_cpu\n  $ ${INVOCATION} dump --from ./my-programs.ts\n  $ ${INVOCATION} dump tc_ingress --raw tc_ingress.bin`,
    )
    .action(async (name: string | undefined, flags: DumpFlags) => {
      const { dump } = await import("../actions/dump.ts");
      await dump(name, flags);
    });
}
