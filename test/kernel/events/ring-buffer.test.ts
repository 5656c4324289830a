import { setImmediate, setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import {
  add,
  call,
  exit,
  jeq,
  jset,
  lddw,
  ldxdw,
  mapDef,
  mapFd,
  mapValue,
  mov,
  mov32,
  r0,
  r1,
  r2,
  r3,
  r6,
  stdw,
  stxdw,
  xdp,
} from "../../../src/asm/index.ts";
import { LayoutError, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { lostCounter, mergeEvents, RingBuffer } from "../../../src/kernel/events/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { FdClosedError } from "../../../src/syscall/fd.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { XDP_PASS } from "../../../src/uapi/bpf.ts";
import { EIO, EMFILE } from "../../../src/uapi/errno.ts";
import { bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit } from "../../../src/uapi/helpers.ts";
import { eachFailure } from "../../support/failing-syscalls.ts";
import { watchFds } from "../../support/fd-leak.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import {
  collectUntil,
  MAGIC,
  mappedRings,
  numbered,
  run,
  runElsewhere,
  sequenceDef,
  setUpRing,
} from "./support.ts";

/** Records of 16 bytes that fit into a ring of one page: the kernel leaves at least a byte free. */
const CAPACITY = Math.floor(4095 / 24);

/** The same system calls, counting how often the event loop found a descriptor readable. */
function countingWakes(sys: Syscalls): { readonly sys: Syscalls; readonly wakes: () => number } {
  let wakes = 0;
  const watchReadable: Syscalls["watchReadable"] = (fd, onReadable) =>
    sys.watchReadable(fd, () => {
      wakes++;
      onReadable();
    });
  return { sys: { ...sys, watchReadable }, wakes: () => wakes };
}

const sequence = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

describeKernel("ring buffer: draining", () => {
  const sys = tracedSyscalls();

  test("decoded through a layout", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(3);
    expect(ring.available).toBe(3 * 24);
    const records: unknown[] = [];
    expect(ring.drain((record) => records.push(record))).toBe(3);
    const record = { cpu: expect.any(Number), magic: MAGIC };
    expect(records).toEqual([
      { seq: 0, ...record },
      { seq: 1, ...record },
      { seq: 2, ...record },
    ]);
    expect(ring.drain(() => expect.unreachable())).toBe(0);
    expect([ring.available, ring.consumerPosition, ring.producerPosition, ring.size]).toEqual([
      0,
      72n,
      72n,
      4096,
    ]);
  });

  test("as bytes in place, and in the raw", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, undefined, { sys });
    setup.emit(4);
    const seen: number[] = [];
    let place: Uint8Array | undefined;
    ring.drain((bytes) => {
      expect(bytes).toHaveLength(16);
      expect(place === undefined || place.buffer === bytes.buffer, "no copies").toBe(true);
      place = bytes;
      seen.push(bytes[0] as number);
    }, 2);
    ring.drainRaw((view, offset, length) => {
      expect(length).toBe(16);
      seen.push(numbered.fields.seq.read(view, offset));
      expect(numbered.fields.magic.read(view, offset)).toBe(MAGIC);
    });
    expect(seen).toEqual([0, 1, 2, 3]);
  });

  test("over the end of the buffer, again and again", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    let next = 0;
    for (let round = 0; round < 50; round++) {
      setup.emit(100);
      ring.drain(({ seq, magic }) => {
        if (seq !== next++ || magic !== MAGIC) expect.fail(`record ${seq}, magic ${magic}`);
      });
    }
    expect(next).toBe(5000);
    expect(ring.consumerPosition).toBe(5000n * 24n);
  });

  test("stops at a limit, and at false", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(10);
    expect(ring.drain(() => true, 4)).toBe(4);
    expect(ring.drain(({ seq }) => seq < 6)).toBe(3);
    expect(ring.take(0)).toEqual([]);
    expect(ring.take(2).map(({ seq }) => seq)).toEqual([7, 8]);
    expect(ring.available).toBe(24);
  });

  test("a callback that throws has taken its record", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(3);
    expect(() =>
      ring.drain(({ seq }) => {
        if (seq === 1) throw new Error("mine");
      }),
    ).toThrow("mine");
    expect(ring.take(9).map(({ seq }) => seq)).toEqual([2]);
  });

  test("a callback cannot take more", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(2);
    expect(() => ring.drain(() => ring.take(1))).toThrow(
      "ring buffer 'events' is being drained, and is asked for more from inside of the callback",
    );
    expect(ring.take(9)).toHaveLength(1);
  });

  test("ends beside a producer that does not", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(3);
    const seen: number[] = [];
    const drained = ring.drain(({ seq }) => {
      setup.emit(1);
      return seen.push(seq) < 50;
    });
    expect([drained, seen]).toEqual([3, [0, 1, 2]]);
    expect(ring.take(50)).toHaveLength(3);
  });

  test("records of another size than the layout", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, struct("other", { a: u32 }), { sys });
    setup.emit(1);
    expect(() => ring.drain(() => true)).toThrow(LayoutError);
    setup.emit(1);
    expect(() => ring.take(1)).toThrow(
      "struct other: ring buffer 'events' gave 16 bytes, and it has 4\n" +
        "  The program and the reader disagree about the record. Records of several sizes are read as bytes.",
    );
  });

  test("records that a program reserves, and submits or discards", () => {
    const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 4096 });
    const seq = sequenceDef();
    const program = xdp("reserve", {
      entry: [
        lddw(r6, mapValue(seq)),
        ldxdw(r1, [r6, 0]),
        add(r1, 1),
        stxdw([r6, 0], r1),
        mov(r6, r1),
        lddw(r1, mapFd(events)),
        mov32(r2, 16),
        mov32(r3, 0),
        call(bpf_ringbuf_reserve),
        jeq(r0, 0, "out"),
        stxdw([r0, 0], r6),
        stdw([r0, 8], 0),
        mov(r1, r0),
        mov32(r2, 0),
        jset(r6, 1, "odd"),
        call(bpf_ringbuf_submit),
      ],
      out: [mov32(r0, XDP_PASS), exit()],
      odd: [call(bpf_ringbuf_discard), mov32(r0, XDP_PASS), exit()],
    });
    using map = BpfMap.create(events, { sys });
    using counter = BpfMap.create(seq, { sys });
    using prog = BpfProgram.load(program, { sys, maps: [map, counter] });
    using ring = RingBuffer.open(map, struct("record", { seq: u64.asNumber, zero: u64.asNumber }), { sys });
    run(sys, prog, 10);
    expect(ring.take(100).map((record) => record.seq)).toEqual([2, 4, 6, 8, 10]);
    expect(ring.available).toBe(0);
    run(sys, prog, 1);
    expect(ring.take(1), "nothing but discarded ones").toEqual([]);
    expect(ring.available).toBe(0);
  });
});

