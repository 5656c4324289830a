import { setSourceCapture } from "../../../src/asm/index.ts";
import { BpfProgram } from "../../../src/kernel/index.ts";
import { type Fuzzed, generate, KINDS, type Kind, randomFrom, type Stmt } from "./ast.ts";
import { build, packetOf, type Way } from "./build.ts";
import { evaluate, wrap } from "./evaluate.ts";

/** A program on which the kernel and the evaluator do not agree, or that does not load. */
export interface Disagreement {
  readonly seed: number;
  readonly what: string;
}

/** Runs the random programs of some seeds in the kernel, each on a few inputs, and compares with the evaluator. */
export function compareSeeds(first: number, count: number, stop = 5): readonly Disagreement[] {
  const found: Disagreement[] = [];
  const capturing = setSourceCapture(false);
  try {
    for (let seed = first; seed < first + count && found.length < stop; seed++) {
      const what = compareSeed(seed);
      if (what !== undefined) found.push({ seed, what });
    }
  } finally {
    setSourceCapture(capturing);
  }
  return found;
}

function compareSeed(seed: number): string | undefined {
  const fuzzed = generate(seed);
  const more: readonly Way[] = hasLoop(fuzzed.body) ? ["iterator", "bpf_loop", "functions"] : ["functions"];
  const second = more[seed % more.length] as Way;
  return compareBuild(seed, fuzzed, "plain") ?? compareBuild(seed, fuzzed, second);
}

function hasLoop(body: readonly Stmt[]): boolean {
  return body.some(
    (stmt) => stmt.is === "for" || (stmt.is === "if" && (hasLoop(stmt.body) || hasLoop(stmt.else ?? []))),
  );
}

function compareBuild(seed: number, fuzzed: Fuzzed, way: Way): string | undefined {
  try {
    const program = BpfProgram.load(build(fuzzed, way));
    try {
      for (let turn = 0; turn < 3; turn++) {
        const inputs = inputsOf(seed * 8 + turn);
        const expected = evaluate(fuzzed, inputs);
        const { retval } = program.testRun({ data: packetOf(inputs) });
        if (retval !== expected)
          return `${way}, turn ${turn}: the kernel gives ${retval}, the evaluator ${expected}`;
      }
      return undefined;
    } finally {
      program.close();
    }
  } catch (error) {
    return `${way}: ${String(error).slice(0, 2_000)}`;
  }
}

function inputsOf(seed: number): readonly bigint[] {
  const random = randomFrom(seed ^ 0x5eed);
  const edges = [0n, 1n, -1n, 2n, 0x7fn, 0x80n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 1n << 63n];
  return Array.from({ length: 16 }, (_, index) => {
    const raw =
      random() < 0.5
        ? (edges[Math.floor(random() * edges.length)] as bigint)
        : BigInt(Math.floor(random() * 2 ** 32)) * BigInt(Math.floor(random() * 2 ** 32));
    return wrap(KINDS[index % 8] as Kind, raw);
  });
}
