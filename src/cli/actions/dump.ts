import { writeFileSync } from "node:fs";
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
import { note, say, sayJson } from "../output.ts";

/** Options of `dump`, as the command line gives them. */
export interface DumpFlags {
  readonly trace: boolean;
  readonly dialect: Dialect;
  readonly raw?: string;
  readonly json?: boolean;
}

/** Shows the sample's programs, or writes the bytes of one to a file. */
export function dump(name: string | undefined, flags: DumpFlags): void {
  const programs = samplePrograms(flags.trace).filter(
    (program) => name === undefined || program.name === name,
  );
  const assembled = programs.map((program) => assemble(program));
  if (flags.raw !== undefined) {
    const [only] = assembled;
    if (only === undefined || assembled.length > 1) {
      const names = programs.map((program) => program.name).join(", ");
      throw new TsbpfError("--raw writes one program", { hint: `Name it: ${names}.` });
    }
    writeBytes(flags.raw, only.bytes);
    note(`${flags.raw}: ${only.bytes.length} bytes, ${only.bytes.length / 8} instruction words`);
    return;
  }
  const listings = assembled.map((one) => listing(one, { dialect: flags.dialect }));
  if (flags.json === true) sayJson(listings);
  else say(listings.map((one) => formatListing(one, { fileName: displayPath })).join("\n\n"));
}

function writeBytes(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    throw new TsbpfError(`cannot write the bytes: ${(cause as Error).message}`, { cause });
  }
}

function samplePrograms(trace: boolean): readonly Program[] {
  return [
    xdpSameCpu(cpuMapDef(readCpus().possible.length), { trace }),
    tcIngress({ trace }),
    tcEgress({ trace }),
    xdpOnTargetCpu(),
  ];
}
