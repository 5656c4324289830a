import { expect, test } from "vitest";
import {
  aadd64,
  add,
  call,
  callback,
  exit,
  jne,
  lddw,
  ldxdw,
  type MapDef,
  mapDef,
  mapFd,
  mapValue,
  mov,
  mov32,
  type Program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r6,
  r10,
  stxdw,
  subprogram,
  xdp,
} from "../../../src/asm/index.ts";
import { LayoutError, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { lostCounter, UserRingBuffer } from "../../../src/kernel/events/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { FdClosedError } from "../../../src/syscall/fd.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { XDP_PASS } from "../../../src/uapi/bpf.ts";
import { EMFILE } from "../../../src/uapi/errno.ts";
import { bpf_dynptr_read, bpf_user_ringbuf_drain } from "../../../src/uapi/helpers.ts";
import { eachFailure } from "../../support/failing-syscalls.ts";
import { watchFds } from "../../support/fd-leak.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { collectUntil, mappedRings, run } from "./support.ts";

/** What is sent: the program checks `check === value * 3`. */
const command = struct("command", { value: u64.asNumber, check: u64.asNumber });
const make = (value: number) => ({ value, check: value * 3 });

const ringDef = (maxEntries = 4096) => mapDef({ name: "commands", type: "user_ringbuf", maxEntries });

/** Takes all that was sent: adds up the values, counts the commands and those whose check is wrong. */
function drainer(ring: MapDef, sum: MapDef, count: MapDef, wrong: MapDef, result: MapDef): Program<"xdp"> {
  const onCommand = subprogram("on_command", {
    entry: [
      mov(r3, r1),
      mov(r1, r10),
      add(r1, -16),
      mov32(r2, 16),
      mov32(r4, 0),
      mov32(r5, 0),
      call(bpf_dynptr_read),
      jne(r0, 0, "wrong"),
      ldxdw(r6, [r10, -16]),
      lddw(r1, mapValue(sum)),
      aadd64([r1, 0], r6),
      lddw(r1, mapValue(count)),
      mov32(r2, 1),
      aadd64([r1, 0], r2),
      mov(r2, r6),
      add(r2, r6),
      add(r2, r6),
      ldxdw(r3, [r10, -8]),
      jne(r2, r3, "wrong"),
    ],
    out: [mov32(r0, 0), exit()],
    wrong: [lddw(r1, mapValue(wrong)), mov32(r2, 1), aadd64([r1, 0], r2), mov32(r0, 0), exit()],
  });
  return xdp("drain", {
    entry: [
      lddw(r1, mapFd(ring)),
      lddw(r2, callback(onCommand)),
      mov32(r3, 0),
      mov32(r4, 0),
      call(bpf_user_ringbuf_drain),
      lddw(r1, mapValue(result)),
      stxdw([r1, 0], r0),
      mov32(r0, XDP_PASS),
      exit(),
    ],
  });
}

function setUp(sys: Syscalls, size = 4096) {
  const ring = ringDef(size);
  const sum = lostCounter("sum");
  const count = lostCounter("count");
  const wrong = lostCounter("wrong");
  const result = lostCounter("result");
  const map = BpfMap.create(ring, { sys });
  const counters = [sum, count, wrong, result].map((def) => BpfMap.create(def, { sys }));
  const maps = [map, ...counters];
  const program = BpfProgram.load(drainer(ring, sum, count, wrong, result), { sys, maps });
  return {
    map,
    /** Has the program take what is there; gives the totals so far, and what the helper returned. */
    drain: () => {
      run(sys, program);
      const [total, taken, bad, returned] = counters.map((counter) => counter.get(0));
      return { total, taken, bad, returned };
    },
    [Symbol.dispose]: () => {
      for (const object of [program, ...maps]) object.close();
    },
  };
}

describeKernel("user ring buffer", () => {
  const sys = tracedSyscalls();

  test("a program takes what is sent", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, command, { sys });
    expect([ring.size, ring.pending]).toEqual([4096, 0]);
    for (let value = 1; value <= 10; value++) expect(ring.send(make(value))).toBe(true);
    expect(ring.pending).toBe(240);
    expect(setup.drain()).toEqual({ total: 55, taken: 10, bad: 0, returned: 10 });
    expect(ring.pending).toBe(0);
    expect(setup.drain()).toEqual({ total: 55, taken: 10, bad: 0, returned: 0 });
  });

  test("until it is full, and over the end of the buffer", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, command, { sys });
    let sent = 0;
    let total = 0;
    for (let round = 0; round < 50; round++) {
      let fitted = 0;
      while (ring.send(make(sent))) {
        total += sent++;
        fitted++;
      }
      expect(fitted).toBe(Math.floor(4096 / 24));
      expect(setup.drain()).toEqual({ total, taken: sent, bad: 0, returned: fitted });
    }
  });

  test("slots: written in place, settled in any order, taken in theirs", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, undefined, { sys });
    const [first, second, third] = [ring.reserve(16), ring.reserve(16), ring.reserve(16)];
    if (first === undefined || second === undefined || third === undefined) return expect.unreachable();
    expect(first.bytes).toHaveLength(16);
    command.write(third.view, 0, make(100));
    third.submit();
    command.write(second.view, 0, make(10));
    second.discard();
    expect(setup.drain().taken, "the first is not settled yet").toBe(0);
    command.write(first.view, 0, make(1));
    first.submit();
    expect(setup.drain()).toMatchObject({ total: 101, taken: 2, bad: 0 });
    for (const again of [() => first.submit(), () => first.discard(), () => second.submit()]) {
      expect(again).toThrow("user ring buffer 'commands': the slot was submitted or discarded before");
    }
  });

  test("a slot that is left is discarded", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, command, { sys });
    {
      using slot = ring.reserve(16);
      expect(slot).toBeDefined();
    }
    {
      using slot = ring.reserve(16);
      if (slot === undefined) return expect.unreachable();
      command.write(slot.view, 0, make(7));
      slot.submit();
    }
    expect(setup.drain()).toMatchObject({ total: 7, taken: 1, bad: 0 });
  });

  test("bytes", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, undefined, { sys });
    expect(ring.send(new Uint8Array(BigUint64Array.of(5n, 15n).buffer))).toBe(true);
    expect(ring.send(new Uint8Array(4)), "too short for the program").toBe(true);
    expect(setup.drain()).toMatchObject({ total: 5, taken: 1, bad: 1 });
  });

  test("a value that does not fit its layout is not sent", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, command, { sys });
    expect(() => ring.send({ value: -1, check: 0 })).toThrow(LayoutError);
    ring.send(make(2));
    expect(setup.drain()).toMatchObject({ total: 2, taken: 1, bad: 0 });
  });

  test("lengths that could never fit", () => {
    using setup = setUp(sys);
    using ring = UserRingBuffer.open(setup.map, undefined, { sys });
    for (const size of [4089, -1, 1.5, Number.NaN]) {
      expect(() => ring.reserve(size)).toThrow(
        `user ring buffer 'commands': ${size} is not a length from 0 to 4088, which it has room for`,
      );
    }
    using most = ring.reserve(4088);
    expect(most?.bytes).toHaveLength(4088);
    expect(ring.reserve(0)).toBeUndefined();
  });

  test("closing discards what is not settled, and ends its use", async () => {
    using setup = setUp(sys);
    const [leaks, before] = [watchFds(), mappedRings()];
    const ring = UserRingBuffer.open(setup.map, command, { sys });
    const slot = ring.reserve(16);
    ring.send(make(3));
    expect(ring.closed).toBe(false);
    ring.close();
    ring.close();
    expect(ring.closed).toBe(true);
    for (const use of [() => ring.send(make(1)), () => ring.reserve(1), () => ring.pending]) {
      expect(use).toThrow(FdClosedError);
      expect(use).toThrow("user ring buffer 'commands' is closed");
    }
    expect(() => slot?.submit()).toThrow("submitted or discarded before");
    if (slot !== undefined) slot.bytes[0] = 1; // no room of anybody's any more, and still memory
    expect(setup.drain()).toMatchObject({ total: 3, taken: 1, bad: 0 });
    expect(leaks()).toEqual([]);
    expect(mappedRings()).toBeLessThanOrEqual(before + 1);
  });

  test("a second sender goes on where the first one ended", () => {
    using setup = setUp(sys);
    for (let value = 1; value <= 3; value++) {
      using ring = UserRingBuffer.open(setup.map, command, { sys });
      ring.send(make(value));
    }
    expect(setup.drain()).toMatchObject({ total: 6, taken: 3, bad: 0 });
  });

  test("a map of another type, and every call that can fail", async () => {
    using array = BpfMap.create(mapDef({ name: "no", type: "array", key: u32, value: u32, maxEntries: 1 }), {
      sys,
    });
    expect(() => UserRingBuffer.open(array as never, undefined, { sys })).toThrow(
      "user ring buffer 'no': the map is of type 'array', not 'user_ringbuf'",
    );
    using map = BpfMap.create(ringDef(), { sys });
    expect(await collectUntil(() => mappedRings() === 0)).toBe(true);
    const leaks = watchFds();
    const tried = await eachFailure({
      sys,
      errno: EMFILE,
      run: (failing) => UserRingBuffer.open(map, command, { sys: failing }).close(),
      check: () => {
        expect(leaks()).toEqual([]);
        expect(mappedRings()).toBe(0);
      },
    });
    expect(tried).toBe(4);
  });
});
