import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../../src/base/host.ts";
import {
  mapCreate,
  mapDeleteBatch,
  mapDeleteElem,
  mapElement,
  mapFreeze,
  mapGetNextKey,
  mapLookupAndDeleteBatch,
  mapLookupAndDeleteElem,
  mapLookupBatch,
  mapLookupElem,
  mapUpdateBatch,
  mapUpdateElem,
} from "../../../src/syscall/bpf-map.ts";
import {
  btfLoad,
  enableStats,
  mapGetFdById,
  mapGetNextId,
  objGet,
  objGetInfoByFd,
  objPin,
  progGetFdById,
  progGetNextId,
  taskFdQuery,
} from "../../../src/syscall/bpf-object.ts";
import { progBindMap, progLoad, progTestRun, rawTracepointOpen } from "../../../src/syscall/bpf-prog.ts";
import { check, SyscallError } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { MemoryMap } from "../../../src/syscall/memory-map.ts";
import { isBpffs, mountBpffs, unmount } from "../../../src/syscall/mount.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { describeKernel } from "../../support/privileges.ts";
import { BPF_PROG_TYPE_XDP, insns, loadReturning, returning, tracedSyscalls } from "./support.ts";

const HASH = 1;
const ARRAY = 2;
const QUEUE = 22;
const RINGBUF = 27;
const PROG_TYPE_RAW_TRACEPOINT = 17;

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const u64 = (value: number): Uint8Array => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
const words = (bytes: Uint8Array): number[] => [...new Uint32Array(bytes.slice().buffer)];
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));

function newMap(
  sys: Syscalls,
  map_type: number,
  options: { max_entries?: number; flags?: number; name?: string } = {},
): Fd {
  const { max_entries = 8, flags = 0, name = "tsbpf_t" } = options;
  const key_size = map_type === QUEUE || map_type === RINGBUF ? 0 : 4;
  const value_size = map_type === RINGBUF ? 0 : 8;
  const number = mapCreate(sys, {
    map_type,
    key_size,
    value_size,
    max_entries,
    map_flags: flags,
    map_name: name,
  });
  return Fd.own(sys, number, `map ${name}`);
}

