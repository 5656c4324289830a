import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { assemble } from "../../../src/asm/assemble.ts";
import type { Program } from "../../../src/asm/program.ts";
import { compileCase, cProgramsDirectory, cpusOf } from "../../lang/c-programs.ts";
import { type Case, cases } from "../../lang/cases.ts";
import { packets } from "../../lang/packets.ts";
import { inLanguage, KERNELS, programs } from "../../lang/programs/index.ts";
import { runCase } from "../../lang/run-case.ts";
import { findClang } from "../../support/clang.ts";
import { describeKernel } from "../../support/privileges.ts";

const clang = findClang();
if (clang === undefined)
  process.stderr.write("the C programs are not compiled: no clang for BPF is installed\n");

const ISAS = ["v3", "v4"] as const;

/** The same program, however it was made. */
function builds(spec: Case): readonly Program[] {
  const inC = clang === undefined ? [] : cpusOf(clang).map((cpu) => compileCase(clang, spec, cpu));
  return [...inC, ...ISAS.map((isa) => inLanguage(spec, isa))];
}

function sizeOf(program: Program): number {
  return assemble(program).bytes.length / 8;
}

describeKernel("the language beside C", () => {
  test("each program has its case", () => {
    const files = readdirSync(fileURLToPath(cProgramsDirectory)).filter((name) => name.endsWith(".c"));
    expect(files.sort()).toEqual(cases.map(({ name }) => `${name}.c`).sort());
    expect(Object.keys(programs).sort()).toEqual(cases.map(({ name }) => name).sort());
  });

  test.each(cases)("$name does what its case says, however it was compiled", (spec) => {
    const [reference, ...others] = builds(spec).map((program) => runCase(spec, program));
    if (reference === undefined) throw new Error("there is nothing to run");
    const names = Object.keys(packets);
    for (const [packet, verdict] of Object.entries(spec.verdicts ?? {})) {
      expect({ packet, verdict: reference.verdicts[names.indexOf(packet)] }).toEqual({ packet, verdict });
    }
    for (const other of others) expect(other).toEqual(reference);
    // A program that leaves no trace at all shows nothing of a difference.
    const written = Object.values(reference.maps).some((entries) => entries.length > 0);
    expect(new Set(reference.verdicts).size > 1 || written).toBe(true);
  });

  test.skipIf(clang === undefined)(`instruction counts beside clang's`, () => {
    if (clang === undefined) return; // for the type checker
    for (const isa of cpusOf(clang)) {
      const rows = cases.map((spec) => {
        const [c, language] = [sizeOf(compileCase(clang, spec, isa)), sizeOf(inLanguage(spec, isa))];
        return { name: spec.name, c, language, ratio: language / c };
      });
      const mean = Math.exp(rows.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / rows.length);
      const lines = rows.map(({ name, c, language, ratio }) =>
        [
          name.padEnd(16),
          String(c).padStart(6),
          String(language).padStart(9),
          ratio.toFixed(2).padStart(7),
        ].join(""),
      );
      console.log(
        [
          `instructions: clang ${clang.version} -O2 -mcpu=${isa}, and the language for kernel ${KERNELS[isa]}`,
          ...lines,
          `geometric mean of the ratios ${mean.toFixed(3)}`,
        ].join("\n"),
      );
      // Other versions of clang write other code: the bounds are those of the one that they were reached against.
      if (clang.version !== 19) continue;
      expect(mean).toBeLessThan(1);
      expect(rows.filter(({ ratio }) => ratio > 1.15)).toEqual([]);
    }
  });
});
