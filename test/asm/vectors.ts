import { readFileSync } from "node:fs";
import type { Insn } from "../../src/asm/index.ts";
import * as asm from "../../src/asm/index.ts";
import { array, struct, u32 } from "../../src/btf/layout/index.ts";
import * as helpers from "../../src/uapi/helpers.ts";

/** A row of `test/vectors/asm/instructions.tsv`. */
export interface InstructionVector {
  /** The constructor's call, as TypeScript. */
  readonly insn: string;
  /** What the label `L` resolves to, in jumps. */
  readonly distance: number | undefined;
  readonly little: Uint8Array;
  readonly big: Uint8Array;
  readonly kernel: string;
  readonly llvm: string;
}

export const instructionVectors: readonly InstructionVector[] = readFileSync(
  new URL("../vectors/asm/instructions.tsv", import.meta.url),
  "utf8",
)
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [insn = "", distance = "", little = "", big = "", kernel = "", llvm = ""] = line.split("\t");
    return {
      insn,
      distance: distance === "" ? undefined : Number(distance),
      little: fromHex(little),
      big: fromHex(big),
      kernel,
      llvm,
    };
  });

export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.split(" "), (byte) => Number.parseInt(byte, 16));
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** What the rows may name beside constructors, registers and helpers. */
const names = {
  cpus: asm.mapDef({ name: "cpus", type: "cpumap", key: u32, value: u32, maxEntries: 4 }),
  config: asm.mapDef({
    name: "config",
    type: "array",
    key: u32,
    value: struct("config", { a: u32, b: array(u32, 3) }),
    maxEntries: 1,
  }),
  double: asm.subprogram("double", { entry: [asm.mov(asm.r0, asm.r1), asm.add(asm.r0, asm.r0), asm.exit()] }),
};

/** The instruction of a row, with its label resolved to the row's distance. */
export function build({ insn: text, distance }: InstructionVector): Insn {
  const scope: Readonly<Record<string, unknown>> = { ...asm, ...helpers, ...names };
  const evaluate = new Function(...Object.keys(scope), `"use strict"; return ${text};`);
  const insn = evaluate(...Object.values(scope)) as Insn;
  if (distance === undefined) return insn;
  return text.startsWith("gotol") ? { ...insn, imm: distance } : { ...insn, off: distance };
}
