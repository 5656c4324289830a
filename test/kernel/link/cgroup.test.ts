import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ProgTypeName } from "../../../src/asm/index.ts";
import { attachCgroup, type CgroupAttachType } from "../../../src/kernel/link/cgroup.ts";
import { openLink } from "../../../src/kernel/link/open.ts";
import { queryHook } from "../../../src/kernel/link/query.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { bpftoolLink, type Counter, counter, pinDirectory } from "./support.ts";

/** Where cgroup version 2 is mounted. */
const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";
const EXERCISE = fileURLToPath(new URL("./exercise.mjs", import.meta.url));

describeKernel("cgroup links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const path = `${root}/tsbpf-test-link-${process.pid}`;
  const below = `${path}/below`;

  beforeEach(() => {
    mkdirSync(below, { recursive: true });
  });
  afterEach(() => {
    rmdirSync(below);
    rmdirSync(path);
  });

  /** Runs a command as a process of the cgroup. */
  const run = (cgroup: string, ...command: readonly string[]): string =>
    execFileSync("sh", ["-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup, ...command], {
      encoding: "utf8",
      stdio: "pipe",
      timeout: 20_000,
    });
  const exercise = (cgroup: string = path): string =>
    run(cgroup, process.execPath, EXERCISE, join(tmpdir(), `tsbpf-test-link-${process.pid}.sock`));

  // What a Node.js process does, seen by a program of each attach type. (Unix datagrams it has not got.)
  const seen: readonly (readonly [CgroupAttachType, ProgTypeName])[] = [
    ["cgroup_inet_ingress", "cgroup_skb"],
    ["cgroup_inet_egress", "cgroup_skb"],
    ["cgroup_inet_sock_create", "cgroup_sock"],
    ["cgroup_inet_sock_release", "cgroup_sock"],
    ["cgroup_inet4_post_bind", "cgroup_sock"],
    ["cgroup_inet6_post_bind", "cgroup_sock"],
    ["cgroup_sock_ops", "sock_ops"],
    ["cgroup_device", "cgroup_device"],
    ["cgroup_inet4_bind", "cgroup_sock_addr"],
    ["cgroup_inet6_bind", "cgroup_sock_addr"],
    ["cgroup_inet4_connect", "cgroup_sock_addr"],
    ["cgroup_inet6_connect", "cgroup_sock_addr"],
    ["cgroup_unix_connect", "cgroup_sock_addr"],
    ["cgroup_udp4_sendmsg", "cgroup_sock_addr"],
    ["cgroup_udp6_sendmsg", "cgroup_sock_addr"],
    ["cgroup_udp4_recvmsg", "cgroup_sock_addr"],
    ["cgroup_udp6_recvmsg", "cgroup_sock_addr"],
    ["cgroup_inet4_getpeername", "cgroup_sock_addr"],
    ["cgroup_inet6_getpeername", "cgroup_sock_addr"],
    ["cgroup_inet4_getsockname", "cgroup_sock_addr"],
    ["cgroup_inet6_getsockname", "cgroup_sock_addr"],
    ["cgroup_sysctl", "cgroup_sysctl"],
    ["cgroup_setsockopt", "cgroup_sockopt"],
    ["cgroup_getsockopt", "cgroup_sockopt"],
  ];
  const attachedOnly: typeof seen = [
    ["cgroup_unix_sendmsg", "cgroup_sock_addr"],
    ["cgroup_unix_recvmsg", "cgroup_sock_addr"],
    ["cgroup_unix_getpeername", "cgroup_sock_addr"],
    ["cgroup_unix_getsockname", "cgroup_sock_addr"],
  ];

  test("every attach type", () => {
    const programs: (readonly [string, Counter, Disposable])[] = [];
    try {
      for (const [attachType, type] of [...seen, ...attachedOnly]) {
        const program = counter(sys, type, "seen", { attachType, returns: 1 });
        const link = attachCgroup(program.prog, path, { sys, attachType });
        programs.push([attachType, program, link]);
        expect(link.info()).toEqual({
          kind: "cgroup",
          id: link.id,
          progId: program.prog.info().id,
          cgroupId: statSync(path, { bigint: true }).ino,
          attachType,
        });
      }
      exercise();
      const silent = programs.filter(([, { count }]) => count() === 0).map(([attachType]) => attachType);
      expect(silent).toEqual(attachedOnly.map(([attachType]) => attachType));
    } finally {
      for (const [, program, link] of programs) {
        link[Symbol.dispose]();
        program[Symbol.dispose]();
      }
    }
  });

  const connect = (name: string, returns = 1): Counter =>
    counter(sys, "cgroup_sock_addr", name, { attachType: "cgroup_inet4_connect", returns });
  const options = { sys };

  test("a policy forbids; update, pin, detach", () => {
    using allow = connect("allow");
    using forbid = connect("forbid", 0);
    using link = attachCgroup(allow.prog, path, options);
    exercise();
    expect(allow.count()).toBeGreaterThan(0);
    expect(bpftoolLink(link.id)).toMatchObject({ type: "cgroup", attach_type: "cgroup_inet4_connect" });
    link.update(forbid.prog, { expected: allow.prog });
    expect(() => exercise()).toThrow("EPERM");
    expect(() => link.update(forbid.prog, { expected: allow.prog })).toThrow("not the expected 'allow'");
    link.pin(pin("connect"));
    link.close();
    expect(() => exercise()).toThrow("EPERM");
    using again = openLink(pin("connect"), { sys });
    again.detach();
    exercise();
    expect(again.info()).toMatchObject({ cgroupId: undefined });
    expect(() => again.update(allow.prog)).toThrow("it is not attached any more");
  });

  test("a program without a link stays until it is closed, and is replaced in its place", () => {
    using a = connect("a");
    using b = connect("b");
    using c = connect("c");
    using other = attachCgroup(c.prog, path, { ...options, as: "program" });
    using link = attachCgroup(a.prog, path, { ...options, as: "program" });
    expect(link.id).toBeUndefined();
    expect(link.info()).toMatchObject({ kind: "cgroup", id: undefined, progId: a.prog.info().id });
    exercise();
    const first = a.count();
    expect(first).toBeGreaterThan(0);
    link.update(b.prog);
    const names = () =>
      queryHook({ cgroup: path, hook: "cgroup_inet4_connect" }, { sys }).programs.map(({ name }) => name);
    expect(names()).toEqual(["c", "b"]);
    // The kernel wants to see the program that goes: it is found although it is closed.
    using d = connect("d");
    b.prog.close();
    link.update(d.prog);
    expect(names()).toEqual(["c", "d"]);
    d.prog.close();
    expect(() => link.pin(pin("no"))).toThrow("there is no bpf_link behind it");
    other.detach();
    link.detach();
    link.detach();
    expect(names()).toEqual([]);
  });

  test("sharing: one program that is alone, and one below that takes its place", () => {
    using above = connect("above");
    using lower = connect("lower");
    {
      using _alone = attachCgroup(above.prog, path, { ...options, as: "program", sharing: "exclusive" });
      expect(() => attachCgroup(lower.prog, below, { ...options, as: "program" })).toThrow(
        /^cannot attach 'lower' to cgroup_inet4_connect of .*below: EPERM\n.*\n {2}Another program here, or in a cgroup above, does not share/,
      );
    }
    using _above = attachCgroup(above.prog, path, { ...options, as: "program", sharing: "override" });
    using _lower = attachCgroup(lower.prog, below, { ...options, as: "program", sharing: "override" });
    exercise(below);
    expect(above.count()).toBe(0);
    expect(lower.count()).toBeGreaterThan(0);
  });

  test("order, and what runs for a cgroup below", () => {
    using a = connect("a");
    using b = connect("b");
    using c = connect("c");
    using _a = attachCgroup(a.prog, path, options);
    using lb = attachCgroup(b.prog, below, options);
    const effective = () =>
      queryHook({ cgroup: below, hook: "cgroup_inet4_connect", effective: true }, { sys }).programs.map(
        ({ name }) => name,
      );
    expect(effective()).toEqual(["b", "a"]);
    // Kernel 6.17 has places in the lists of cgroups.
    const { revision } = queryHook({ cgroup: below, hook: "cgroup_inet4_connect" }, { sys });
    if (revision === 0n) {
      expect(() => attachCgroup(c.prog, below, { ...options, before: lb })).toThrow(
        /EINVAL\n.*\n {2}.*places among others take kernel 6\.17/,
      );
      return;
    }
    using _c = attachCgroup(c.prog, below, { ...options, before: lb, revision });
    expect(effective()).toEqual(["c", "b", "a"]);
    expect(() => attachCgroup(a.prog, below, { ...options, revision })).toThrow("ESTALE");
  });

  test("what is no cgroup, and what is no program for one", () => {
    using seen = connect("seen");
    using odd = counter(sys, "xdp", "odd");
    expect(() => attachCgroup(seen.prog, "/nowhere", options)).toThrow(
      "open failed: ENOENT (No such file or directory) [path=/nowhere]",
    );
    expect(() => attachCgroup(seen.prog, "/tmp", options)).toThrow(
      /: EBADF\n.*\n {2}\/tmp is not a directory of a cgroup2 file system/,
    );
    expect(() => attachCgroup(odd.prog, path, options)).toThrow(
      "'odd' was not loaded for cgroups, as far as is known here\n" +
        "  Say what it shall see: { attachType: 'cgroup_inet_egress' }.",
    );
    expect(() => attachCgroup(odd.prog, path, { sys, attachType: "cgroup_inet4_connect" })).toThrow(
      /: EINVAL\n.*\n {2}The program must be loaded for cgroup_inet4_connect/,
    );
  });
});
