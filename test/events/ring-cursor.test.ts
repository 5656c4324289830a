import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RingCorruptError } from "../../src/kernel/events/error.ts";
import { RingCursor } from "../../src/kernel/events/ring-cursor.ts";
import { BUSY, DISCARD, PAGE, type SyntheticRing, syntheticRing } from "./rings.ts";

/** The bytes of every record that the cursor gives. */
function readAll(cursor: RingCursor): number[][] {
  const records: number[][] = [];
  while (cursor.next()) {
    records.push([...new Uint8Array(cursor.view.buffer, cursor.offset, cursor.length)]);
  }
  return records;
}

describe("records", () => {
  test("of all lengths, in order", () => {
    const ring = syntheticRing(256);
    const records = [[], [1], [1, 2, 3, 4, 5, 6, 7], [8, 8, 8, 8, 8, 8, 8, 8], [1, 2, 3, 4, 5, 6, 7, 8, 9]];
    for (const record of records) ring.push(record);
    const cursor = new RingCursor(ring);
    expect(readAll(cursor)).toEqual(records);
    expect(cursor.travelled).toBe(8 + 16 + 16 + 16 + 24);
    expect(cursor.next()).toBe(false);
  });

  test("an empty ring has none", () => {
    const cursor = new RingCursor(syntheticRing(64));
    expect(cursor.next()).toBe(false);
    expect(cursor.pending()).toBe(false);
    expect(cursor.available).toBe(0);
  });

  test("one that goes over the end of the data is in one piece", () => {
    const ring = syntheticRing(64, 48n);
    const record = Array.from({ length: 32 }, (_, index) => index + 1);
    ring.push(record);
    const cursor = new RingCursor(ring);
    expect(readAll(cursor)).toEqual([record]);
    expect(cursor.offset).toBe(PAGE + 56);
  });

  test.each([
    ["2^31", 2n ** 31n - 32n],
    ["2^32", 2n ** 32n - 32n],
    ["2^53", 2n ** 53n - 32n],
    ["2^63", 2n ** 63n - 32n],
    ["2^64", 2n ** 64n - 32n],
  ])("beyond position %s", (_name, start) => {
    const ring = syntheticRing(64, start);
    const cursor = new RingCursor(ring);
    for (let n = 0; n < 10; n++) {
      ring.push([n, n, n]);
      ring.push([n]);
      expect(cursor.available).toBe(32);
      expect(readAll(cursor)).toEqual([[n, n, n], [n]]);
      cursor.release();
      expect(ring.consumerPosition()).toBe(ring.producerPosition());
      expect(cursor.consumerPosition).toBe(ring.producerPosition());
    }
  });

  test("beyond what is looked at in one go", () => {
    const ring = syntheticRing(1 << 18);
    const count = (1 << 18) / 16 - 1;
    for (let n = 0; n < count; n++) ring.push([n & 0xff, n >> 8]);
    const cursor = new RingCursor(ring);
    expect(readAll(cursor)).toEqual(Array.from({ length: count }, (_, n) => [n & 0xff, n >> 8]));
  });
});

describe("busy and discarded records", () => {
  test("a busy one stops the cursor until it is committed", () => {
    const ring = syntheticRing(256);
    ring.push([1]);
    const busy = ring.producerPosition();
    ring.push([2], BUSY);
    ring.push([3]);
    const cursor = new RingCursor(ring);
    expect(readAll(cursor)).toEqual([[1]]);
    expect(cursor.pending()).toBe(false);
    expect(cursor.available).toBe(32);
    ring.setHeader(busy, 1);
    expect(cursor.pending()).toBe(true);
    expect(readAll(cursor)).toEqual([[2], [3]]);
  });

  test("a discarded one is passed over, and its room given back", () => {
    const ring = syntheticRing(256);
    ring.push([1], DISCARD);
    ring.push([2]);
    ring.push([3, 3], DISCARD);
    const cursor = new RingCursor(ring);
    expect(readAll(cursor)).toEqual([[2]]);
    cursor.release();
    expect(ring.consumerPosition()).toBe(ring.producerPosition());
  });

  test("busy and discarded at once is busy", () => {
    const ring = syntheticRing(64);
    ring.push([1], BUSY | DISCARD);
    expect(readAll(new RingCursor(ring))).toEqual([]);
  });
});

