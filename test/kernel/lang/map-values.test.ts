import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { be32, spinLock, struct, timer, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, xdp } from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const data = new Uint8Array(64);
const kernel = "5.13";
const CLOCK_MONOTONIC = 1;

describeKernel("values under a lock", () => {
  const Bucket = struct("bucket", { tokens: u64, lock: spinLock, taken: u32 });
  const buckets = mapDef({ name: "buckets", type: "hash", key: u32, value: Bucket, maxEntries: 4 });

  test("are changed together", () => {
    const take = xdp("take", ($) => {
      const queue = $.ctx.rx_queue_index;
      const result = $.let(u32, XDP_DROP);
      $.lookup(buckets, queue, (bucket) => {
        $.bpf_spin_lock(bucket.lock);
        $.if(bucket.tokens.eq(0), () => {
          $.bpf_spin_unlock(bucket.lock);
          return $.return(XDP_DROP);
        });
        bucket.tokens.set(bucket.tokens.sub(1));
        bucket.taken.set(bucket.taken.add(1));
        $.bpf_spin_unlock(bucket.lock);
        result.set(XDP_PASS);
      }).else(() => {
        $.update(buckets, queue, { tokens: 2 });
        result.set(XDP_TX);
      });
      return $.return(result);
    });
    using map = BpfMap.create(buckets);
    using prog = BpfProgram.load(take, { maps: [map] });
    const results = [1, 2, 3, 4].map(() => prog.testRun({ data }).retval);
    expect(results).toEqual([XDP_TX, XDP_PASS, XDP_PASS, XDP_DROP]);
    expect([...map.entries()]).toEqual([[0, { tokens: 0n, taken: 2 }]]);
  });
});

describeKernel("each entry of a map", () => {
  const Flow = struct("flow", { source: be32, port: u32 });
  const Count = struct("count", { packets: u64, seen: u64 });
  const flows = mapDef({ name: "flows", type: "hash", key: Flow, value: Count, maxEntries: 16 });
  const slots = mapDef({ name: "slots", type: "array", key: u32, value: u64, maxEntries: 8 });

  test("keys and values are seen, variables from outside set, entries deleted", () => {
    const age = xdp(
      "age",
      ($) => {
        const [sum, limit] = [$.let(u64, 0), $.ctx.rx_queue_index.add(10)];
        const visited = $.forEach(flows, (flow, count) => {
          $.if(count.seen.lt(limit), () => {
            $.delete(flows, flow);
            return $.continue();
          });
          sum.set(sum.add(count.packets.mul(flow.port)));
          count.packets.set(0);
        });
        return $.return(sum.to(u32).shl(8).or(visited.to(u32)));
      },
      { kernel },
    );
    using map = BpfMap.create(flows);
    for (let port = 1; port <= 6; port++) {
      map.set({ source: port, port }, { packets: 100n, seen: port < 4 ? 1n : 20n });
    }
    using prog = BpfProgram.load(age, { maps: [map] });
    expect(prog.testRun({ data }).retval).toBe((1500 << 8) | 6);
    const left = [...map.entries()].map(([key, value]) => [key.port, value.packets]);
    expect(left.sort()).toEqual([
      [4, 0n],
      [5, 0n],
      [6, 0n],
    ]);
  });

  test("break leaves it, return leaves the program", () => {
    const find = xdp(
      "find",
      ($) => {
        const found = $.let(u32, 99);
        $.forEach(slots, (index, value) => {
          $.if(value.eq(7), () => {
            found.set(index);
            return $.break();
          });
          $.if(value.eq(13), () => $.return(index.add(50)));
        });
        return $.return(found);
      },
      { kernel },
    );
    using map = BpfMap.create(slots);
    using prog = BpfProgram.load(find, { maps: [map] });
    expect(prog.testRun({ data }).retval).toBe(99);
    map.set(6, 7n);
    map.set(7, 13n);
    expect(prog.testRun({ data }).retval).toBe(6);
    map.set(3, 13n);
    expect(prog.testRun({ data }).retval).toBe(53);
  });
});

describeKernel("timers", () => {
  const Session = struct("session", { timer, uses: u64 });
  const sessions = mapDef({ name: "sessions", type: "hash", key: u32, value: Session, maxEntries: 4 });
  const ended = mapDef({ name: "ended", type: "array", key: u32, value: u64, maxEntries: 1 });

  test("what a timer's function does when it runs out", async () => {
    const start = xdp(
      "start",
      ($) => {
        const aborted = { else: () => $.return(XDP_ABORTED) };
        $.update(sessions, 7, { uses: 5 });
        const session = $.lookup(sessions, 7, aborted);
        $.if($.bpf_timer_init(session.timer, sessions, CLOCK_MONOTONIC).ne(0), aborted.else);
        const set = $.onTimer(session.timer, sessions, ($, key, value) => {
          $.if(key.ne(7), () => $.return());
          $.atomic.add($.global(ended), value.uses);
          $.delete(sessions, key);
        });
        $.if(set.ne(0), aborted.else);
        $.if($.bpf_timer_start(session.timer, 1_000_000, 0).ne(0), aborted.else);
        return $.return(XDP_PASS);
      },
      { kernel: "5.15" },
    );
    using map = BpfMap.create(sessions);
    using total = BpfMap.create(ended);
    using prog = BpfProgram.load(start, { maps: [map, total] });
    expect(prog.testRun({ data }).retval).toBe(XDP_PASS);
    await expect.poll(() => total.get(0)).toBe(5n);
    await expect.poll(() => [...map.keys()]).toEqual([]);
  });
});
