import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  aadd64,
  call,
  exit,
  lddw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
} from "../../../src/asm/index.ts";
import { struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { readCpus } from "../../../src/kernel/cpus.ts";
import { attachCgroup } from "../../../src/kernel/link/cgroup.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { BPF_CGROUP_INET_SOCK_CREATE, BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { bpf_get_local_storage } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

/** Where cgroup version 2 is mounted. */
const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";
const path = `${root}/tsbpf-test-map-${process.pid}`;
const { possible } = readCpus();

describe.each(["cgroup_storage", "percpu_cgroup_storage"] as const)("%s", (type) => {
  const sys = tracedSyscalls();
  const place = struct("bpf_cgroup_storage_key", { cgroup_inode_id: u64, attach_type: u32 });
  const sockets = mapDef({ name: "sockets", type, key: place, value: u64, maxEntries: 0 });
  /** Counts the sockets that are made in each cgroup that it is attached to. */
  const count = program(
    "cgroup_sock",
    "count",
    {
      entry: [
        lddw(r1, mapFd(sockets)),
        mov(r2, 0),
        call(bpf_get_local_storage),
        mov(r1, 1),
        aadd64([r0, 0], r1),
        mov32(r0, 1),
        exit(),
      ],
    },
    { attachType: "cgroup_inet_sock_create" },
  );
  /** Whatever the values are, for one CPU or for all. */
  const sum = (value: bigint | readonly bigint[] | undefined): bigint | undefined =>
    typeof value === "object" ? value.reduce((total, one) => total + one, 0n) : value;

  describeKernel("API", () => {
    beforeEach(() => mkdirSync(path));
    afterEach(() => rmdirSync(path));

    test("an entry for each attachment", () => {
      using map = BpfMap.create(sockets, { sys });
      using prog = BpfProgram.load(count, { sys, maps: [map] });
      expect([...map]).toEqual([]);
      using _link = attachCgroup(prog, path, { sys });
      const key = {
        cgroup_inode_id: statSync(path, { bigint: true }).ino,
        attach_type: BPF_CGROUP_INET_SOCK_CREATE,
      };
      expect([...map.keys()]).toEqual([key]);
      expect(sum(map.get(key))).toBe(0n);
      const script = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
      const connect = "require('node:dgram').createSocket('udp4').bind(0, function () { this.close() })";
      execFileSync("sh", ["-c", script, path, process.execPath, "-e", connect]);
      const seen = sum(map.get(key)) ?? 0n;
      expect(seen).toBeGreaterThan(0n);
      const values = type === "cgroup_storage" ? 9n : possible.map(() => 9n);
      map.set(key, values as never);
      expect(map.get(key)).toEqual(values);
      expect([...map]).toEqual([[key, values]]);
      expect(() => map.set(key, values as never, BPF_NOEXIST)).toThrow("EINVAL");
      expect(() => map.delete(key)).toThrow(`User space cannot delete from a map of type ${type}.`);
    });
  });
});