describeKernel("ring buffer: nothing is lost, or it is counted", () => {
  const sys = tracedSyscalls();

  test("ten million records, when the reader keeps up", () => {
    using setup = setUpRing(sys, 4 * 1024 * 1024);
    using ring = RingBuffer.open(setup.map, undefined, { sys, lost: setup.lost });
    let next = 0;
    let wrong = 0;
    for (let round = 0; round < 100; round++) {
      setup.emit(100_000);
      ring.drainRaw((view, offset) => {
        if (numbered.fields.seq.read(view, offset) !== next++) wrong++;
      });
    }
    expect({ produced: setup.produced(), next, wrong, lost: ring.lost }).toEqual({
      produced: 10_000_000,
      next: 10_000_000,
      wrong: 0,
      lost: 0,
    });
  });

  test("ten million records, when it does not: each is delivered in order, or counted", () => {
    using setup = setUpRing(sys, 1024 * 1024);
    using ring = RingBuffer.open(setup.map, undefined, { sys, lost: setup.lost });
    let delivered = 0;
    let last = -1;
    let wrong = 0;
    for (let round = 0; round < 100; round++) {
      setup.emit(100_000); // more than twice as many as fit
      delivered += ring.drainRaw((view, offset) => {
        const seq = numbered.fields.seq.read(view, offset);
        if (seq <= last) wrong++;
        last = seq;
      });
    }
    expect(setup.produced()).toBe(10_000_000);
    expect({ wrong, sum: delivered + ring.lost }).toEqual({ wrong: 0, sum: 10_000_000 });
    expect(ring.lost).toBeGreaterThan(5_000_000);
  });

  test("exactly so many as do not fit", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys, lost: setup.lost });
    let delivered = 0;
    let last = -1;
    for (let round = 1; round <= 40; round++) {
      setup.emit(round * 17);
      delivered += ring.drain(({ seq }) => {
        expect(seq).toBeGreaterThan(last);
        last = seq;
      }, round * 11);
      expect(delivered + ring.available / 24 + ring.lost).toBe(setup.produced());
    }
    expect(ring.lost).toBeGreaterThan(1000);
    delivered += ring.drain(() => true);
    expect(delivered + ring.lost).toBe(setup.produced());
  });

  test("what is not taken fills the buffer, to the last record", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys, lost: setup.lost });
    setup.emit(CAPACITY);
    expect(ring.lost).toBe(0);
    setup.emit(5);
    expect(ring.lost).toBe(5);
    ring.take(2);
    setup.emit(5);
    expect(ring.lost).toBe(8);
    expect(ring.drain(() => true)).toBe(CAPACITY);
  });

  test("beside a producer on another thread", async () => {
    using setup = setUpRing(sys, 1 << 14);
    using ring = RingBuffer.open(setup.map, numbered, { sys, lost: setup.lost });
    const stop = new AbortController();
    const producing = runElsewhere(setup.program, { rounds: 200, repeat: 500 }).finally(async () => {
      await setTimeout(50);
      stop.abort();
    });
    let delivered = 0;
    let last = -1;
    for await (const { seq, magic } of ring.records({ signal: stop.signal })) {
      if (magic !== MAGIC || seq <= last) expect.fail(`record ${seq} after ${last}, magic ${magic}`);
      last = seq;
      delivered++;
    }
    await producing;
    expect(delivered).toBeGreaterThan(1000);
    expect(delivered + ring.lost).toBe(setup.produced());
    expect(setup.produced()).toBe(100_000);
  });

  test("a reader without a counter says so", () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    expect(() => ring.lost).toThrow(
      /^ring buffer 'events' was opened without a counter of lost records\n {2}A ring/,
    );
  });

  test("a counter of each CPU is added up", () => {
    using setup = setUpRing(sys);
    const def = mapDef({ name: "lost", type: "percpu_array", key: u32, value: u64, maxEntries: 1 });
    using counter = BpfMap.create(def, { sys });
    const zeros = counter.get(0) as readonly bigint[];
    counter.set(
      0,
      zeros.map((_, cpu) => BigInt(cpu + 5)),
    );
    using ring = RingBuffer.open(setup.map, numbered, { sys, lost: counter });
    expect(ring.lost).toBe(zeros.reduce((sum, _, cpu) => sum + cpu + 5, 0));
  });
});

