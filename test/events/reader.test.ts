/** Readers over a ring in ordinary memory, for what the kernel does not do on demand. */
import { setImmediate, setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { encode, struct, u32 } from "../../src/btf/layout/index.ts";
import { RingBuffer, RingCorruptError } from "../../src/kernel/events/index.ts";
import type { BpfMap } from "../../src/kernel/map.ts";
import { pageSize } from "../../src/kernel/shared-memory.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { BPF_F_RB_OVERWRITE, BPF_MAP_TYPE_RINGBUF } from "../../src/uapi/bpf.ts";
import { bpf_map_info } from "../../src/uapi/structs.ts";
import { fakeSyscalls } from "../syscall/fake-syscalls.ts";
import { BUSY, DISCARD, LITTLE, type SyntheticRing, syntheticRing } from "./rings.ts";

const event = struct("event", { id: u32 });
const bytesOf = (id: number): number[] => [...encode(event, { id })];
const map = { fd: 7, def: { name: "events" } } as unknown as BpfMap<"ringbuf">;

/** A kernel with one ring buffer map. */
function fakeKernel(ring: SyntheticRing, flags = 0) {
  const watches = new Set<() => void>();
  const seen = { wakes: 0, unmapped: [] as bigint[], closed: [] as number[] };
  let infoBuffer = new Uint8Array(0);
  const sys: Syscalls = fakeSyscalls({
    fcntl: () => 8,
    close: (fd) => {
      seen.closed.push(fd);
      return 0;
    },
    addressOf: (buffer) => {
      infoBuffer = buffer as Uint8Array<ArrayBuffer>;
      return 1n;
    },
    bpf: () => {
      const info = new DataView(infoBuffer.buffer);
      info.setUint32(bpf_map_info.type, BPF_MAP_TYPE_RINGBUF, LITTLE);
      info.setUint32(bpf_map_info.max_entries, ring.size, LITTLE);
      info.setUint32(bpf_map_info.map_flags, flags, LITTLE);
      return 0;
    },
    mmap: (_length, _prot, _flags, _fd, offset) =>
      offset === 0 ? { address: 100n, buffer: ring.consumer } : { address: 200n, buffer: ring.producer },
    munmap: (address) => {
      seen.unmapped.push(address);
      return 0;
    },
    // Level-triggered: it calls as long as the ring is not empty, like the event loop.
    watchReadable: (_fd, onReadable) => {
      const call = (): void => {
        seen.wakes++;
        onReadable();
      };
      watches.add(call);
      const close = (): void => void watches.delete(call);
      return { close, ref: () => {}, unref: () => {}, [Symbol.dispose]: close };
    },
  });
  const loop = async (until: () => boolean): Promise<void> => {
    while (!until()) {
      if (ring.producerPosition() !== ring.consumerPosition()) for (const call of [...watches]) call();
      await setImmediate();
    }
  };
  return { sys, seen, loop, watches };
}

const ringWithPages = (): SyntheticRing => syntheticRing(4096, 0n, pageSize());

describe("a record that stays busy", () => {
  test("is waited for without spinning, and comes when it is committed", async () => {
    const ring = ringWithPages();
    const kernel = fakeKernel(ring);
    using reader = RingBuffer.open(map, event, { sys: kernel.sys });
    ring.push(bytesOf(1), BUSY);
    let done = false;
    const loop = kernel.loop(() => done);
    const next = reader.records().next();
    await setTimeout(200);
    expect(kernel.seen.wakes, "one for each pause of up to 16 ms, twice").toBeLessThan(60);
    await expect.poll(() => kernel.seen.wakes, { timeout: 10_000 }).toBeGreaterThan(4);
    ring.setHeader(0n, event.size);
    expect(await next).toEqual({ done: false, value: { id: 1 } });
    done = true;
    await loop;
  });

  test("does not hold up a signal", async () => {
    const ring = ringWithPages();
    const kernel = fakeKernel(ring);
    using reader = RingBuffer.open(map, event, { sys: kernel.sys });
    ring.push(bytesOf(1), BUSY);
    let done = false;
    const loop = kernel.loop(() => done);
    expect(await reader.records({ signal: AbortSignal.timeout(60) }).next()).toEqual({
      done: true,
      value: undefined,
    });
    expect(reader.available).toBe(16);
    done = true;
    await loop;
  });
});

test("a wake for discarded records alone gives nothing, and waits on", async () => {
  const ring = ringWithPages();
  const kernel = fakeKernel(ring);
  using reader = RingBuffer.open(map, event, { sys: kernel.sys });
  let done = false;
  const loop = kernel.loop(() => done);
  const next = reader.records().next();
  for (let n = 0; n < 20; n++) {
    ring.push(bytesOf(n), DISCARD);
    await setImmediate();
  }
  await setTimeout(10);
  expect(reader.available).toBe(0);
  ring.push(bytesOf(99));
  expect(await next).toEqual({ done: false, value: { id: 99 } });
  done = true;
  await loop;
});

test("a corrupt ring ends a loop with an error, and can be closed", async () => {
  const ring = ringWithPages();
  const kernel = fakeKernel(ring);
  const reader = RingBuffer.open(map, event, { sys: kernel.sys });
  ring.pushHeader(5000, 16);
  await expect(reader.records().next()).rejects.toThrow(RingCorruptError);
  await expect(reader.readable()).rejects.toThrow("ring buffer 'events' is corrupt");
  expect(() => reader.take(1)).toThrow(RingCorruptError);
  reader.close();
  expect(kernel.seen).toMatchObject({ unmapped: [100n, 200n], closed: [8] });
});

describe("closing", () => {
  test("unmaps at once what nobody has a view of", () => {
    const ring = ringWithPages();
    const kernel = fakeKernel(ring);
    ring.push(bytesOf(1));
    const reader = RingBuffer.open(map, undefined, { sys: kernel.sys });
    expect(reader.take(1)).toHaveLength(1);
    reader.close();
    expect(kernel.seen).toMatchObject({ unmapped: [100n, 200n], closed: [8] });
  });

  test("leaves what was lent to the garbage collector", () => {
    for (const drain of ["drain", "drainRaw"] as const) {
      const kernel = fakeKernel(ringWithPages());
      const reader = RingBuffer.open(map, undefined, { sys: kernel.sys });
      reader[drain](() => true);
      reader.close();
      expect(kernel.seen).toMatchObject({ unmapped: [100n], closed: [8] });
    }
  });

  test("from inside of a callback waits for its end", () => {
    const ring = ringWithPages();
    const kernel = fakeKernel(ring);
    ring.push(bytesOf(1));
    ring.push(bytesOf(2));
    const reader = RingBuffer.open(map, event, { sys: kernel.sys });
    const count = reader.drain(() => {
      reader.close();
      expect(kernel.seen.unmapped).toEqual([]);
    });
    expect(count).toBe(1);
    expect(kernel.seen).toMatchObject({ unmapped: [100n, 200n], closed: [8] });
    expect(ring.consumerPosition(), "the record counts as taken").toBe(16n);
  });

  test("closes the watch before the descriptor", async () => {
    const kernel = fakeKernel(ringWithPages());
    const sys: Syscalls = {
      ...kernel.sys,
      close: (fd) => {
        expect(kernel.watches.size).toBe(0);
        return kernel.sys.close(fd);
      },
    };
    const reader = RingBuffer.open(map, event, { sys });
    const next = reader.records().next();
    await setImmediate();
    expect(kernel.watches.size).toBe(1);
    reader.close();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(kernel.seen.closed).toEqual([8]);
  });
});

test("overwrite mode is refused", () => {
  const kernel = fakeKernel(ringWithPages(), BPF_F_RB_OVERWRITE);
  expect(() => RingBuffer.open(map, event, { sys: kernel.sys })).toThrow(
    "ring buffer 'events' is in overwrite mode (BPF_F_RB_OVERWRITE), which is not supported",
  );
  expect(kernel.seen.closed).toEqual([8]);
});
