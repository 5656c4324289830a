import { describe, expect, test } from "vitest";
import { mapDef } from "../../../src/asm/map-def.ts";
import { array, char, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BPF_EXIST, BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const job = struct("job", { id: u64, name: array(char, 4) });
const jobs = [1n, 2n, 3n].map((id) => ({ id, name: `j${id}` }));

describe.each([
  ["queue", jobs],
  ["stack", jobs.toReversed()],
] as const)("%s", (type, order) => {
  const def = mapDef({ name: "jobs", type, value: job, maxEntries: 3 });

  describeKernel("API", () => {
    test("push, peek, pop in its order", () => {
      using map = BpfMap.create(def, { sys });
      expect([map.peek(), map.pop()]).toEqual([undefined, undefined]);
      for (const one of jobs) map.push(one);
      expect([map.peek(), map.peek()]).toEqual([order[0], order[0]]);
      expect([map.pop(), map.pop(), map.pop(), map.pop()]).toEqual([...order, undefined]);
    });

    test("full, it says so, or drops the oldest", () => {
      using map = BpfMap.create(def, { sys });
      for (const one of jobs) map.push(one);
      const next = { id: 4n, name: "j4" };
      expect(() => map.push(next)).toThrow(
        `bpf(BPF_MAP_UPDATE_ELEM) failed: E2BIG (Argument list too long) [map=jobs, map_fd=${map.fd}]\n` +
          `  The ${type} is full: it holds 3 values. With BPF_EXIST it drops its oldest one for the new.`,
      );
      map.push(next, BPF_EXIST);
      const left = [map.pop(), map.pop(), map.pop()].map((one) => one?.id);
      expect(left.toSorted()).toEqual([2n, 3n, 4n]);
      expect(() => map.push(next, BPF_NOEXIST)).toThrow("EINVAL");
    });

    test("it has no keys, for the compiler and when run", () => {
      using map = BpfMap.create(def, { sys });
      // @ts-expect-error a key
      expect(() => map.get(0)).toThrow(`map 'jobs' (${type}) has no keys`);
      // @ts-expect-error nothing to take by key
      expect(() => map.take(0)).toThrow("has no keys");
    });
  });
});

describeKernel("bloom_filter", () => {
  const def = mapDef({ name: "seen", type: "bloom_filter", value: u32, maxEntries: 1000 });

  test("what was pushed may be there; nearly all else is certainly not", () => {
    using map = BpfMap.create(def, { sys });
    expect(map.mayHave(7)).toBe(false);
    for (let value = 0; value < 1000; value++) map.push(value);
    const values = Array.from({ length: 1000 }, (_, value) => value);
    expect(values.every((value) => map.mayHave(value))).toBe(true);
    // 5 hash functions and at least 5/ln 2 bits for each value: some 3 % are mistaken.
    expect(values.filter((value) => map.mayHave(value + 1_000_000)).length).toBeLessThan(150);
  });

  test("nothing comes out again", () => {
    using map = BpfMap.create(def, { sys });
    // @ts-expect-error a filter has no values to give
    expect(() => map.pop()).toThrow("bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM) failed: ENOTSUPP");
    expect(() => map.push(1, BPF_EXIST)).toThrow("EINVAL");
  });
});