describeKernel("ring buffer: waiting", () => {
  const sys = tracedSyscalls();

  test("for records that come later, without polling meanwhile", async () => {
    using setup = setUpRing(sys);
    const counting = countingWakes(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys: counting.sys });
    const records = ring.records();
    for (let round = 0; round < 5; round++) {
      const next = records.next();
      await setTimeout(30);
      expect(counting.wakes(), "idle").toBeLessThanOrEqual(round * 2);
      setup.emit(1);
      expect(await next).toMatchObject({ done: false, value: { seq: round } });
    }
    await records.return?.();
  });

  test("a reader that is busy elsewhere is left alone", async () => {
    using setup = setUpRing(sys);
    const counting = countingWakes(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys: counting.sys });
    const records = ring.records();
    const first = records.next();
    setup.emit(10);
    await first;
    const before = counting.wakes();
    await setTimeout(50);
    expect(counting.wakes() - before, "the ring is readable all the time").toBeLessThanOrEqual(1);
    expect(ring.available, "what the loop has not asked for stays").toBe(9 * 24);
    expect(await records.next()).toMatchObject({ value: { seq: 1 } });
    expect(ring.available).toBe(8 * 24);
    await records.return?.();
  });

  test("timers have their turn beside an endless stream", async () => {
    using setup = setUpRing(sys, 1 << 20);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    let ticked = false;
    const timer = setTimeout(1).then(() => {
      ticked = true;
    });
    let records = 0;
    setup.emit(10_000);
    for await (const _ of ring) {
      records++;
      if (ticked) break;
      if (ring.available < 24 * 5000) setup.emit(10_000);
      if (records > 5_000_000) break;
    }
    await timer;
    expect(records).toBeLessThan(5_000_000);
  }, 60_000);

  test("batches", async () => {
    using setup = setUpRing(sys, 1 << 16);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(250);
    const sizes: number[] = [];
    const seen: number[] = [];
    for await (const batch of ring.batches({ limit: 100 })) {
      sizes.push(batch.length);
      seen.push(...batch.map(({ seq }) => seq));
      if (sizes.length === 3) setup.emit(2);
      if (sizes.length === 4) break;
    }
    expect(sizes).toEqual([100, 100, 50, 2]);
    expect(seen).toEqual(sequence(0, 252));
  });

  test("bytes from a loop are the loop's own", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, undefined, { sys });
    setup.emit(2);
    const kept: Uint8Array[] = [];
    for await (const bytes of ring) if (kept.push(bytes) === 2) break;
    setup.emit(CAPACITY);
    expect(kept.map((bytes) => [bytes[0], bytes.buffer.byteLength])).toEqual([
      [0, 16],
      [1, 16],
    ]);
  });

  test("several next() at once are answered in order", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    const records = ring.records();
    const waiting = [records.next(), records.next(), records.next()];
    await setTimeout(5);
    setup.emit(2);
    await setTimeout(20);
    setup.emit(1);
    const results = await Promise.all(waiting);
    expect(results.map(({ value }) => (value as { seq: number }).seq)).toEqual([0, 1, 2]);
    await records.return?.();
  });

  test("leaving a loop leaves the rest in the ring", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(5);
    for await (const { seq } of ring) if (seq === 1) break;
    expect(ring.available).toBe(3 * 24);
    for await (const { seq } of ring) {
      expect(seq).toBe(2);
      break;
    }
  });

  test("an error in a record ends the loop", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, struct("other", { a: u32 }), { sys });
    const records = ring.records();
    const first = records.next();
    setup.emit(1);
    await expect(first).rejects.toThrow(LayoutError);
    expect(await records.next()).toEqual({ done: true, value: undefined });
    setup.emit(1);
    await expect(ring.records().next(), "one that is there").rejects.toThrow(LayoutError);
  });

  test("readable", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    const waiting = ring.readable();
    setup.emit(1);
    expect(await waiting).toBe(true);
    expect(ring.available).toBe(24);
    expect(await ring.readable()).toBe(true);
    ring.take(1);
    expect(await ring.readable({ signal: AbortSignal.timeout(10) })).toBe(false);
  });

  test("a program that asks for no wakeup does not wake", async () => {
    using setup = setUpRing(sys, 4096, 1);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    const records = ring.records({ signal: AbortSignal.timeout(50) });
    const first = records.next();
    await setTimeout(10);
    setup.emit(1);
    expect(await first).toEqual({ done: true, value: undefined });
    expect(ring.take(1)).toHaveLength(1);
  });
});

