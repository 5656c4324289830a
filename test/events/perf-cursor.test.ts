import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RingCorruptError } from "../../src/kernel/events/error.ts";
import { PerfCursor } from "../../src/kernel/events/perf-cursor.ts";
import { PerfRingsCursor } from "../../src/kernel/events/perf-rings.ts";
import { LITTLE } from "./rings.ts";

const PAGE = 2048;
const [HEAD, TAIL] = [1024, 1032];
const [LOST, SAMPLE, EXIT] = [2, 9, 4];

/** A perf event's buffer of `size` bytes that begins at `start`. */
function perfRing(size: number, start = 0n) {
  const memory = new ArrayBuffer(PAGE + size);
  const positions = new BigUint64Array(memory, HEAD, 2);
  positions.fill(start);
  const data = new Uint8Array(memory, PAGE);
  const push = (type: number, body: Uint8Array, length = 8 + body.length): void => {
    const record = new DataView(new ArrayBuffer(8 + body.length));
    record.setUint32(0, type, LITTLE);
    record.setUint16(6, length, LITTLE);
    new Uint8Array(record.buffer).set(body, 8);
    new Uint8Array(record.buffer).forEach((byte, index) => {
      data[(Number((positions[0] as bigint) % BigInt(size)) + index) % size] = byte;
    });
    positions[0] = BigInt.asUintN(64, (positions[0] as bigint) + BigInt(record.byteLength));
  };
  return {
    layout: { what: "perf buffer 'synthetic' of CPU 0", memory, dataOffset: PAGE, size },
    push,
    pushSample: (bytes: readonly number[]) => {
      // As the kernel does: the length includes the padding to a multiple of 8.
      const padded = Math.ceil((bytes.length + 4) / 8) * 8;
      const body = new DataView(new ArrayBuffer(padded));
      body.setUint32(0, padded - 4, LITTLE);
      new Uint8Array(body.buffer).set(bytes, 4);
      push(SAMPLE, new Uint8Array(body.buffer));
    },
    pushLost: (count: bigint) => {
      const body = new DataView(new ArrayBuffer(16));
      body.setBigUint64(0, 99n, LITTLE);
      body.setBigUint64(8, count, LITTLE);
      push(LOST, new Uint8Array(body.buffer));
    },
    setHead: (position: bigint) => {
      positions[0] = position;
    },
    tail: () => new BigUint64Array(memory, TAIL, 1)[0],
    head: () => positions[0],
    data,
  };
}

function readAll(cursor: PerfCursor | PerfRingsCursor): number[][] {
  const samples: number[][] = [];
  while (cursor.next()) {
    samples.push([...new Uint8Array(cursor.view.buffer, cursor.offset, cursor.length)]);
  }
  return samples;
}

const TWELVE = Array.from({ length: 12 }, (_, index) => index + 1);

describe("samples", () => {
  test("in order, padded by the kernel", () => {
    const ring = perfRing(256);
    ring.pushSample([1]);
    ring.pushSample(TWELVE);
    const cursor = new PerfCursor(ring.layout);
    expect(readAll(cursor)).toEqual([[1, 0, 0, 0], TWELVE]);
    cursor.release();
    expect(ring.tail()).toBe(ring.head());
  });

  test.each([0n, 8n, 40n, 48n, 56n, 2n ** 32n - 8n, 2n ** 64n - 8n])("that wrap: from %d on", (start) => {
    const ring = perfRing(64, start);
    const cursor = new PerfCursor(ring.layout);
    for (let n = 0; n < 20; n++) {
      ring.pushSample(TWELVE.map((byte) => byte + n));
      ring.pushSample([n]);
      expect(readAll(cursor)).toEqual([TWELVE.map((byte) => byte + n), [n, 0, 0, 0]]);
      cursor.release();
      expect(ring.tail()).toBe(ring.head());
    }
  });

  test("records of other kinds are passed over", () => {
    const ring = perfRing(256);
    ring.push(EXIT, new Uint8Array(24));
    ring.pushSample([1]);
    ring.push(EXIT, new Uint8Array(0));
    expect(readAll(new PerfCursor(ring.layout))).toEqual([[1, 0, 0, 0]]);
  });

  test("lost ones are counted, in 64 bits", () => {
    const ring = perfRing(256);
    ring.pushLost(3n);
    ring.pushSample([1]);
    ring.pushLost(0x2_0000_0001n);
    const cursor = new PerfCursor(ring.layout);
    expect(readAll(cursor)).toHaveLength(1);
    expect(cursor.lost).toBe(0x2_0000_0004);
  });

  test("room is given back at release, not before", () => {
    const ring = perfRing(256);
    ring.pushSample([1]);
    const cursor = new PerfCursor(ring.layout);
    cursor.next();
    expect(ring.tail()).toBe(0n);
    cursor.release();
    expect(ring.tail()).toBe(16n);
  });
});

