import { setSourceCapture } from "../../../src/asm/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { type Fuzzed, generate, hasLoop, KINDS, type Kind, randomFrom } from "./ast.ts";
import { build, maps as defs } from "./build.ts";
import { evaluate, packetOf, type Way, wrap } from "./evaluate.ts";

/** A program on which the kernel and the evaluator do not agree, or that does not load. */
export interface Disagreement {
  readonly seed: number;
  readonly what: string;
  /**
   * Whether it is no wrong result: the program with its loops eight times as long, in the forms that the language chose, is more than
   * the verifier follows. (As it was made, it loads.)
   */
  readonly beyondVerifier: boolean;
}

/** The maps of all programs, which set what they use at their start. */
class Maps {
  readonly #inner: BpfMap;
  readonly all: readonly BpfMap[];

  constructor() {
    const outer = BpfMap.create(defs.outer);
    this.#inner = BpfMap.create(defs.inner);
    outer.set(0, this.#inner as never);
    this.all = [BpfMap.create(defs.cells), outer];
  }

  [Symbol.dispose](): void {
    for (const map of [...this.all, this.#inner]) map.close();
  }
}

/** Runs the random programs of some seeds in the kernel, each on a few inputs, and compares with the evaluator. */
export function compareSeeds(first: number, count: number, stop = 5): readonly Disagreement[] {
  const found: Disagreement[] = [];
  using maps = new Maps();
  const capturing = setSourceCapture(false);
  try {
    for (let seed = first; seed < first + count && found.length < stop; seed++) {
      const what = compareProgram(maps, seed, generate(seed));
      if (what === undefined) continue;
      found.push({ seed, what, beyondVerifier: what.startsWith("chosen:") && TOO_LARGE.test(what) });
    }
  } finally {
    setSourceCapture(capturing);
  }
  return found;
}

const TOO_LARGE = /program is too large|jumps is too complex/;

/** Compares one program, on the inputs of a seed; gives what does not agree. */
export function compareOne(seed: number, fuzzed: Fuzzed): string | undefined {
  using maps = new Maps();
  return compareProgram(maps, seed, fuzzed);
}

function compareProgram(maps: Maps, seed: number, fuzzed: Fuzzed): string | undefined {
  const more: readonly Way[] = hasLoop(fuzzed.body)
    ? ["iterator", "bpf_loop", "functions", "chosen"]
    : ["functions"];
  const second = more[seed % more.length] as Way;
  const first = compareBuild(maps, seed, fuzzed, "plain");
  if (first !== undefined) return first;
  const found = compareBuild(maps, seed, fuzzed, second);
  // Who asks for a form may ask for one that the verifier does not see the end of, or for which the stack has no room; what the
  // language chooses must load.
  const asked = second === "iterator" || second === "bpf_loop";
  if (
    asked &&
    found !== undefined &&
    /program is too large|jumps is too complex|bytes of stack/.test(found)
  ) {
    return compareBuild(maps, seed, fuzzed, "chosen");
  }
  return found;
}

function compareBuild(maps: Maps, seed: number, fuzzed: Fuzzed, way: Way): string | undefined {
  try {
    const program = BpfProgram.load(build(fuzzed, way), { maps: maps.all });
    try {
      for (let turn = 0; turn < 3; turn++) {
        const inputs = inputsOf(seed * 8 + turn);
        const expected = evaluate(fuzzed, inputs, way);
        const { retval, data } = program.testRun({ data: packetOf(inputs) });
        if (retval !== expected.retval)
          return `${way}, turn ${turn}: the kernel gives ${retval}, the evaluator ${expected.retval}`;
        if (Buffer.compare(data, expected.packet) !== 0)
          return `${way}, turn ${turn}: the kernel leaves another packet than the evaluator`;
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
