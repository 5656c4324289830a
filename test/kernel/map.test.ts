import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { type MapDef, type MapTypeName, mapDef } from "../../src/asm/map-def.ts";
import { type ProgramOptions, schedCls, xdp } from "../../src/asm/program.ts";
import { r0 } from "../../src/asm/register.ts";
import {
  array,
  be16,
  char,
  type Layout,
  LayoutError,
  spinLock,
  struct,
  u8,
  u16,
  u32,
  u64,
} from "../../src/btf/layout/index.ts";
import { readCpus } from "../../src/kernel/cpus.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { cpuMapDef } from "../../src/programs/cpu-map.ts";
import { mapDeleteElem } from "../../src/syscall/bpf-map.ts";
import { SyscallError } from "../../src/syscall/errno.ts";
import { FdClosedError } from "../../src/syscall/fd.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import {
  BPF_BTF_LOAD,
  BPF_EXIST,
  BPF_F_NO_PREALLOC,
  BPF_F_XDP_HAS_FRAGS,
  BPF_MAP_CREATE,
  BPF_MAP_LOOKUP_BATCH,
  BPF_NOEXIST,
  XDP_PASS,
} from "../../src/uapi/bpf.ts";
import { EINVAL, EMFILE, ENOMEM, EPERM } from "../../src/uapi/errno.ts";
import { failNth } from "../support/failing-syscalls.ts";
import { failure } from "../support/failure.ts";
import { ensureBpffs } from "../support/mounts.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const { online, possible } = readCpus();
const flow = struct("flow", { port: be16, proto: u8 });
const hits = struct("hits", { packets: u64, name: array(char, 8) });

/** Runs something that fails, and gives the error. */
const hash = (maxEntries = 64): MapDef<"hash", number, number> =>
  mapDef({ name: "flows", type: "hash", key: u32, value: u32, maxEntries });

describeKernel("hash", () => {
  const def = mapDef({ name: "flows", type: "hash", key: flow, value: hits, maxEntries: 2 });
  const web = { port: 80, proto: 6 };
  const dns = { port: 53, proto: 17 };

  test("set, get, has, delete, through the layouts", () => {
    using map = BpfMap.create(def, { sys });
    expect(map.get(web)).toBeUndefined();
    expect(map.has(web)).toBe(false);
    map.set(web, { packets: 7n, name: "web" });
    expect(map.get(web)).toEqual({ packets: 7n, name: "web" });
    expect(map.has(web)).toBe(true);
    map.set(web, { packets: 2n ** 63n, name: "" });
    expect(map.get(web)).toEqual({ packets: 2n ** 63n, name: "" });
    expect([...map.keys()]).toEqual([web]);
    expect([...map]).toEqual([[web, { packets: 2n ** 63n, name: "" }]]);
    expect(map.delete(web)).toBe(true);
    expect(map.delete(web)).toBe(false);
    expect([...map.entries()]).toEqual([]);
  });

  test("what was read is not changed by what is read next", () => {
    using map = BpfMap.create(def, { sys });
    map.set(web, { packets: 1n, name: "one" });
    map.set(dns, { packets: 2n, name: "two" });
    const first = map.get(web);
    map.get(dns);
    expect(first).toEqual({ packets: 1n, name: "one" });
    expect([...map.entries()].map(([{ port }, { name }]) => `${port} ${name}`).sort()).toEqual([
      "53 two",
      "80 one",
    ]);
  });

  test("flags, and what each refusal means", () => {
    using map = BpfMap.create(def, { sys });
    const value = { packets: 0n, name: "" };
    expect(failure(() => map.set(web, value, BPF_EXIST)).message).toBe(
      "bpf(BPF_MAP_UPDATE_ELEM) failed: ENOENT (No such file or directory) " +
        `[map=flows, map_fd=${map.fd}, key=00500600, flags=2]\n` +
        "  BPF_EXIST was asked for, and the map does not have the key.",
    );
    map.set(web, value, BPF_NOEXIST);
    expect(failure(() => map.set(web, value, BPF_NOEXIST)).hint).toBe(
      "BPF_NOEXIST was asked for, and the map has the key.",
    );
    map.set(dns, value);
    const full = failure(() => map.set({ port: 1, proto: 1 }, value));
    expect([full instanceof SyscallError && full.code, full.hint]).toEqual([
      "E2BIG",
      "The map is full: it holds 2 entries.",
    ]);
  });

  test("a value that does not fit its layout never reaches the kernel", () => {
    using map = BpfMap.create(def, { sys });
    expect(() => map.set({ port: 70_000, proto: 6 }, { packets: 1n, name: "" })).toThrow(LayoutError);
    expect(() => map.set(web, { packets: -1n, name: "" })).toThrow(LayoutError);
    expect([...map.keys()]).toEqual([]);
  });

  test("closed, it says so", () => {
    const map = BpfMap.create(def, { sys });
    map.get(web);
    map.close();
    map.close();
    expect(() => map.get(web)).toThrow(FdClosedError);
    expect(() => map.get(web)).toThrow("map 'flows' is closed");
  });
});

