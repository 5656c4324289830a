import { existsSync, rmSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import {
  aadd64,
  call,
  decode,
  disassemble,
  exit,
  kfunc,
  lddw,
  mapDef,
  mapFd,
  mapValue,
  mov32,
  type Program,
  program,
  r0,
  r1,
  r2,
  schedCls,
  subprogram,
  xdp,
} from "../../src/asm/index.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import { listMaps, listPrograms } from "../../src/kernel/list-objects.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { programTags } from "../../src/kernel/program-tag.ts";
import { measureRuns } from "../../src/kernel/run-stats.ts";
import { cpuMapDef } from "../../src/programs/cpu-map.ts";
import { xdpSameCpu } from "../../src/programs/index.ts";
import { SyscallError } from "../../src/syscall/errno.ts";
import { ensureBpffs } from "../support/mounts.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const hits = mapDef({ name: "hits", type: "array", key: u32, value: u64, maxEntries: 1 });
const count = xdp("count", {
  entry: [lddw(r1, mapValue(hits)), mov32(r2, 1), aadd64([r1, 0], r2), mov32(r0, 2), exit()],
});
const pass = (name = "pass"): Program<"xdp"> => xdp(name, { entry: [mov32(r0, 2), exit()] });

describeKernel("pins and descriptors", () => {
  const path = `${ensureBpffs()}/tsbpf-test-object-${process.pid}`;
  afterAll(() => rmSync(path, { force: true }));

  test("a map: pin, open, fromId, fromFd, unpin", () => {
    using map = BpfMap.create(hits, { sys });
    map.set(0, 5n);
    map.pin(path);
    using opened = BpfMap.open(hits, path, { sys });
    using byId = BpfMap.fromId(hits, map.info().id, { sys });
    const byFd = BpfMap.fromFd(hits, map.fd, { sys });
    expect([opened, byId, byFd].map((other) => other?.get(0))).toEqual([5n, 5n, 5n]);
    expect(new Set([map, opened, byFd].map(({ fd }) => fd)).size).toBe(3);
    byFd.close();
    expect(map.get(0)).toBe(5n); // the descriptor given is still open
    map.unpin(path);
    expect(existsSync(path)).toBe(false);
    expect(() => map.unpin(path)).toThrow("ENOENT");
    expect(opened.get(0)).toBe(5n);
  });

  test("both are in the lists of the machine", () => {
    using map = BpfMap.create(hits, { sys });
    using prog = BpfProgram.load(pass("listed"), { sys });
    expect(listMaps({ sys })).toContainEqual(map.info());
    expect(listPrograms({ sys })).toContainEqual(prog.info());
    const ids = listPrograms({ sys }).map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
  });

  test("a program: pin, open, fromId, fromFd, unpin", () => {
    using prog = BpfProgram.load(pass(), { sys });
    prog.pin(path);
    using opened = BpfProgram.open(path, { sys });
    using byId = BpfProgram.fromId(prog.info().id, { sys });
    using byFd = BpfProgram.fromFd(prog.fd, { sys });
    const run = (other: BpfProgram | undefined) => other?.testRun({ data: new Uint8Array(14) }).retval;
    expect([opened, byId, byFd].map(run)).toEqual([2, 2, 2]);
    expect(byFd).toMatchObject({ name: "pass", type: prog.type });
    prog.unpin(path);
    expect(existsSync(path)).toBe(false);
  });

  test("what is of another kind is told by name, and somebody else's pin stays", () => {
    using prog = BpfProgram.load(pass(), { sys });
    using other = BpfProgram.load(pass("other"), { sys });
    using map = BpfMap.create(hits, { sys });
    prog.pin(path);
    try {
      expect(() => BpfMap.open(hits, path, { sys })).toThrow(`map '${path}' is a program, not a map`);
      expect(() => map.unpin(path)).toThrow(`'${path}' is a program, not a map`);
      expect(() => other.unpin(path)).toThrow(
        `'${path}' is a pin of program ${prog.info().id}, not of program ${other.info().id}\n` +
          "  Somebody else's, or of another version: it was left there.",
      );
      expect(existsSync(path)).toBe(true);
    } finally {
      prog.unpin(path);
    }
    expect(() => BpfProgram.fromFd(map.fd, { sys })).toThrow(`descriptor ${map.fd} is a map, not a program`);
    expect(() => BpfProgram.fromFd(0, { sys })).toThrow("descriptor 0 is no BPF object, not a program");
    expect(() => BpfMap.fromFd(hits, 0x7fff_ffff, { sys })).toThrow(SyscallError);
  });
});

describeKernel("what the kernel tells about a program", () => {
  test("info, and both dumps", () => {
    using map = BpfMap.create(hits, { sys });
    using prog = BpfProgram.load(count, { sys, maps: [map] });
    const info = prog.info();
    expect(info).toMatchObject({ name: "count", mapIds: [map.info().id], createdByUid: process.getuid?.() });
    const xlated = prog.xlated() ?? new Uint8Array();
    expect(xlated.length).toBe(info.xlatedLength);
    const lines = disassemble(decode(xlated, { form: "xlated" }), { form: "xlated" }).map(({ text }) => text);
    expect(lines.join("\n")).toContain(`map[id:${map.info().id}][0]+0`);
    expect(prog.jited()?.length).toBe(info.jitedLength);
  });

  test("how often and how long it ran, while that is measured", () => {
    using prog = BpfProgram.load(pass(), { sys });
    const run = (): unknown => prog.testRun({ data: new Uint8Array(64), repeat: 1000 });
    {
      using _stats = measureRuns({ sys });
      run();
    }
    const { runCount, runTimeNs, recursionMisses } = prog.info();
    expect(runCount).toBe(1000n);
    expect(runTimeNs).toBeGreaterThan(0n);
    expect(recursionMisses).toBe(0n);
  });

  test("map info: flags and what is special to the type", () => {
    const filter = mapDef({ name: "seen", type: "bloom_filter", value: u32, maxEntries: 8, extra: 3 });
    using map = BpfMap.create(filter, { sys });
    const info = map.info();
    expect(info).toMatchObject({ name: "seen", extra: 3n, maxEntries: 8, valueSize: 4, keySize: 0 });
    expect(info.memory).toBeGreaterThan(0);
  });
});

describeKernel("the tag of a program", () => {
  const cpus = cpuMapDef(1);
  const twice = subprogram("twice", { entry: [mov32(r0, 4), exit()] });

  test.each([
    ["no map", pass(), []],
    ["a map's value", count, [hits]],
    ["the sample", xdpSameCpu(cpus), [cpus]],
    ["a subprogram", xdp("calls", { entry: [call(twice), mov32(r0, 2), exit()] }), []],
    [
      "a kernel function",
      schedCls("kfunc", {
        entry: [call(kfunc("bpf_rcu_read_lock")), call(kfunc("bpf_rcu_read_unlock")), mov32(r0, 0), exit()],
      }),
      [],
    ],
    [
      "a map's address, a long constant",
      program("socket_filter", "long", {
        entry: [lddw(r1, mapFd(hits)), lddw(r2, 0x1234_5678_9abcn), mov32(r0, 0), exit()],
      }),
      [hits],
    ],
  ] as const)("%s: as the kernel computes it", (_, prog, defs) => {
    const maps = defs.map((def) => BpfMap.create(def as typeof hits, { sys }));
    try {
      using loaded = BpfProgram.load(prog as Program, { sys, maps });
      // Which hash it is depends on the kernel: it is one of them, and always the same one.
      const { tag } = loaded.info();
      const { sha1, sha256 } = programTags(prog as Program);
      using simple = BpfProgram.load(pass(), { sys });
      expect(tag).toBe(simple.info().tag === programTags(pass()).sha1 ? sha1 : sha256);
    } finally {
      for (const map of maps) map.close();
    }
  });
});
