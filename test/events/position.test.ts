import { describe, expect, test } from "vitest";
import { fullFence, OwnPosition, TheirPosition } from "../../src/kernel/events/position.ts";

const starts: readonly bigint[] = [
  0n,
  8n,
  0x7fff_fff8n,
  0xffff_fff0n,
  2n ** 53n,
  2n ** 63n - 8n,
  2n ** 64n - 16n,
];
const steps: readonly number[] = [8, 24, 4096, 0x7fff_fff8, 0xffff_fff8];

describe("a position of our own", () => {
  test.each(starts)("from %d on, in steps of all sizes", (start) => {
    const shared = BigUint64Array.of(0n, start);
    const position = new OwnPosition(shared.buffer, 8);
    let expected = start;
    for (const step of steps) {
      position.advance(step);
      const before = shared[1];
      expect(before, "not published yet").toBe(expected);
      expected = BigInt.asUintN(64, expected + BigInt(step));
      expect(position.value).toBe(expected);
      expect(position.low).toBe(Number(BigInt.asIntN(32, expected)));
      position.publish();
      expect(shared[1]).toBe(expected);
    }
    expect(shared[0], "the word beside it").toBe(0n);
  });

  test("publishing twice stores once", () => {
    const shared = new BigUint64Array(1);
    const position = new OwnPosition(shared.buffer, 0);
    position.advance(8);
    position.publish();
    shared[0] = 77n;
    position.publish();
    expect(shared[0]).toBe(77n);
  });
});

test("the other side's position", () => {
  const shared = BigUint64Array.of(0n, 0x1_8000_0008n);
  const position = new TheirPosition(shared.buffer, 8);
  expect(position.load()).toBe(-0x7fff_fff8);
  expect(position.value).toBe(0x1_8000_0008n);
});

test("a fence is made of what exists", () => {
  expect(fullFence).not.toThrow();
});
