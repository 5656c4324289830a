import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync } from "node:fs";
import koffi from "koffi";
import { expect, test } from "vitest";
import {
  aadd64,
  call,
  exit,
  jeq,
  lddw,
  ldxdw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r4,
} from "../../../src/asm/index.ts";
import { u32, u64 } from "../../../src/btf/layout/index.ts";
import { kernelStruct } from "../../../src/kernel/kernel-types.ts";
import { attachIterator } from "../../../src/kernel/link/iterator.ts";
import { attachSockmap } from "../../../src/kernel/link/sockmap.ts";
import { attachTracing } from "../../../src/kernel/link/tracing.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { UnsupportedError } from "../../../src/kernel/unsupported.ts";
import { BPF_EXIST, BPF_LOCAL_STORAGE_GET_F_CREATE, BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import {
  bpf_cgrp_storage_get,
  bpf_get_current_task_btf,
  bpf_inode_storage_get,
  bpf_sk_storage_get,
  bpf_task_storage_get,
} from "../../../src/uapi/helpers.ts";
import { sk_msg_md } from "../../../src/uapi/structs.ts";
import { syscallNumbers } from "../../../src/uapi/syscall-numbers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { openConnection, ownFd } from "./sockets.ts";

const sys = tracedSyscalls();
const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";

/** What every local storage does for the object behind a descriptor. */
function exercise(
  map: BpfMap<"sk_storage" | "inode_storage" | "task_storage" | "cgrp_storage", number, bigint>,
  fd: number,
): void {
  expect(map.get(fd)).toBeUndefined();
  expect(map.has(fd)).toBe(false);
  expect(() => map.set(fd, 1n, BPF_EXIST)).toThrow("ENOENT");
  map.set(fd, 5n, BPF_NOEXIST);
  expect(map.get(fd)).toBe(5n);
  expect(() => map.set(fd, 6n, BPF_NOEXIST)).toThrow("EEXIST");
  map.set(fd, 7n);
  expect([map.get(fd), map.has(fd)]).toEqual([7n, true]);
  expect(map.delete(fd)).toBe(true);
  expect(map.delete(fd)).toBe(false);
  expect(() => [...map.keys()]).toThrow("ENOTSUPP");
}

describeKernel("sk_storage", () => {
  const def = mapDef({ name: "per_socket", type: "sk_storage", key: u32, value: u64, maxEntries: 0 });
  const sockets = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u64, maxEntries: 1 });

  test("API", async () => {
    await using connection = await openConnection();
    using map = BpfMap.create(def, { sys });
    exercise(map, ownFd(connection.client).fd);
    expect(() => map.set(map.fd, 1n)).toThrow("Its keys are descriptors of sockets.");
  });

  test("a program counts what each socket sends", async () => {
    await using connection = await openConnection();
    using map = BpfMap.create(def, { sys });
    using list = BpfMap.create(sockets, { sys });
    const count = program(
      "sk_msg",
      "count",
      {
        entry: [
          ldxdw(r2, [r1, sk_msg_md.sk]),
          jeq(r2, 0, "out"),
          lddw(r1, mapFd(def)),
          mov(r3, 0),
          mov(r4, BPF_LOCAL_STORAGE_GET_F_CREATE),
          call(bpf_sk_storage_get),
          jeq(r0, 0, "out"),
          mov(r1, 1),
          aadd64([r0, 0], r1),
        ],
        out: [mov32(r0, 1), exit()],
      },
      { attachType: "sk_msg_verdict" },
    );
    using prog = BpfProgram.load(count, { sys, maps: [map] });
    using _link = attachSockmap(prog, list, { sys });
    list.set(0, ownFd(connection.client));
    const send = (): Promise<void> => new Promise((sent) => connection.client.write("x", () => sent()));
    await send();
    await send();
    expect(map.get(ownFd(connection.client).fd)).toBe(2n);
    expect(map.get(ownFd(connection.server).fd)).toBeUndefined();
  });
});

describeKernel("task_storage", () => {
  const def = mapDef({ name: "per_task", type: "task_storage", key: u32, value: u64, maxEntries: 0 });
  const open = koffi.load(null).func("long syscall(long number, int pid, uint flags)");
  /** pidfd_open(2) of this process. */
  const openSelf = (): number => Number(open(syscallNumbers.x64.pidfd_open, process.pid, 0)); // one number for all machines

  test("API", () => {
    using map = BpfMap.create(def, { sys });
    const fd = openSelf();
    exercise(map, fd);
    closeSync(fd);
    expect(() => map.set(map.fd, 1n)).toThrow("Its keys are pidfds.");
  });

  test("a program finds what user space has put there", () => {
    using map = BpfMap.create(def, { sys });
    const read = program("raw_tracepoint", "read", {
      entry: [
        call(bpf_get_current_task_btf),
        mov(r2, r0),
        lddw(r1, mapFd(def)),
        mov(r3, 0),
        mov(r4, 0),
        call(bpf_task_storage_get),
        jeq(r0, 0, "out"),
        ldxdw(r0, [r0, 0]),
        exit(),
      ],
      out: [mov32(r0, 0), exit()],
    });
    using prog = BpfProgram.load(read, { sys, maps: [map] });
    const run = (): number => prog.testRun({ ctx: new Uint8Array(0) }).retval;
    expect(run()).toBe(0);
    const fd = openSelf();
    map.set(fd, 42n);
    closeSync(fd);
    // The test may run in a thread that is not the main one, which is another task.
    expect(run()).toBe(42);
  });
});