describeKernel("ring buffer: ending", () => {
  const sys = tracedSyscalls();

  test("a signal that aborts while waiting, before, and between", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    const waiting = new AbortController();
    const next = ring.records({ signal: waiting.signal }).next();
    await setTimeout(5);
    waiting.abort();
    expect(await next).toEqual({ done: true, value: undefined });

    setup.emit(3);
    expect(await ring.records({ signal: AbortSignal.abort() }).next()).toEqual({
      done: true,
      value: undefined,
    });

    const between = new AbortController();
    let seen = 0;
    for await (const _ of ring.records({ signal: between.signal })) {
      seen++;
      between.abort();
    }
    expect([seen, ring.available]).toEqual([1, 48]);
  });

  test("return() does not wait for a record", async () => {
    using setup = setUpRing(sys);
    using ring = RingBuffer.open(setup.map, numbered, { sys });
    const records = ring.records();
    const next = records.next();
    await records.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
  });

  test("closing ends loops, also from inside, and from a callback", async () => {
    using setup = setUpRing(sys);
    const waiting = RingBuffer.open(setup.map, numbered, { sys });
    const next = waiting.records().next();
    const readable = waiting.readable();
    await setTimeout(5);
    waiting.close();
    expect([await next, await readable]).toEqual([{ done: true, value: undefined }, false]);

    setup.emit(3);
    const inside = RingBuffer.open(setup.map, numbered, { sys });
    for await (const { seq } of inside) {
      expect(seq).toBe(0);
      inside.close();
    }
    const callback = RingBuffer.open(setup.map, undefined, { sys });
    const seen = callback.drain((bytes) => {
      callback.close();
      expect(bytes[0], "still there in the callback").toBe(1);
    });
    expect(seen).toBe(1);
    using rest = RingBuffer.open(setup.map, numbered, { sys });
    expect(
      rest.take(9).map(({ seq }) => seq),
      "what a closed one took is gone",
    ).toEqual([2]);
  });

  test("use after close is an error, and kept views are memory", async () => {
    using setup = setUpRing(sys);
    const ring = RingBuffer.open(setup.map, undefined, { sys, lost: setup.lost });
    setup.emit(1);
    const kept: { bytes?: Uint8Array; view?: DataView } = {};
    ring.drain((bytes) => {
      kept.bytes = bytes;
    });
    ring.drainRaw((view) => {
      kept.view = view;
    });
    setup.emit(1);
    ring.drainRaw((view) => {
      kept.view = view;
    });
    ring.close();
    ring.close();
    expect(ring.closed).toBe(true);
    const uses: readonly (() => unknown)[] = [
      () => ring.drain(() => true),
      () => ring.drainRaw(() => true),
      () => ring.take(1),
      () => ring.records(),
      () => ring.batches(),
      () => ring.available,
      () => ring.consumerPosition,
      () => ring.producerPosition,
    ];
    for (const use of uses) {
      expect(use).toThrow(FdClosedError);
      expect(use).toThrow("ring buffer 'events' is closed");
    }
    await expect(ring.readable()).rejects.toThrow(FdClosedError);
    expect(ring.lost, "the counter is another map").toBe(0);
    expect(kept.bytes?.[0]).toBe(0);
    expect(kept.view?.getUint8(4096 + 8 + 24)).toBe(1);
  });

  test("memory is unmapped at once, or with the last view that was lent", async () => {
    using setup = setUpRing(sys);
    expect(await collectUntil(() => mappedRings() === 0), "those of the tests before").toBe(true);
    const before = 0;
    const decoding = RingBuffer.open(setup.map, numbered, { sys });
    setup.emit(1);
    decoding.take(1);
    expect(mappedRings()).toBe(before + 2);
    decoding.close();
    expect(mappedRings()).toBe(before);

    // In a function of its own: this one would keep the reader, and so its memory.
    const lend = (): Uint8Array => {
      using lending = RingBuffer.open(setup.map, undefined, { sys });
      setup.emit(1);
      const views: Uint8Array[] = [];
      lending.drain((bytes) => views.push(bytes));
      return views[0] as Uint8Array;
    };
    let kept: Uint8Array | undefined = lend();
    expect(mappedRings(), "the consumer's page was not lent").toBe(before + 1);
    expect(await collectUntil(() => mappedRings() === before), "while there is a view").toBe(false);
    expect(kept?.[0]).toBe(1);
    kept = undefined;
    expect(await collectUntil(() => mappedRings() === before)).toBe(true);
  });

  test("a reader outlives its map object", () => {
    using setup = setUpRing(sys);
    const map = BpfMap.create(mapDef({ name: "other", type: "ringbuf", maxEntries: 4096 }), { sys });
    using ring = RingBuffer.open(map, numbered, { sys });
    map.close();
    expect(ring.take(1)).toEqual([]);
    setup.emit(1);
  });

  test("a thousand times, with nothing left", () => {
    using setup = setUpRing(sys);
    const leaks = watchFds();
    const before = mappedRings();
    for (let round = 0; round < 1000; round++) {
      using ring = RingBuffer.open(setup.map, numbered, { sys });
      setup.emit(1);
      expect(ring.take(9)).toHaveLength(1);
    }
    expect(leaks()).toEqual([]);
    expect(mappedRings()).toBe(before);
  });
});