describeKernel("iteration", () => {
  const fill = (map: BpfMap<"hash", number, number>, count: number): void => {
    for (let key = 0; key < count; key++) map.set(key, key * 2);
  };

  test("gives every entry once, in batches", () => {
    using map = BpfMap.create(hash(5000), { sys });
    fill(map, 5000);
    const entries = [...map.entries()];
    expect(entries).toHaveLength(5000);
    expect(new Map(entries).size).toBe(5000);
    expect(entries.every(([key, value]) => value === key * 2)).toBe(true);
    expect(new Set(map.keys()).size).toBe(5000);
  });

  test("deleting while walking loses none of the others, and gives none twice", () => {
    using map = BpfMap.create(hash(5000), { sys });
    fill(map, 5000);
    const seen: number[] = [];
    for (const key of map.keys()) {
      seen.push(key);
      map.delete(key);
      if (key % 10 === 0) map.delete((key + 2500) % 5000);
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect([...map.keys()]).toEqual([]);
    // Only those that were deleted before their turn can be missing.
    const missing = Array.from({ length: 5000 }, (_, key) => key).filter((key) => !seen.includes(key));
    expect(missing.every((key) => (key + 2500) % 10 === 0)).toBe(true);
  });

  test("filling while walking ends", () => {
    using map = BpfMap.create(hash(100_000), { sys });
    fill(map, 1000);
    let next = 1000;
    const seen = new Set<number>();
    for (const key of map.keys()) {
      expect(seen.has(key)).toBe(false);
      seen.add(key);
      if (next < 100_000) map.set(next, next++);
    }
    expect(Array.from({ length: 1000 }, (_, key) => key).every((key) => seen.has(key))).toBe(true);
  });

  /** A kernel without batch operations: it does not know the command. */
  const old: Syscalls = {
    ...sys,
    bpf: (cmd, attr) => (cmd === BPF_MAP_LOOKUP_BATCH ? -EINVAL : sys.bpf(cmd, attr)),
  };

  test("before kernel 5.6, where the kernel starts over at a key that has gone", () => {
    using map = BpfMap.create(hash(500), { sys: old });
    fill(map, 500);
    const seen: number[] = [];
    for (const key of map.keys()) {
      seen.push(key);
      if (key % 7 === 0) map.delete(key);
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, key) => key));
    expect([...map.entries()]).toHaveLength(500 - Math.ceil(500 / 7));
  });

  test("a walk that is sent back to its start again and again ends", () => {
    using map = BpfMap.create(hash(8), { sys: old });
    fill(map, 8);
    const keys = map.keys();
    let count = 0;
    for (const key of keys) {
      count++;
      map.delete(key);
      map.set(key, 1); // perhaps at another place: the kernel may begin anew
    }
    expect(count).toBe(8);
  });

  const routes = mapDef({
    name: "routes",
    type: "lpm_trie",
    key: struct("prefix", { length: u32, address: array(u8, 4) }),
    value: u32,
    maxEntries: 300,
    flags: BPF_F_NO_PREALLOC,
  });

  test("an LPM trie, which cannot be walked in another way", () => {
    using map = BpfMap.create(routes, { sys });
    for (let net = 0; net < 256; net++) map.set({ length: 16, address: [10, net, 0, 0] }, net);
    const seen: number[] = [];
    for (const { length, address } of map.keys()) {
      seen.push(address[1] as number);
      if (seen.length % 3 === 0) map.delete({ length, address });
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 256 }, (_, net) => net));
    expect(map.get({ length: 32, address: [10, 0, 1, 2] })).toBe(0);
  });

  test("an entry that goes before its value is read is left out", () => {
    using map = BpfMap.create(routes, { sys });
    map.set({ length: 16, address: [10, 0, 0, 0] }, 0);
    map.set({ length: 16, address: [10, 1, 0, 0] }, 1);
    const nets: number[] = [];
    for (const [{ address }, net] of map.entries()) {
      nets.push(net);
      map.delete({ length: 16, address: [10, 1 - (address[1] as number), 0, 0] });
    }
    expect(nets).toHaveLength(1);
  });
});

