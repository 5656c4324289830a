import { describe, expect, test } from "vitest";
import { mapDef } from "../../../src/asm/map-def.ts";
import { array, struct, u8, u32 } from "../../../src/btf/layout/index.ts";
import { readCpus } from "../../../src/kernel/cpus.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import type { BatchCursor } from "../../../src/kernel/map-batch.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { BPF_F_NO_PREALLOC, bpf_cmd } from "../../../src/uapi/bpf.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const { possible } = readCpus();
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const byNumber = (a: number, b: number): number => a - b;

/** The system calls, counted by their `bpf()` command. */
function counted(): { readonly calls: Map<number, number>; readonly sys: Syscalls } {
  const calls = new Map<number, number>();
  const bpf: Syscalls["bpf"] = (cmd, attr) => {
    calls.set(cmd, (calls.get(cmd) ?? 0) + 1);
    return sys.bpf(cmd, attr);
  };
  return { calls, sys: { ...sys, bpf } };
}

describe.each(["hash", "lru_hash"] as const)("%s", (type) => {
  // Room to spare: an LRU map evicts before it is full.
  const def = mapDef({ name: "flows", type, key: u32, value: u32, maxEntries: 8192 });
  const entries = numbers(2000).map((key) => [key, key * 3] as const);

  describeKernel("batches", () => {
    test("set with one call, read with cursors, each entry once", () => {
      const { calls, sys: counting } = counted();
      using map = BpfMap.create(def, { sys: counting });
      map.setBatch(entries);
      expect(calls.get(bpf_cmd.BPF_MAP_UPDATE_BATCH)).toBe(1);
      expect(calls.get(bpf_cmd.BPF_MAP_UPDATE_ELEM)).toBeUndefined();
      const read: [number, number][] = [];
      let cursor: BatchCursor | undefined;
      let rounds = 0;
      do {
        const batch = map.getBatch({ cursor, count: 300 });
        read.push(...batch.entries);
        cursor = batch.cursor;
        rounds++;
      } while (cursor !== undefined);
      expect(rounds).toBeGreaterThanOrEqual(7);
      expect(read.toSorted(([a], [b]) => a - b)).toEqual(entries);
      expect(calls.get(bpf_cmd.BPF_MAP_LOOKUP_ELEM)).toBeUndefined();
    });

    test("a bucket that holds more than was asked for is given whole", () => {
      using map = BpfMap.create(def, { sys });
      map.setBatch(entries);
      const seen: number[] = [];
      for (let cursor: BatchCursor | undefined, first = true; first || cursor !== undefined; first = false) {
        const batch = map.getBatch({ cursor, count: 1 });
        seen.push(...batch.entries.map(([key]) => key));
        cursor = batch.cursor;
      }
      expect(seen.toSorted(byNumber)).toEqual(numbers(2000));
    });

    test("takeBatch empties it", () => {
      using map = BpfMap.create(def, { sys });
      map.setBatch(entries);
      const taken: number[] = [];
      for (let cursor: BatchCursor | undefined, first = true; first || cursor !== undefined; first = false) {
        const batch = map.takeBatch({ cursor, count: 500 });
        for (const [key] of batch.entries) expect(map.has(key)).toBe(false);
        taken.push(...batch.entries.map(([key]) => key));
        cursor = batch.cursor;
      }
      expect(taken.toSorted(byNumber)).toEqual(numbers(2000));
      expect(map.getBatch()).toEqual({ entries: [], cursor: undefined });
    });

    test("deleteBatch counts those that were there, and goes on behind the others", () => {
      using map = BpfMap.create(def, { sys });
      map.setBatch(entries);
      expect(map.deleteBatch([5000, 0, 1, 5001, 5002, 2, 5003])).toBe(3);
      expect(map.deleteBatch([])).toBe(0);
      expect(map.deleteBatch([0])).toBe(0);
      expect([...map.keys()].sort(byNumber)).toEqual(numbers(2000).slice(3));
    });

    test("take gives and removes", () => {
      using map = BpfMap.create(def, { sys });
      map.set(1, 10);
      expect(map.take(1)).toBe(10);
      expect(map.take(1)).toBeUndefined();
      expect(map.has(1)).toBe(false);
    });
  });
});

describeKernel("batches of other types", () => {
  test("a full map says how far it came", () => {
    const def = mapDef({ name: "small", type: "hash", key: u32, value: u32, maxEntries: 4 });
    using map = BpfMap.create(def, { sys });
    expect(() => map.setBatch(numbers(6).map((key) => [key, key]))).toThrow(
      `bpf(BPF_MAP_UPDATE_BATCH) failed: E2BIG (Argument list too long) [map=small, map_fd=${map.fd}, count=6, done=4]\n` +
        "  The map is full: it holds 4 entries.",
    );
    expect([...map.keys()].sort(byNumber)).toEqual(numbers(4));
    map.setBatch([]);
  });

  test.each(["percpu_hash", "lru_percpu_hash"] as const)("%s: values of every CPU, also taken", (type) => {
    const def = mapDef({ name: "counts", type, key: u32, value: u32, maxEntries: 256 });
    using map = BpfMap.create(def, { sys });
    const entries = numbers(10).map((key) => [key, possible.map((cpu) => key * 100 + cpu)] as const);
    map.setBatch(entries);
    expect(map.getBatch().entries.toSorted(([a], [b]) => a - b)).toEqual(entries);
    expect(map.take(3)).toEqual(entries[3]?.[1]);
    expect(map.takeBatch().entries).toHaveLength(9);
    expect([...map.keys()]).toEqual([]);
  });

  test("array and per-CPU array, whose entries stay", () => {
    const plain = mapDef({ name: "plain", type: "array", key: u32, value: u32, maxEntries: 10 });
    using map = BpfMap.create(plain, { sys });
    map.setBatch([
      [9, 90],
      [2, 20],
    ]);
    const first = map.getBatch({ count: 4 });
    expect(first.entries).toEqual(numbers(4).map((key) => [key, key === 2 ? 20 : 0]));
    expect(map.getBatch({ cursor: first.cursor }).entries.at(-1)).toEqual([9, 90]);
    // @ts-expect-error its entries cannot be deleted
    expect(() => map.deleteBatch([1])).toThrow("ENOTSUPP");
    // @ts-expect-error nor taken
    expect(() => map.take(1)).toThrow("ENOTSUPP");

    const perCpu = mapDef({ name: "counts", type: "percpu_array", key: u32, value: u32, maxEntries: 3 });
    using counts = BpfMap.create(perCpu, { sys });
    counts.setBatch([[1, possible.map((cpu) => cpu + 1)]]);
    expect(counts.getBatch().entries[1]).toEqual([1, possible.map((cpu) => cpu + 1)]);
  });

  test("LPM trie", () => {
    const prefix = struct("prefix", { length: u32, address: array(u8, 4) });
    const options = { key: prefix, value: u32, maxEntries: 64, flags: BPF_F_NO_PREALLOC };
    using map = BpfMap.create(mapDef({ name: "routes", type: "lpm_trie", ...options }), { sys });
    const key = (net: number) => ({ length: 16, address: [10, net, 0, 0] });
    map.setBatch(numbers(20).map((net) => [key(net), net]));
    const nets = map.getBatch().entries.map(([, net]) => net);
    expect(nets.toSorted(byNumber)).toEqual(numbers(20));
    expect(map.deleteBatch([key(3), key(99), key(4)])).toBe(2);
    expect(map.getBatch().entries).toHaveLength(18);
  });
});