describeKernel("bpf(2) on maps", () => {
  const sys = tracedSyscalls();

  test("update, look up, walk, delete", () => {
    using map = newMap(sys, HASH);
    const value = new Uint8Array(8);
    expect(mapLookupElem(sys, map.number, u32(1), value)).toBe(false);
    mapUpdateElem(sys, map.number, u32(1), u64(11));
    mapUpdateElem(sys, map.number, u32(2), u64(22));
    expect(mapLookupElem(sys, map.number, u32(2), value)).toBe(true);
    expect(value).toEqual(u64(22));

    const seen: number[] = [];
    const key = new Uint8Array(4);
    let last: Uint8Array | undefined;
    while (mapGetNextKey(sys, map.number, last, key)) {
      seen.push(...words(key));
      last = key.slice();
    }
    expect(seen.sort()).toEqual([1, 2]);

    expect(mapLookupAndDeleteElem(sys, map.number, u32(2), value)).toBe(true);
    expect(mapDeleteElem(sys, map.number, u32(1))).toBe(true);
    expect(mapDeleteElem(sys, map.number, u32(1))).toBe(false);
  });

  test("buffers that are slices of larger ones", () => {
    using map = newMap(sys, HASH);
    const pool = new Uint8Array(64);
    const key = pool.subarray(13, 17);
    const value = pool.subarray(29, 37);
    key.set(u32(7));
    value.set(u64(77));
    mapUpdateElem(sys, map.number, key, value);
    value.fill(0);
    expect(mapLookupElem(sys, map.number, u32(7), value)).toBe(true);
    expect(value).toEqual(u64(77));
    expect(pool[28]).toBe(0);
    expect(pool[37]).toBe(0);
  });

  test("errors name the key and the flags", () => {
    using map = newMap(sys, HASH);
    mapUpdateElem(sys, map.number, u32(1), u64(1));
    expect(() => mapUpdateElem(sys, map.number, u32(1), u64(1), 1)).toThrow(
      `bpf(BPF_MAP_UPDATE_ELEM) failed: EEXIST (File exists) [map_fd=${map.number}, key=${LITTLE_ENDIAN ? "01000000" : "00000001"}, flags=1]`,
    );
    expect(() => mapUpdateElem(sys, map.number, u32(9), u64(1), 2)).toThrow("ENOENT");
  });

  test("the kernel's refusal of a map names its type", () => {
    expect(() =>
      mapCreate(sys, { map_type: 16, key_size: 4, value_size: 3, max_entries: 1, map_name: "bad" }),
    ).toThrow(
      "bpf(BPF_MAP_CREATE) failed: EINVAL (Invalid argument) [map_type=CPUMAP, map_name=bad, key_size=4, value_size=3, max_entries=1]",
    );
  });

  test("mapElement does the same without allocating", () => {
    using map = newMap(sys, HASH);
    const element = mapElement(sys, map, new Uint8Array(4), new Uint8Array(8));
    element.key.set(u32(3));
    expect(element.lookup()).toBe(false);
    element.value.set(u64(33));
    element.update();
    element.value.fill(0);
    expect(element.lookup()).toBe(true);
    expect(element.value).toEqual(u64(33));
    expect(() => element.update(1)).toThrow("EEXIST");
    expect(element.delete()).toBe(true);
    expect(element.delete()).toBe(false);
    map.close();
    expect(() => element.lookup()).toThrow("map tsbpf_t is closed");
  });

  test("a queue has no keys", () => {
    using queue = newMap(sys, QUEUE);
    mapUpdateElem(sys, queue.number, undefined, u64(1));
    mapUpdateElem(sys, queue.number, undefined, u64(2));
    const value = new Uint8Array(8);
    expect(mapLookupAndDeleteElem(sys, queue.number, undefined, value)).toBe(true);
    expect(value).toEqual(u64(1));
    expect(mapLookupElem(sys, queue.number, undefined, value)).toBe(true);
    expect(value).toEqual(u64(2));
  });

  test("batches", () => {
    using map = newMap(sys, HASH, { max_entries: 100 });
    const keys = new Uint8Array(Uint32Array.from({ length: 50 }, (_, i) => i).buffer);
    const values = new Uint8Array(BigUint64Array.from({ length: 50 }, (_, i) => BigInt(i * 3)).buffer);
    expect(mapUpdateBatch(sys, { map_fd: map.number, keys, values, count: 50 })).toBe(50);

    const found = new Map<number, bigint>();
    const out = { keys: new Uint8Array(4 * 20), values: new Uint8Array(8 * 20), batch: new Uint8Array(4) };
    let in_batch: Uint8Array | undefined;
    for (let i = 0; i < 20; i++) {
      const { count, done } = mapLookupBatch(sys, {
        map_fd: map.number,
        keys: out.keys,
        values: out.values,
        count: 20,
        in_batch,
        out_batch: out.batch,
      });
      const [k, v] = [new Uint32Array(out.keys.buffer), new BigUint64Array(out.values.buffer)];
      for (let j = 0; j < count; j++) found.set(k[j] ?? -1, v[j] ?? -1n);
      if (done) break;
      in_batch = out.batch.slice();
    }
    expect([...found].sort(([a], [b]) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => [i, BigInt(i * 3)]),
    );

    expect(mapDeleteBatch(sys, { map_fd: map.number, keys: keys.subarray(0, 40), count: 10 })).toBe(10);
    const rest = {
      keys: new Uint8Array(4 * 100),
      values: new Uint8Array(8 * 100),
      out_batch: new Uint8Array(4),
    };
    const all = { map_fd: map.number, count: 100, in_batch: undefined, ...rest };
    expect(mapLookupAndDeleteBatch(sys, all)).toEqual({ count: 40, done: true });
    expect(mapLookupBatch(sys, all)).toEqual({ count: 0, done: true });
  });

  test("a frozen map takes no more updates", () => {
    using map = newMap(sys, ARRAY);
    mapFreeze(sys, map.number);
    expect(() => mapUpdateElem(sys, map.number, u32(0), u64(1))).toThrow("EPERM");
  });

  test("mapped memory is the map", () => {
    const BPF_F_MMAPABLE = 1024;
    using map = newMap(sys, ARRAY, { max_entries: 512, flags: BPF_F_MMAPABLE });
    const memory = MemoryMap.open(sys, map.number, "values of tsbpf_t", 4096, 3);
    new BigUint64Array(memory.buffer)[3] = 99n;
    const value = new Uint8Array(8);
    mapLookupElem(sys, map.number, u32(3), value);
    expect(value).toEqual(u64(99));
    memory.close();
    memory.close();
    expect(() => memory.buffer).toThrow("values of tsbpf_t is closed");
    expect(() => MemoryMap.open(sys, map.number, "values", 1 << 30, 3)).toThrow(/^mmap failed: /);
  });

  test("an Fd is close-on-exec, and so is its copy", () => {
    using map = newMap(sys, ARRAY);
    using copy = map.dup();
    const [F_GETFD, FD_CLOEXEC] = [1, 1];
    expect(sys.fcntl(map.number, F_GETFD, 0)).toBe(FD_CLOEXEC);
    expect(sys.fcntl(copy.number, F_GETFD, 0)).toBe(FD_CLOEXEC);
    map.close();
    mapUpdateElem(sys, copy.number, u32(0), u64(1));
  });
});

