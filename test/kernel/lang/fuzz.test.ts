import { expect, test } from "vitest";
import { compareSeeds } from "../../lang/fuzz/run.ts";
import { describeKernel } from "../../support/privileges.ts";

describeKernel("random programs of the language: the kernel and the evaluator agree", () => {
  // [seed, what it once showed]
  test.each([
    [229, "a shift by a constant beyond the width was taken for one that empties the value"],
    [251, "the same, in a loop"],
    [307, "signed division by the constant 0 gave the dividend"],
    [834, "the same as 229, of a signed value"],
    [968, "the same as 229, under a branch"],
  ])("seed %i: %s", (seed) => {
    expect(compareSeeds(seed, 1)).toEqual([]);
  });

  test("300 programs that nobody has looked at", () => {
    const first = Math.floor(Math.random() * 1_000_000_000);
    expect(compareSeeds(first, 300)).toEqual([]);
  });
});