describeKernel("array", () => {
  const def = mapDef({ name: "config", type: "array", key: u32, value: u64, maxEntries: 3 });

  test("has all of its keys from the start", () => {
    using map = BpfMap.create(def, { sys });
    expect([...map.entries()]).toEqual([
      [0, 0n],
      [1, 0n],
      [2, 0n],
    ]);
    map.set(2, 5n);
    expect(map.get(2)).toBe(5n);
    expect(map.get(3)).toBeUndefined();
    expect(failure(() => map.set(3, 1n)).hint).toBe("Its keys go from 0 to 2.");
    expect(failure(() => map.set(2, 1n, BPF_NOEXIST)).hint).toBe(
      "BPF_NOEXIST was asked for, and every key of such a map exists from the start.",
    );
    expect(failure(() => map.delete(1))).toMatchObject({ code: "EINVAL" });
  });

  test("frozen, it can be read and not written", () => {
    using map = BpfMap.create(def, { sys });
    map.set(0, 1n);
    expect(map.info()).toMatchObject({ frozen: false });
    map.freeze();
    expect(map.info()).toMatchObject({ frozen: true });
    expect(map.get(0)).toBe(1n);
    expect(failure(() => map.set(0, 2n)).hint).toBe(
      "The map is frozen, or was made read-only for system calls.",
    );
    expect(failure(() => map.freeze())).toMatchObject({ code: "EPERM" });
  });
});

describe.each(["percpu_array", "percpu_hash", "lru_percpu_hash"] as const)("%s", (type) => {
  // 4 bytes of value lie 8 apart: a mistake in that shows as soon as there are two CPUs.
  const def = mapDef({ name: "counts", type, key: u32, value: u32, maxEntries: 2 });

  describeKernel("values", () => {
    test("one for each possible CPU", () => {
      using map = BpfMap.create(def, { sys });
      const values = possible.map((cpu) => cpu + 100);
      map.set(1, values);
      expect(map.get(1)).toEqual(values);
      expect(new Map(map.entries()).get(1)).toEqual(values);
    });

    test("not less, not more, not one", () => {
      using map = BpfMap.create(def, { sys });
      const hint = `This machine has ${possible.length} possible CPUs: give an array with one value for each.`;
      expect(failure(() => map.set(0, [])).message).toBe(
        `map 'counts' is per CPU: 0 values were given\n  ${hint}`,
      );
      expect(failure(() => map.set(0, [...possible, 1])).hint).toBe(hint);
      // @ts-expect-error a single value for a per-CPU map
      expect(failure(() => map.set(0, 1)).message).toMatch("a single value was given");
    });
  });
});