describeKernel("bpf(2) on programs", () => {
  const sys = tracedSyscalls();

  test("load with a log, run on a packet", () => {
    const log_buf = new Uint8Array(4096);
    const { result, log_true_size } = progLoad(sys, {
      prog_type: BPF_PROG_TYPE_XDP,
      insns: returning(2),
      license: "GPL",
      prog_name: "pass",
      log_level: 1,
      log_buf,
    });
    using prog = Fd.own(sys, check(result, "bpf(BPF_PROG_LOAD)"), "program pass");
    expect(text(log_buf)).toMatch(/^processed 2 insns/m);
    if (log_true_size !== undefined) expect(log_true_size).toBe(text(log_buf).length + 1);

    const data_in = Uint8Array.from({ length: 60 }, (_, i) => i);
    const run = progTestRun(sys, { prog_fd: prog.number, data_in, data_out: new Uint8Array(100), repeat: 3 });
    expect(run.retval).toBe(2);
    expect(run.data_out).toEqual(data_in);
    expect(() => progTestRun(sys, { prog_fd: prog.number, data_in, data_out: new Uint8Array(10) })).toThrow(
      /^bpf\(BPF_PROG_TEST_RUN\) failed: ENOSPC .*data_size_out=10 \(needs 60\)/,
    );
  });

  test("a refusal is a result, with the verifier's log beside it", () => {
    const log_buf = new Uint8Array(4096);
    const { result } = progLoad(sys, {
      prog_type: BPF_PROG_TYPE_XDP,
      insns: insns([0x95, 0, 0, 0, 0]),
      license: "GPL",
      log_level: 1,
      log_buf,
    });
    expect(result).toBe(-13);
    expect(text(log_buf)).toContain("R0 !read_ok");
  });

  test("a log that does not fit is ENOSPC, and the kernel says how much it needs", () => {
    const load = (size: number) =>
      progLoad(sys, {
        prog_type: BPF_PROG_TYPE_XDP,
        insns: returning(2),
        license: "GPL",
        log_level: 2,
        log_buf: new Uint8Array(size),
      });
    const short = load(32);
    expect(short.result).toBe(-28);
    if (short.log_true_size === undefined) return;
    const { result } = load(short.log_true_size);
    Fd.own(sys, check(result, "bpf(BPF_PROG_LOAD)"), "program").close();
  });

  test("a raw tracepoint", () => {
    const { result } = progLoad(sys, {
      prog_type: PROG_TYPE_RAW_TRACEPOINT,
      insns: returning(0),
      license: "GPL",
    });
    using prog = Fd.own(sys, check(result, "bpf(BPF_PROG_LOAD)"), "program");
    {
      const number = rawTracepointOpen(sys, { name: "xdp_redirect", prog_fd: prog.number });
      using point = Fd.own(sys, number, "raw tracepoint");
      expect(taskFdQuery(sys, process.pid, point.number)).toMatchObject({ fd_type: 0, name: "xdp_redirect" });
    }
    expect(() => rawTracepointOpen(sys, { name: "no_such_point", prog_fd: prog.number })).toThrow(
      `bpf(BPF_RAW_TRACEPOINT_OPEN) failed: ENOENT (No such file or directory) [name=no_such_point, prog_fd=${prog.number}]`,
    );
  });

  test("a program holds a map it does not use", () => {
    using prog = loadReturning(sys, BPF_PROG_TYPE_XDP, 2, "binds");
    using map = newMap(sys, ARRAY);
    progBindMap(sys, { prog_fd: prog.number, map_fd: map.number });
    const info = new Uint8Array(64);
    objGetInfoByFd(sys, prog.number, info);
    const nr_map_ids = new DataView(info.buffer).getUint32(52, LITTLE_ENDIAN);
    expect(nr_map_ids).toBe(1);
  });

  test("statistics are on while the descriptor is open", () => {
    Fd.own(sys, enableStats(sys), "statistics").close();
  });

  test("BTF that is none is a result, with a log", () => {
    const log_buf = new Uint8Array(1024);
    const { result } = btfLoad(sys, { btf: new Uint8Array(64), log_buf, log_level: 1 });
    expect(result).toBe(-22);
    expect(text(log_buf)).toMatch(/magic/i);
  });
});