describeKernel("ring buffer: opening", () => {
  const sys = tracedSyscalls();

  test("a map of another type", () => {
    using map = BpfMap.create(lostCounter("counter"), { sys });
    expect(() => RingBuffer.open(map as never, undefined, { sys })).toThrow(
      "ring buffer 'counter': the map is of type 'array', not 'ringbuf'",
    );
  });

  test("every call that can fail", async () => {
    using setup = setUpRing(sys);
    const leaks = watchFds();
    const before = mappedRings();
    const tried = await eachFailure({
      sys,
      errno: EMFILE,
      run: (failing) => RingBuffer.open(setup.map, numbered, { sys: failing }).close(),
      check: (error, { call }) => {
        expect(String(error)).toMatch(call === "bpf" ? "BPF_OBJ_GET_INFO_BY_FD" : call);
        expect(leaks()).toEqual([]);
        expect(mappedRings()).toBe(before);
      },
    });
    expect(tried).toBe(4);
  });

  test("a descriptor that cannot be watched", async () => {
    using setup = setUpRing(sys);
    const watchReadable: Syscalls["watchReadable"] = () => {
      throw new Error(`no watch: ${EIO}`);
    };
    using ring = RingBuffer.open(setup.map, numbered, { sys: { ...sys, watchReadable } });
    await expect(ring.records().next()).rejects.toThrow("no watch");
    await expect(ring.readable()).rejects.toThrow("no watch");
  });
});