describeKernel("cgrp_storage", () => {
  const def = mapDef({ name: "per_cgroup", type: "cgrp_storage", key: u32, value: u64, maxEntries: 0 });

  test("API", () => {
    const path = `${root}/tsbpf-test-map-${process.pid}`;
    mkdirSync(path);
    const fd = openSync(path, "r");
    try {
      using map = BpfMap.create(def, { sys });
      exercise(map, fd);
      expect(() => map.set(map.fd, 1n)).toThrow(
        "Its keys are descriptors of directories of a cgroup v2 hierarchy.",
      );
    } finally {
      closeSync(fd);
      rmdirSync(path);
    }
  });

  test("a program counts its visits to each cgroup", () => {
    using map = BpfMap.create(def, { sys });
    const count = program(
      "tracing",
      "visits",
      {
        entry: [
          ldxdw(r2, [r1, 8]), // struct bpf_iter__cgroup: the cgroup, NULL at the end
          jeq(r2, 0, "out"),
          lddw(r1, mapFd(def)),
          mov(r3, 0),
          mov(r4, BPF_LOCAL_STORAGE_GET_F_CREATE),
          call(bpf_cgrp_storage_get),
          jeq(r0, 0, "out"),
          mov(r1, 1),
          aadd64([r0, 0], r1),
        ],
        out: [mov32(r0, 0), exit()],
      },
      { attachType: "trace_iter" },
    );
    const path = `${root}/tsbpf-test-map-${process.pid}`;
    const below = `${path}/below`;
    mkdirSync(below, { recursive: true });
    const fds = [path, below].map((directory) => openSync(directory, "r"));
    const [upper = -1, lower = -1] = fds;
    try {
      using prog = BpfProgram.load(count, { sys, maps: [map], attachTo: "cgroup" });
      using walk = attachIterator(prog, { cgroup: { path, order: "descendants_pre" } }, { sys });
      using one = attachIterator(prog, { cgroup: { path, order: "self" } }, { sys });
      walk.read();
      one.read();
      expect([map.get(upper), map.get(lower)]).toEqual([2n, 1n]);
    } finally {
      for (const fd of fds) closeSync(fd);
      rmdirSync(below);
      rmdirSync(path);
    }
  });
});

describeKernel("inode_storage", () => {
  const def = mapDef({ name: "per_inode", type: "inode_storage", key: u32, value: u64, maxEntries: 0 });

  test("API", () => {
    using map = BpfMap.create(def, { sys });
    const fd = openSync("/proc/self/status", "r");
    try {
      exercise(map, fd);
    } finally {
      closeSync(fd);
    }
  });

  // Only LSM programs may call bpf_inode_storage_get.
  test("a program counts how often each file is opened, or this kernel takes no LSM programs and says so", () => {
    using map = BpfMap.create(def, { sys });
    const count = program(
      "lsm",
      "opens",
      {
        entry: [
          ldxdw(r2, [r1, 0]), // struct file *
          ldxdw(r2, [r2, kernelStruct("file").field("f_inode").offset]),
          lddw(r1, mapFd(def)),
          mov(r3, 0),
          mov(r4, 0), // the file that user space has put in, no other
          call(bpf_inode_storage_get),
          jeq(r0, 0, "out"),
          mov(r1, 1),
          aadd64([r0, 0], r1),
        ],
        out: [mov32(r0, 0), exit()],
      },
      { attachType: "lsm_mac" },
    );
    let loaded: BpfProgram;
    try {
      loaded = BpfProgram.load(count, { sys, maps: [map], attachTo: "file_open" });
    } catch (error) {
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error).toMatchObject({ feature: "LSM programs", since: "5.7" });
      return;
    }
    using prog = loaded;
    using _link = attachTracing(prog, { sys });
    const fd = openSync("/etc/passwd", "r");
    try {
      map.set(fd, 0n);
      readFileSync("/etc/passwd");
      expect(map.get(fd)).toBeGreaterThan(0n);
    } finally {
      closeSync(fd);
    }
  });
});