describe("several CPUs", () => {
  test("have their turns", () => {
    const rings = [perfRing(1 << 14), perfRing(1 << 14), perfRing(1 << 14)];
    rings.forEach((ring, cpu) => {
      for (let n = 0; n < (cpu === 1 ? 0 : 100); n++) ring.pushSample([cpu]);
    });
    const cursor = new PerfRingsCursor(
      rings.map((ring, cpu) => ({ cpu: cpu * 10, cursor: new PerfCursor(ring.layout) })),
    );
    expect(cursor.available).toBe(200 * 16);
    const cpus: number[] = [];
    while (cursor.next()) {
      expect(cursor.cpu).toBe(cursor.view.getUint8(cursor.offset) * 10);
      cpus.push(cursor.cpu);
    }
    expect(cpus).toHaveLength(200);
    expect(new Set(cpus.slice(0, 130)), "the first does not hold up the others").toEqual(new Set([0, 20]));
    expect(cursor.travelled).toBe(200 * 16);
    expect(cursor.pending()).toBe(false);
    expect(rings.map((ring) => ring.tail())).toEqual([1600n, 0n, 1600n]);
  });

  test("of which there may be none", () => {
    const cursor = new PerfRingsCursor([]);
    expect([cursor.next(), cursor.pending(), cursor.available]).toEqual([false, false, 0]);
  });
});

describe("hostile memory", () => {
  const corrupt: readonly [string, (ring: ReturnType<typeof perfRing>) => void, string][] = [
    [
      "a record of no length, over which nobody would get",
      (ring) => ring.push(SAMPLE, new Uint8Array(8), 0),
      "a record says it has 0 bytes, and 16 are left",
    ],
    [
      "a record longer than what is there",
      (ring) => ring.push(SAMPLE, new Uint8Array(8), 24),
      "a record says it has 24 bytes, and 16 are left",
    ],
    [
      "a record that ends between words",
      (ring) => ring.push(SAMPLE, new Uint8Array(8), 12),
      "a record says it has 12 bytes, and 16 are left",
    ],
    [
      "a sample longer than its record",
      (ring) => ring.push(SAMPLE, new Uint8Array(8).fill(0xff)),
      "a sample of 4294967295 bytes in a record of 8",
    ],
    [
      "a sample without a length",
      (ring) => ring.push(SAMPLE, new Uint8Array(0)),
      "a sample without a length",
    ],
    [
      "a short record of lost ones",
      (ring) => ring.push(LOST, new Uint8Array(8)),
      "a record of lost samples has 16 bytes",
    ],
    ["a head too far ahead", (ring) => ring.setHead(136n), "136 bytes are to be read, and it holds 128"],
  ];
  test.each(corrupt)("%s", (_name, spoil, message) => {
    const ring = perfRing(128);
    spoil(ring);
    const cursor = new PerfCursor(ring.layout);
    expect(() => cursor.next()).toThrow(`perf buffer 'synthetic' of CPU 0 is corrupt: ${message}`);
  });

  test("whatever it holds: it ends, and gives only what is inside", () => {
    const words = fc.array(
      fc.oneof(fc.nat(40), fc.nat(0xffff_ffff), fc.constantFrom(9, 2, 0x10_0000, 0x18_0000)),
      {
        minLength: 32,
        maxLength: 32,
      },
    );
    fc.assert(
      fc.property(words, fc.nat(300), fc.nat(16), (data, head, tail) => {
        const ring = perfRing(128);
        new Uint32Array(ring.layout.memory, PAGE).set(data);
        new BigUint64Array(ring.layout.memory, HEAD, 2).set([BigInt(head), BigInt(tail * 8)]);
        const cursor = new PerfCursor(ring.layout);
        let samples = 0;
        try {
          while (cursor.next()) {
            samples++;
            expect(cursor.offset + cursor.length).toBeLessThanOrEqual(cursor.view.byteLength);
            expect(samples).toBeLessThanOrEqual(16);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(RingCorruptError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
