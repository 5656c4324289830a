import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { call, exit, lddw, mapDef, mapFd, mov32, program, r1, r2 } from "../../../src/asm/index.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { bpf_current_task_under_cgroup } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

/** Where cgroup version 2 is mounted. */
const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";
const path = `${root}/tsbpf-test-map-${process.pid}`;

describeKernel("cgroup_array", () => {
  const sys = tracedSyscalls();
  const groups = mapDef({ name: "groups", type: "cgroup_array", key: u32, value: u32, maxEntries: 2 });
  const under = program("raw_tracepoint", "under", {
    entry: [lddw(r1, mapFd(groups)), mov32(r2, 1), call(bpf_current_task_under_cgroup), exit()],
  });
  let fds: number[];
  const open = (directory: string): number => {
    const fd = openSync(directory, "r");
    fds.push(fd);
    return fd;
  };

  beforeEach(() => {
    fds = [];
    mkdirSync(path);
  });
  afterEach(() => {
    for (const fd of fds) closeSync(fd);
    rmdirSync(path);
  });

  test("programs ask whether the task is below a cgroup of it", () => {
    using map = BpfMap.create(groups, { sys });
    using prog = BpfProgram.load(under, { sys, maps: [map] });
    const run = (): number => prog.testRun({ ctx: new Uint8Array(0) }).retval;
    expect(run()).toBeLessThan(0); // none is there
    map.set(1, open(path));
    expect(run()).toBe(0);
    map.set(1, { fd: open(root) });
    expect(run()).toBe(1);
    expect(map.delete(1)).toBe(true);
    expect(map.delete(1)).toBe(false);
    expect(run()).toBeLessThan(0);
  });

  test("user space cannot read it, and is told what it takes", () => {
    using map = BpfMap.create(groups, { sys });
    map.set(0, open(path));
    expect(() => map.get(0)).toThrow("User space cannot read a map of type cgroup_array.");
    expect(() => [...map.keys()]).toThrow("User space cannot read a map of type cgroup_array.");
    expect(() => map.set(0, open("/proc"))).toThrow("directories of a cgroup v2 hierarchy");
    expect(() => map.set(2, open(path))).toThrow("Its keys go from 0 to 1.");
  });
});