describeKernel("ids, info and pins", () => {
  const sys = tracedSyscalls();

  test("a map and a program are found by id", () => {
    using map = newMap(sys, ARRAY, { name: "by_id" });
    using prog = loadReturning(sys, BPF_PROG_TYPE_XDP, 2, "by_id");
    const idOf = (fd: Fd): number => {
      const info = new Uint8Array(16);
      expect(objGetInfoByFd(sys, fd.number, info)).toBe(16);
      return new DataView(info.buffer).getUint32(4, LITTLE_ENDIAN);
    };
    const [mapId, progId] = [idOf(map), idOf(prog)];
    const walk = (next: (id: number) => number | undefined): number[] => {
      const ids: number[] = [];
      for (let id = next(0); id !== undefined && ids.length < 1e5; id = next(id)) ids.push(id);
      return ids;
    };
    expect(walk((id) => mapGetNextId(sys, id))).toContain(mapId);
    expect(walk((id) => progGetNextId(sys, id))).toContain(progId);

    using again = Fd.own(sys, mapGetFdById(sys, mapId) ?? -1, "map by id");
    mapUpdateElem(sys, again.number, u32(0), u64(5));
    Fd.own(sys, progGetFdById(sys, progId) ?? -1, "program by id").close();
    expect(mapGetFdById(sys, 0xffff_fff0)).toBeUndefined();
  });

  test("pins on a bpffs of our own", () => {
    const dir = mkdtempSync(join(tmpdir(), "tsbpf-pins-"));
    try {
      expect(isBpffs(dir)).toBe(false);
      mountBpffs(sys, dir);
      try {
        expect(isBpffs(dir)).toBe(true);
        const pathname = join(dir, "map");
        {
          using map = newMap(sys, ARRAY);
          mapUpdateElem(sys, map.number, u32(1), u64(42));
          objPin(sys, { pathname, bpf_fd: map.number });
          expect(() => objPin(sys, { pathname, bpf_fd: map.number })).toThrow(
            `bpf(BPF_OBJ_PIN) failed: EEXIST (File exists) [pathname=${pathname}]`,
          );
        }
        expect(readdirSync(dir)).toContain("map");
        using map = Fd.own(sys, objGet(sys, { pathname }), "pinned map");
        const value = new Uint8Array(8);
        expect(mapLookupElem(sys, map.number, u32(1), value)).toBe(true);
        expect(value).toEqual(u64(42));
        expect(() => objGet(sys, { pathname: join(dir, "nothing") })).toThrow("ENOENT");
      } finally {
        unmount(sys, dir, { lazy: true });
      }
      expect(() => unmount(sys, dir)).toThrow(`umount2 failed: EINVAL (Invalid argument) [target=${dir}]`);
    } finally {
      rmdirSync(dir);
    }
  });

  test("pinning outside a bpffs", () => {
    using map = newMap(sys, ARRAY);
    const pathname = join(tmpdir(), "tsbpf-not-a-bpffs");
    expect(() => objPin(sys, { pathname, bpf_fd: map.number })).toThrow(
      `bpf(BPF_OBJ_PIN) failed: EPERM (Operation not permitted) [pathname=${pathname}]`,
    );
  });
});