describe("giving room back", () => {
  test("happens at release, not before", () => {
    const ring = syntheticRing(256);
    ring.push([1]);
    ring.push([2]);
    const cursor = new RingCursor(ring);
    cursor.next();
    expect(ring.consumerPosition()).toBe(0n);
    cursor.release();
    expect(ring.consumerPosition()).toBe(16n);
  });

  test("and when the cursor asks whether there is more", () => {
    const ring = syntheticRing(256);
    ring.push([1]);
    const cursor = new RingCursor(ring);
    cursor.next();
    cursor.pending();
    expect(ring.consumerPosition()).toBe(16n);
  });

  test("a second reader goes on where the first one ended", () => {
    const ring = syntheticRing(256);
    ring.push([1]);
    ring.push([2]);
    const first = new RingCursor(ring);
    first.next();
    first.release();
    expect(readAll(new RingCursor(ring))).toEqual([[2]]);
  });
});

describe("hostile memory", () => {
  const corrupt: readonly [string, (ring: SyntheticRing) => void, string][] = [
    [
      "a record longer than what is there",
      (ring) => ring.pushHeader(0x3fff_ffff, 16),
      "a record of 1073741823 bytes begins where only 16 are left, its header included",
    ],
    [
      "a record one byte too long",
      (ring) => ring.pushHeader(9, 16),
      "a record of 9 bytes begins where only 16 are left, its header included",
    ],
    ["a producer too far ahead", (ring) => ring.setProducer(72n), "72 bytes are to be read, and it holds 64"],
    [
      "a producer behind",
      (ring) => ring.setProducer(2n ** 64n - 8n),
      "4294967288 bytes are to be read, and it holds 64",
    ],
  ];
  test.each(corrupt)("%s", (_name, spoil, message) => {
    const ring = syntheticRing(64);
    spoil(ring);
    const cursor = new RingCursor(ring);
    for (let again = 0; again < 2; again++) {
      expect(() => cursor.next()).toThrow(RingCorruptError);
      expect(() => cursor.next()).toThrow(`ring buffer 'synthetic' is corrupt: ${message}`);
    }
    expect(ring.consumerPosition()).toBe(0n);
  });

  test("records before the corrupt one are given", () => {
    const ring = syntheticRing(64);
    ring.push([1]);
    ring.pushHeader(1000, 16);
    const cursor = new RingCursor(ring);
    expect(cursor.next()).toBe(true);
    expect(() => cursor.next()).toThrow(RingCorruptError);
  });

  test("whatever it holds: it ends, and gives only what is inside", () => {
    const words = fc.array(
      fc.oneof(fc.integer({ min: 0, max: 64 }), fc.nat(0xffff_ffff), fc.constant(BUSY), fc.constant(DISCARD)),
      { minLength: 64, maxLength: 64 },
    );
    const position = fc.oneof(fc.nat(600), fc.bigInt(0n, 2n ** 64n - 1n)).map(BigInt);
    fc.assert(
      fc.property(words, position, position, (data, consumer, producer) => {
        const ring = syntheticRing(128);
        new Uint32Array(ring.producer, PAGE).set(data);
        new BigUint64Array(ring.consumer)[0] = consumer & ~7n;
        ring.setProducer(producer);
        const cursor = new RingCursor(ring);
        let records = 0;
        try {
          while (cursor.next()) {
            records++;
            expect(cursor.offset).toBeGreaterThanOrEqual(PAGE + 8);
            expect(cursor.offset + cursor.length).toBeLessThanOrEqual(ring.producer.byteLength);
            expect(records).toBeLessThanOrEqual(128 / 8);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(RingCorruptError);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("any sequence of records, taken at any pace, comes out as it went in", () => {
    const step = fc.record({
      bytes: fc.array(fc.nat(255), { maxLength: 40 }),
      discard: fc.boolean(),
      read: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(0xffff_ffff), (actions, start) => {
        const ring = syntheticRing(128, BigInt(start) * 8n);
        const cursor = new RingCursor(ring);
        const sent: number[][] = [];
        const got: number[][] = [];
        for (const { bytes, discard, read } of actions) {
          const room = 128n - (ring.producerPosition() - ring.consumerPosition());
          if (BigInt((bytes.length + 15) & ~7) <= room) {
            ring.push(bytes, discard ? DISCARD : 0);
            if (!discard) sent.push(bytes);
          }
          if (!read) continue;
          got.push(...readAll(cursor));
          cursor.release();
        }
        got.push(...readAll(cursor));
        expect(got).toEqual(sent);
      }),
    );
  });
});
