import { writeFileSync } from "node:fs";
import { Argument, Command, Option } from "commander";
import { assemble } from "../../asm/assemble.ts";
import type { Dialect } from "../../asm/disassemble.ts";
import { formatListing, listing } from "../../asm/listing.ts";
import type { Program } from "../../asm/program.ts";
import { TsbpfError } from "../../base/error.ts";
import { readCpus } from "../../kernel/cpus.ts";
import { displayPath } from "../../kernel/source-text.ts";
import { cpuMapDef } from "../../programs/cpu-map.ts";
import { tcEgress, tcIngress } from "../../programs/tc-log-cpu.ts";
import { xdpOnTargetCpu } from "../../programs/xdp-on-target-cpu.ts";
import { xdpSameCpu } from "../../programs/xdp-same-cpu.ts";
import { INVOCATION } from "../invocation.ts";
import { jsonOption } from "../options.ts";
import { note, say, sayJson } from "../output.ts";

interface DumpFlags {
  readonly trace: boolean;
  readonly dialect: Dialect;
  readonly raw?: string;
  readonly json?: boolean;
}

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
    .action(dump);
}

function dump(name: string | undefined, flags: DumpFlags): void {
  const programs = samplePrograms(flags.trace).filter(
    (program) => name === undefined || program.name === name,
  );
  const assembled = programs.map((program) => assemble(program));
  if (flags.raw !== undefined) {
    const [only] = assembled;
    if (only === undefined || assembled.length > 1) {
      throw new TsbpfError("--raw writes one program", { hint: `Name it: ${NAMES.join(", ")}.` });
    }
    writeFileSync(flags.raw, only.bytes);
    note(`${flags.raw}: ${only.bytes.length} bytes, ${only.bytes.length / 8} instruction words`);
    return;
  }
  const listings = assembled.map((one) => listing(one, { dialect: flags.dialect }));
  if (flags.json === true) sayJson(listings);
  else say(listings.map((one) => formatListing(one, { fileName: displayPath })).join("\n\n"));
}

function samplePrograms(trace: boolean): readonly Program[] {
  return [
    xdpSameCpu(cpuMapDef(readCpus().possible.length), { trace }),
    tcIngress({ trace }),
    tcEgress({ trace }),
    xdpOnTargetCpu(),
  ];
}
