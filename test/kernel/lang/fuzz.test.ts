import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Fuzzed } from "../../lang/fuzz/ast.ts";
import { compareOne, compareSeeds } from "../../lang/fuzz/run.ts";
import { describeKernel } from "../../support/privileges.ts";

interface Vector {
  /** Which inputs; the seed that once made the program, too. */
  readonly seed: number;
  /** What it once showed. */
  readonly what: string;
  readonly program: Fuzzed;
}

/** Programs that once did not agree. Bigints are written as `"5n"`. */
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL("../../vectors/lang/fuzz.json", import.meta.url), "utf8"),
  (_, value: unknown) =>
    typeof value === "string" && /^-?\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
);

describeKernel("random programs of the language: the kernel and the evaluator agree", () => {
  test.each(vectors)("seed $seed: $what", ({ seed, program }) => {
    expect(compareOne(seed, program)).toBeUndefined();
  });

  // Always the same ones: what is new is looked for with bench/lang-fuzz.ts, and not by a test that fails somebody else's change.
  test("300 programs", () => expect(compareSeeds(400_000, 300)).toEqual([]));
});