describeKernel("CPU map with 4-byte values", () => {
  const def = mapDef({ name: "cpus4", type: "cpumap", key: u32, value: u32, maxEntries: possible.length });
  const cpu = online[0] as number;

  test("entries come and go; keys are those with an entry", () => {
    using map = BpfMap.create(def, { sys });
    expect([...map.entries()]).toEqual([]);
    expect(map.get(cpu)).toBeUndefined();
    map.set(cpu, 192);
    expect(map.get(cpu)).toBe(192);
    expect([...map.keys()]).toEqual([cpu]);
    map.set(cpu, 1); // no power of two needed, and no minimum but 1
    expect([...map.entries()]).toEqual([[cpu, 1]]);
    expect(map.delete(cpu)).toBe(true);
    expect(map.get(cpu)).toBeUndefined();
  });

  test("a queue size of 0 deletes the entry", () => {
    using map = BpfMap.create(def, { sys });
    map.set(cpu, 8);
    map.set(cpu, 0);
    expect([...map.keys()]).toEqual([]);
  });

  test.each([
    ["16384 is the largest queue", (map: BpfMap<"cpumap", number, number>) => map.set(cpu, 16384), undefined],
    [
      "16385 is too large",
      (map: BpfMap<"cpumap", number, number>) => map.set(cpu, 16385),
      ["EOVERFLOW", "The queue to a CPU (qsize) holds at most 16384 packets."],
    ],
    [
      "BPF_NOEXIST is never taken",
      (map: BpfMap<"cpumap", number, number>) => map.set(cpu, 8, BPF_NOEXIST),
      ["EEXIST", "A CPU map does not take BPF_NOEXIST, whether or not the CPU has an entry."],
    ],
    [
      "a key beyond the map",
      (map: BpfMap<"cpumap", number, number>) => map.set(possible.length, 8),
      ["E2BIG", `The key is the number of a CPU below the map's max_entries, ${possible.length}.`],
    ],
  ] as const)("%s", (_, change, refusal) => {
    using map = BpfMap.create(def, { sys });
    if (refusal === undefined) {
      change(map);
      expect(map.get(cpu)).toBe(16384);
      return;
    }
    const error = failure(() => change(map));
    expect(error).toMatchObject({ code: refusal[0], hint: refusal[1] });
    expect([...map.keys()]).toEqual([]);
  });

  test("a CPU that this machine cannot have: ENODEV", () => {
    const beyond = (possible.at(-1) as number) + 1;
    using map = BpfMap.create({ ...def, maxEntries: beyond + 1 }, { sys });
    expect(failure(() => map.set(beyond, 8))).toMatchObject({
      code: "ENODEV",
      hint: "This machine has no such CPU (/sys/devices/system/cpu/possible lists them).",
    });
  });

  test("more entries than the kernel has CPUs: E2BIG", () => {
    expect(failure(() => BpfMap.create({ ...def, maxEntries: 0x10_0000 }, { sys }))).toMatchObject({
      code: "E2BIG",
    });
  });

  test("an update replaces the thread, and the last one goes with the map", async () => {
    const threads = (id: number): string[] =>
      execFileSync("sh", ["-c", "cat /proc/[0-9]*/comm 2>/dev/null; true"], { encoding: "utf8" })
        .split("\n")
        .filter((comm) => comm === `cpumap/${cpu}/map:${id}`);
    const map = BpfMap.create(def, { sys });
    const { id } = map.info();
    map.set(cpu, 8);
    expect(threads(id)).toHaveLength(1);
    map.set(cpu, 64);
    await expect.poll(() => threads(id).length, { timeout: 10_000 }).toBe(1);
    map.close();
    await expect.poll(() => threads(id).length, { timeout: 10_000 }).toBe(0);
  });
});

