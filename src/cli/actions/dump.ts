import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { assemble } from "../../asm/assemble.ts";
import type { Dialect } from "../../asm/disassemble.ts";
import { formatListing, listing } from "../../asm/listing.ts";
import type { Program } from "../../asm/program.ts";
import { TsbpfError } from "../../base/error.ts";
import { readCpus } from "../../kernel/cpus.ts";
import { createSourceText, displayPath } from "../../kernel/source-text.ts";
import { cpuMapDef } from "../../programs/cpu-map.ts";
import * as tcInLanguage from "../../programs/lang/tc-log-cpu.ts";
import * as targetInLanguage from "../../programs/lang/xdp-on-target-cpu.ts";
import * as xdpInLanguage from "../../programs/lang/xdp-same-cpu.ts";
import { tcEgress, tcIngress } from "../../programs/tc-log-cpu.ts";
import { xdpOnTargetCpu } from "../../programs/xdp-on-target-cpu.ts";
import { xdpSameCpu } from "../../programs/xdp-same-cpu.ts";
import { note, say, sayJson } from "../output.ts";

/** Options of `dump`, as the command line gives them. */
export interface DumpFlags {
  readonly trace: boolean;
  readonly dialect: Dialect;
  readonly lang?: boolean;
  readonly from?: string;
  readonly raw?: string;
  readonly json?: boolean;
}

/** Shows the sample's programs or those of a module, or writes the bytes of one to a file. */
export async function dump(name: string | undefined, flags: DumpFlags): Promise<void> {
  const all = flags.from === undefined ? samplePrograms(flags) : await programsOf(flags.from);
  if (all.length === 0) {
    throw new TsbpfError(`${flags.from} exports no program`, {
      hint: "It must export what xdp(...), tc(...) and the like give, or an array or object of such.",
    });
  }
  const programs = all.filter((program) => name === undefined || program.name === name);
  if (programs.length === 0) {
    const names = all.map((program) => program.name).join(", ");
    throw new TsbpfError(`there is no program '${name}'`, { hint: `There is ${names}.` });
  }
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
  else {
    const { line: sourceText } = createSourceText();
    say(listings.map((one) => formatListing(one, { fileName: displayPath, sourceText })).join("\n\n"));
  }
}

function writeBytes(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    throw new TsbpfError(`cannot write the bytes: ${(cause as Error).message}`, { cause });
  }
}

function samplePrograms({ trace, lang = false }: DumpFlags): readonly Program[] {
  const cpus = cpuMapDef(readCpus().possible.length);
  if (lang) {
    return [
      xdpInLanguage.xdpSameCpu(cpus, { trace }),
      tcInLanguage.tcIngress({ trace }),
      tcInLanguage.tcEgress({ trace }),
      targetInLanguage.xdpOnTargetCpu(),
    ];
  }
  return [xdpSameCpu(cpus, { trace }), tcIngress({ trace }), tcEgress({ trace }), xdpOnTargetCpu()];
}

/** The programs among a module's exports by name, in arrays and objects too. */
async function programsOf(path: string): Promise<readonly Program[]> {
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    throw new TsbpfError(`cannot read programs from ${path}: ${(cause as Error).message}`, {
      cause,
      hint: "It is a module of JavaScript, or of TypeScript where tsx runs tsbpf, and it is run to get its exports.",
    });
  }
  const names = Object.keys(exported).sort();
  return [...new Set(names.flatMap((name) => programsIn(exported[name])))];
}

function programsIn(value: unknown): readonly Program[] {
  if (isProgram(value)) return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).filter(isProgram);
}

function isProgram(value: unknown): value is Program {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "program";
}
