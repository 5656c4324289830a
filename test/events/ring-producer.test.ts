import { describe, expect, test } from "vitest";
import { RingProducer } from "../../src/kernel/events/ring-producer.ts";
import { BUSY, DISCARD, LITTLE, PAGE, syntheticRing } from "./rings.ts";

const headerAt = (ring: ReturnType<typeof syntheticRing>, at: number): number =>
  new DataView(ring.producer).getUint32(PAGE + at, LITTLE);

describe("the producer of a user ring buffer", () => {
  test("reserves busy records and settles them", () => {
    const ring = syntheticRing(64);
    const producer = new RingProducer(ring);
    const first = producer.reserve(5) as number;
    const second = producer.reserve(0) as number;
    expect([first, second]).toEqual([PAGE + 8, PAGE + 24]);
    expect(ring.producerPosition()).toBe(24n);
    expect([headerAt(ring, 0), headerAt(ring, 16)]).toEqual([BUSY + 5, BUSY]);
    producer.settle(second, true);
    producer.settle(first, false);
    expect([headerAt(ring, 0), headerAt(ring, 16)]).toEqual([5, DISCARD]);
    expect(producer.pending).toBe(24);
  });

  test.each([0n, 2n ** 32n - 32n, 2n ** 64n - 32n])(
    "has no more room than there is, from position %d on",
    (start) => {
      const ring = syntheticRing(64, start);
      const producer = new RingProducer(ring);
      for (let n = 0; n < 4; n++) expect(producer.reserve(8)).toBeDefined();
      expect(producer.reserve(0)).toBeUndefined();
      new BigUint64Array(ring.consumer)[0] = BigInt.asUintN(64, start + 16n);
      expect(producer.pending).toBe(48);
      expect(producer.reserve(9)).toBeUndefined();
      expect(producer.reserve(8)).toBe(PAGE + Number(start % 64n) + 8);
      expect(ring.producerPosition()).toBe(BigInt.asUintN(64, start + 80n));
    },
  );

  test("the largest record fills the ring", () => {
    const producer = new RingProducer(syntheticRing(64));
    expect(() => producer.reserve(57)).toThrow("57 is not a length from 0 to 56, which it has room for");
    expect(producer.reserve(56)).toBe(PAGE + 8);
  });
});