describeKernel("what the kernel is given stays alive during the call", () => {
  const sys = tracedSyscalls();
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;

  test("also a copy that only the attribute knows of", () => {
    const collecting: Syscalls = {
      ...sys,
      bpf(cmd, attr) {
        // The worst moment: between encoding the attribute and the call.
        collect();
        collect();
        return sys.bpf(cmd, attr);
      },
    };
    // So large that the memory goes back to the system when it is collected: the kernel would find EFAULT.
    expect(() => objGet(collecting, { pathname: "x".repeat(32 << 20) })).toThrow(
      /^bpf\(BPF_OBJ_GET\) failed: ENAMETOOLONG \(File name too long\) \[pathname=x{200}\.\.\.\]$/,
    );
  });
});

describeKernel("ring buffer descriptors", () => {
  const sys = tracedSyscalls();

  test("poll and the event loop can wait for one", async () => {
    using ring = newMap(sys, RINGBUF, { max_entries: 4096 });
    const entry = { fd: ring.number, events: 1, revents: 0 };
    expect(sys.poll([entry], 0)).toBe(0);
    expect(entry.revents).toBe(0);
    const watch = sys.watchReadable(ring.number, () => expect.unreachable("nothing was written"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    watch.close();
  });
});

describe("without privileges", () => {
  test("the error says EPERM and names the call", { skip: process.getuid?.() !== 0 }, () => {
    const script = `
      const { linuxSyscalls } = await import(${JSON.stringify(new URL("../../../src/syscall/ffi.ts", import.meta.url).href)});
      const { mapCreate } = await import(${JSON.stringify(new URL("../../../src/syscall/bpf-map.ts", import.meta.url).href)});
      process.setgid(65534);
      const sys = linuxSyscalls();
      process.setuid(65534);
      try { mapCreate(sys, { map_type: 16, key_size: 4, value_size: 4, max_entries: 1 }); }
      catch (error) { console.log(error.message); }`;
    const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 30_000,
    });
    expect(output.trim()).toBe(
      "bpf(BPF_MAP_CREATE) failed: EPERM (Operation not permitted) " +
        "[map_type=CPUMAP, key_size=4, value_size=4, max_entries=1]",
    );
  });
});

test("SyscallError is thrown, not a plain Error", { skip: process.platform !== "linux" }, () => {
  expect(() => check(-1, "x")).toThrow(SyscallError);
});
