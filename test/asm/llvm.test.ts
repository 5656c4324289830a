import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { instructionVectors, toHex } from "./vectors.ts";

// An independent judge: LLVM's assembler reads our words, and its disassembler our bytes. LLVM_MC names another llvm-mc.

interface Tool {
  readonly path: string;
  readonly version: number;
}

function findLlvmMc(): Tool | undefined {
  const candidates = [process.env["LLVM_MC"], "llvm-mc-20", "llvm-mc-19", "llvm-mc"];
  for (const path of candidates) {
    if (path === undefined) continue;
    const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
    const version = /LLVM version (\d+)/.exec(stdout ?? "")?.[1];
    if (version !== undefined) return { path, version: Number(version) };
  }
  return undefined;
}

const tool = findLlvmMc();
const reason = "no llvm-mc is installed (apt-get install llvm, or llvm-19 for the newer instructions)";
if (tool === undefined) process.stderr.write(`the comparison with LLVM is skipped: ${reason}\n`);

/** The first LLVM whose words are ours: decimal numbers, 32-bit registers for loads, gotol, movsx, bswap, may_goto. */
const SAME_WORDS = 19;

// What LLVM 19 cannot read or has no words for, or reads without the symbol that we print behind it.
const hasSymbol = / <\w+>$/;
const noWords = /^(ld_pseudo|gotox|.*load_acquire|store_release|<unknown>)/;
const rows = instructionVectors.filter(({ llvm }) => !hasSymbol.test(llvm) && !noWords.test(llvm));

/** Runs llvm-mc: what it printed, and the numbers (from 1) of the lines of `input` that it refused. */
function llvmMc(
  { path }: Tool,
  args: readonly string[],
  input: string,
): { readonly output: string; readonly refused: ReadonlySet<number> } {
  const { stdout, stderr } = spawnSync(path, [...args], { encoding: "utf8", input, maxBuffer: 1 << 24 });
  const refused = new Set(
    Array.from(stderr.matchAll(/^<stdin>:(\d+):\d+: (?:error|warning)/gm), ([, line]) => Number(line)),
  );
  return { output: stdout, refused };
}

describe.skipIf(tool === undefined)(
  `against llvm-mc${tool === undefined ? ` [skipped: ${reason}]` : ""}`,
  () => {
    const llvm = tool ?? { path: "", version: 0 };
    const cpu = llvm.version >= SAME_WORDS ? "-mcpu=v4" : "-mcpu=v3";

    it.each([
      { triple: "bpfel", bytesOf: (row: (typeof rows)[number]) => row.little },
      { triple: "bpfeb", bytesOf: (row: (typeof rows)[number]) => row.big },
    ])("it assembles our words to our bytes ($triple)", ({ triple, bytesOf }) => {
      const input = rows.map((row) => `${row.llvm}\n`).join("");
      const { output, refused } = llvmMc(llvm, [`-triple=${triple}`, cpu, "--show-encoding"], input);
      const encodings = Array.from(output.matchAll(/encoding: \[(.*)\]/g), ([, bytes = ""]) =>
        bytes.replaceAll("0x", "").replaceAll(",", " "),
      );
      const read = rows.filter((_, index) => !refused.has(index + 1));
      expect(encodings.length).toBe(read.length);
      expect(encodings).toEqual(read.map((row) => toHex(bytesOf(row))));
      // Its parser takes distances of 16 bits only; older versions do not know the newer instructions.
      const words = rows.filter((_, index) => refused.has(index + 1)).map((row) => row.llvm);
      if (llvm.version >= SAME_WORDS) expect(words.filter((text) => !text.startsWith("gotol"))).toEqual([]);
      expect(read.length).toBeGreaterThan(150);
    });

    it.skipIf(llvm.version < SAME_WORDS).each([
      { triple: "bpfel", bytesOf: (row: (typeof rows)[number]) => row.little },
      { triple: "bpfeb", bytesOf: (row: (typeof rows)[number]) => row.big },
    ])(
      `it disassembles our bytes to our words ($triple, LLVM ${SAME_WORDS} or newer)`,
      ({ triple, bytesOf }) => {
        const input = rows.map((row) => `${toHex(bytesOf(row)).replace(/\b(?=\w)/g, "0x")}\n`).join("");
        const { output, refused } = llvmMc(llvm, ["--disassemble", `-triple=${triple}`, cpu], input);
        expect([...refused]).toEqual([]);
        const words = output.split("\n").filter((line) => line.trim() !== "" && !line.includes(".text"));
        expect(words.map((line) => line.trim().replace(/\s+/g, " "))).toEqual(rows.map(({ llvm }) => llvm));
      },
    );
  },
);