describeKernel("CPU map with 8-byte values", () => {
  const def = cpuMapDef(possible.length);
  const cpu = online[0] as number;
  const pass = { entry: [mov32(r0, XDP_PASS), exit()] };
  const load = (options: ProgramOptions): BpfProgram =>
    BpfProgram.load(xdp("second", pass, options), { sys });

  test("the second program goes in as an fd and comes back as an id", () => {
    using map = BpfMap.create(def, { sys });
    using program = load({ attachType: "xdp_cpumap" });
    map.set(cpu, { qsize: 192, prog: program.fd });
    expect(map.get(cpu)).toEqual({ qsize: 192, prog: program.info().id });
    map.set(cpu, { qsize: 64, prog: 0 });
    expect(map.get(cpu)).toEqual({ qsize: 64, prog: 0 });
    map.set(cpu, { qsize: 32, prog: -1 });
    expect(map.get(cpu)).toEqual({ qsize: 32, prog: 0 });
  });

  const ENOMEM_HINT =
    "The kernel also says ENOMEM to a second program that it does not take: `prog` must be the fd of an XDP program " +
    "with attachType 'xdp_cpumap', and of this map's programs all or none have the flag BPF_F_XDP_HAS_FRAGS.";

  test.each([
    ["an XDP program for interfaces", () => load({})],
    ["a TC program", () => BpfProgram.load(schedCls("wrong", { entry: [mov32(r0, 0), exit()] }), { sys })],
  ])("ENOMEM and why: %s", (_, make) => {
    using map = BpfMap.create(def, { sys });
    using program = make();
    const error = failure(() => map.set(cpu, { qsize: 8, prog: program.fd }));
    expect(error).toMatchObject({ code: "ENOMEM", hint: ENOMEM_HINT });
    expect(error.message.split("\n")[0]).toMatch(
      /^bpf\(BPF_MAP_UPDATE_ELEM\) failed: ENOMEM \(.*\) \[map=cpu_map, /,
    );
  });

  test("ENOMEM and why: a descriptor that is none", () => {
    using map = BpfMap.create(def, { sys });
    expect(failure(() => map.set(cpu, { qsize: 8, prog: 9999 }))).toMatchObject({ hint: ENOMEM_HINT });
    expect([...map.keys()]).toEqual([]);
  });

  test("ENOMEM and why: programs that disagree about fragments", () => {
    using map = BpfMap.create(def, { sys });
    using plain = load({ attachType: "xdp_cpumap" });
    using frags = load({ attachType: "xdp_cpumap", flags: BPF_F_XDP_HAS_FRAGS });
    map.set(cpu, { qsize: 8, prog: plain.fd });
    expect(failure(() => map.set(cpu, { qsize: 8, prog: frags.fd }))).toMatchObject({
      code: "ENOMEM",
      hint: ENOMEM_HINT,
    });
    expect(map.get(cpu)).toEqual({ qsize: 8, prog: plain.info().id });
  });
});

describeKernel("open", () => {
  const bpffs = ensureBpffs();
  const path = `${bpffs}/tsbpf-test-map-${process.pid}`;
  afterAll(() => rmSync(path, { force: true }));

  test("pinned and opened again, and opened by id", () => {
    {
      using map = BpfMap.create(hash(), { sys });
      map.set(1, 2);
      map.pin(path);
      expect(failure(() => map.pin(path))).toMatchObject({ code: "EEXIST" });
    }
    using again = BpfMap.open(hash(), path, { sys });
    expect(again.get(1)).toBe(2);
    const { id } = again.info();
    using byId = BpfMap.fromId(hash(), id, { sys });
    byId?.set(1, 3);
    expect(again.get(1)).toBe(3);
    rmSync(path);
    expect(failure(() => BpfMap.open(hash(), path, { sys }))).toMatchObject({ code: "ENOENT" });
  });

  test("an id that nothing has", () => {
    expect(BpfMap.fromId(hash(), 0x7fff_ffff, { sys })).toBeUndefined();
  });

  test("another map than the definition describes is refused, and closed", () => {
    using map = BpfMap.create(hash(), { sys });
    const { id } = map.info();
    const other = mapDef({ name: "other", type: "lru_hash", key: u16, value: u64, maxEntries: 9 });
    expect(failure(() => BpfMap.fromId(other, id, { sys })).message).toBe(
      `map ${id} is not the map that 'other' describes: it has type hash instead of lru_hash, ` +
        "key size 4 instead of 2, value size 4 instead of 8, max_entries 64 instead of 9",
    );
  });
});

describeKernel("BTF", () => {
  const key4 = struct("key4", { a: u32 });
  const prefix = struct("prefix", { length: u32, address: array(u8, 4) });
  const sockets = struct("sockets", { fd: u64 });

  test.each<[MapTypeName, Layout, Layout, boolean, number?]>([
    ["hash", key4, hits, true],
    ["lru_hash", key4, hits, true],
    ["percpu_hash", key4, hits, true],
    ["lru_percpu_hash", key4, hits, true],
    ["array", u32, hits, true],
    ["percpu_array", u32, hits, true],
    ["prog_array", u32, u32, true],
    ["lpm_trie", prefix, hits, true, BPF_F_NO_PREALLOC],
    ["reuseport_sockarray", u32, sockets, true],
    ["array", key4, hits, false], // its keys are integers, and nothing else
    ["lpm_trie", array(u32, 2), hits, false, BPF_F_NO_PREALLOC],
    ["cpumap", u32, u32, false],
    ["devmap", u32, u32, false],
    ["devmap_hash", u32, u32, false],
    ["xskmap", u32, u32, false],
    ["sockmap", u32, u32, false],
    ["sockhash", u32, u32, false],
    ["perf_event_array", u32, u32, false],
    ["cgroup_array", u32, u32, false],
    ["stack_trace", u32, array(u64, 4), false],
  ])("%s takes it where the kernel does (%#)", (type, key, value, takes, flags = 0) => {
    const def = mapDef({ name: "m", type, key, value, maxEntries: possible.length, flags });
    using map = BpfMap.create(def, { sys });
    const info = map.info();
    expect(info.btfId !== 0).toBe(takes);
    expect([info.btfKeyTypeId !== 0, info.btfValueTypeId !== 0]).toEqual([takes, takes]);
  });

  const bpftool = existsSync("/usr/sbin/bpftool");
  test.skipIf(!bpftool)(
    `bpftool map dump prints the fields${bpftool ? "" : " [skipped: no bpftool]"}`,
    () => {
      const def = mapDef({ name: "flows", type: "hash", key: flow, value: hits, maxEntries: 4 });
      using map = BpfMap.create(def, { sys });
      map.set({ port: 443, proto: 6 }, { packets: 5n, name: "tls" });
      const args = ["--json", "map", "dump", "id", String(map.info().id)];
      const [entry] = JSON.parse(execFileSync("bpftool", args, { encoding: "utf8" })) as [
        { formatted: { key: Record<string, unknown>; value: Record<string, unknown> } },
      ];
      expect(Object.keys(entry.formatted.key).slice(0, 2)).toEqual(["port", "proto"]);
      expect(entry.formatted.value).toMatchObject({ packets: 5, name: "tls" });
    },
  );

  test("values with a lock need it, and say so where it fails", () => {
    const locked = struct("locked", { lock: spinLock, count: u32 });
    const def = mapDef({ name: "locked", type: "hash", key: u32, value: locked, maxEntries: 1 });
    using map = BpfMap.create(def, { sys });
    expect(map.info().btfValueTypeId).not.toBe(0);
    const failing = failNth(sys, 1, EINVAL, (name, [cmd]) => name === "bpf" && cmd === BPF_BTF_LOAD);
    expect(failure(() => BpfMap.create(def, { sys: failing.sys })).message).toMatch(
      /^bpf\(BPF_BTF_LOAD\) failed: EINVAL .* \[of=map 'locked'\]/,
    );
  });

  const btfLoad = (name: string, [cmd]: readonly unknown[]): boolean =>
    name === "bpf" && cmd === BPF_BTF_LOAD;
  const mapCreate = (name: string, [cmd]: readonly unknown[]): boolean =>
    name === "bpf" && cmd === BPF_MAP_CREATE;

  test.each([
    ["a kernel without BTF", EINVAL, btfLoad],
    ["a process that may not load it", EPERM, btfLoad],
    ["a type that takes no BTF", EINVAL, mapCreate],
  ])("%s: the map is made without", (_, errno, counted) => {
    const failing = failNth(sys, 1, errno, counted);
    using map = BpfMap.create(hash(), { sys: failing.sys });
    expect(failing.hasFailed()).toBe(true);
    expect(map.info().btfId).toBe(0);
    map.set(1, 1);
    expect(map.get(1)).toBe(1);
  });

  test.each([
    ["no memory for BTF", ENOMEM, btfLoad, "bpf(BPF_BTF_LOAD) failed: ENOMEM"],
    ["no descriptor for BTF", EMFILE, btfLoad, "bpf(BPF_BTF_LOAD) failed: EMFILE"],
    ["no memory for the map", ENOMEM, mapCreate, "bpf(BPF_MAP_CREATE) failed: ENOMEM"],
    ["may not make the map", EPERM, mapCreate, "bpf(BPF_MAP_CREATE) failed: EPERM"],
  ])("%s: the error, and nothing left open", (_, errno, counted, text) => {
    const failing = failNth(sys, 1, errno, counted);
    expect(failure(() => BpfMap.create(hash(), { sys: failing.sys })).message).toMatch(text);
  });
});

describeKernel("without allocation", () => {
  test("an access through the map is as another one through the system call", () => {
    using map = BpfMap.create(hash(), { sys });
    map.set(0x01020304, 5);
    expect(mapDeleteElem(sys, map.fd, Uint8Array.of(4, 3, 2, 1))).toBe(
      new Uint8Array(Uint32Array.of(0x01020304).buffer)[0] === 4,
    );
    expect(map.get(0x01020304)).toBeUndefined();
  });

  test("keyless maps say what they lack", () => {
    const def = mapDef({ name: "q", type: "queue", value: u32, maxEntries: 2 });
    using map = BpfMap.create(def, { sys });
    expect(failure(() => [...map.keys()]).message).toBe(
      "map 'q' (queue) has no keys\n  Its definition gives no layout for a key.",
    );
  });
});

test("the list of possible CPUs is the kernel's", () => {
  expect(readFileSync("/sys/devices/system/cpu/possible", "utf8").trim()).toMatch(/^0/);
  expect(possible).toContain(online[0]);
});