describeKernel("several readers at once", () => {
  const sys = tracedSyscalls();

  test("records of each keep their order, and nobody starves", async () => {
    using one = setUpRing(sys, 1 << 16);
    using two = setUpRing(sys, 1 << 16);
    using first = RingBuffer.open(one.map, numbered, { sys });
    using second = RingBuffer.open(two.map, undefined, { sys });
    one.emit(1000);
    const next = { first: 0, second: 0 };
    let order = "";
    for await (const event of mergeEvents({ first, second })) {
      order += event.from === "first" ? "1" : "2";
      if (event.from === "first") expect(event.record.seq).toBe(next.first++);
      else expect(event.record[0]).toBe(next.second++);
      if (order.length === 10) two.emit(100);
      if (order.length === 1100) setImmediate().then(() => two.emit(1));
      if (order.length === 1101) break;
    }
    expect(next).toEqual({ first: 1000, second: 101 });
    expect(order.indexOf("2")).toBe(64);
    expect(order.at(-1)).toBe("2");
  });

  test("end with their signal, with the last reader, and with none", async () => {
    using one = setUpRing(sys);
    using two = setUpRing(sys);
    using first = RingBuffer.open(one.map, numbered, { sys });
    const second = RingBuffer.open(two.map, numbered, { sys });
    for await (const _ of mergeEvents({ first, second }, { signal: AbortSignal.timeout(20) }))
      expect.unreachable();

    const merged = mergeEvents({ first, second });
    const next = merged.next();
    await setTimeout(5);
    second.close();
    one.emit(1);
    expect(await next).toMatchObject({ value: { from: "first", record: { seq: 0 } } });
    const last = merged.next();
    first.close();
    expect(await last).toEqual({ done: true, value: undefined });
    await expect(mergeEvents({}).next()).rejects.toThrow("mergeEvents was given no reader");
  });
});
