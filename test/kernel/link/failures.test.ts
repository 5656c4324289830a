import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { TsbpfError } from "../../../src/base/error.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { listAttachments } from "../../../src/kernel/link/attachments.ts";
import { attachCgroup } from "../../../src/kernel/link/cgroup.ts";
import { attachXdpLink } from "../../../src/kernel/link/interface.ts";
import { attachIterator } from "../../../src/kernel/link/iterator.ts";
import type { Link } from "../../../src/kernel/link/link.ts";
import { attachSkLookup } from "../../../src/kernel/link/network-namespace.ts";
import { listLinks } from "../../../src/kernel/link/open.ts";
import { attachPerfEventOnEachCpu } from "../../../src/kernel/link/perf-event.ts";
import { attachSockmap } from "../../../src/kernel/link/sockmap.ts";
import { attachStructOps } from "../../../src/kernel/link/struct-ops.ts";
import { attachRawTracepoint, attachTracepoint } from "../../../src/kernel/link/tracepoint.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { NetlinkSocket } from "../../../src/syscall/netlink.ts";
import { linkByName } from "../../../src/syscall/rtnetlink.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { EINVAL, EIO } from "../../../src/uapi/errno.ts";
import { eachFailure } from "../../support/failing-syscalls.ts";
import { watchFds } from "../../support/fd-leak.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { type Counter, counter } from "./support.ts";

describeKernel("a system call that fails", () => {
  const sys = tracedSyscalls();

  /**
   * With each call failing in turn: nothing stays open, nothing stays attached, and it is one of our errors. Whoever looks
   * at the machine's links at that moment holds one a little longer, so that it goes is waited for.
   *
   * @param isFree - whether there is room for the next attachment.
   */
  const tryEach = async (
    program: Counter | undefined,
    run: (sys: Syscalls) => void,
    isFree: () => boolean = () => true,
  ): Promise<void> => {
    run(sys); // what is kept for the whole process, such as the kernel's BTF, is there from now on
    for (const errno of [EIO, EINVAL]) {
      const leaks = watchFds();
      const progId = program?.prog.info().id;
      const tried = await eachFailure({
        sys,
        errno,
        run,
        async check(error) {
          if (error !== undefined) expect(error).toBeInstanceOf(TsbpfError);
          expect(leaks()).toEqual([]);
          if (progId !== undefined) {
            const left = () => listLinks({ sys }).filter((link) => link.progId === progId);
            await expect.poll(left, { interval: 1 }).toEqual([]);
          }
          await expect.poll(isFree, { interval: 1 }).toBe(true);
        },
      });
      expect(tried).toBeGreaterThan(1);
    }
  };
  /** Attaches, updates and closes. */
  const cycle = (attach: (sys: Syscalls) => Link, next?: Counter) => (sys: Syscalls) => {
    using link = attach(sys);
    if (next !== undefined) link.update(next.prog);
    link.info();
    link.detach();
  };

  test("a tracepoint", async () => {
    using seen = counter(sys, "tracepoint", "seen");
    await tryEach(
      seen,
      cycle((sys) => attachTracepoint(seen.prog, "sched:sched_switch", { sys })),
    );
  });

  test("a raw tracepoint", async () => {
    using seen = counter(sys, "raw_tracepoint", "seen");
    await tryEach(
      seen,
      cycle((sys) => attachRawTracepoint(seen.prog, "sched_switch", { sys })),
    );
  });

  test("perf events of several CPUs", async () => {
    using seen = counter(sys, "perf_event", "seen");
    await tryEach(seen, (sys) => {
      using _set = attachPerfEventOnEachCpu(seen.prog, { software: "cpu_clock" }, { sys, frequency: 10 });
    });
  });

  test("an iterator", async () => {
    using seen = counter(sys, "tracing", "seen", { attachType: "trace_iter", attachTo: "task" });
    await tryEach(seen, (sys) => {
      using link = attachIterator(seen.prog, { pid: process.pid }, { sys });
      link.read();
    });
  });

  test("XDP, in a namespace, and a listing", async () => {
    await using net = await createTestNet();
    using seen = counter(sys, "xdp", "seen", { returns: 2 });
    using next = counter(sys, "xdp", "next", { returns: 2 });
    const attach = cycle((sys) => attachXdpLink(seen.prog, "eth0", { sys }), next);
    const isFree = (): boolean =>
      inNetns(net.inside.path, () => {
        using route = NetlinkSocket.route(sys);
        return linkByName(route, "eth0")?.xdp.nativeProgId === undefined;
      });
    await tryEach(seen, (sys) => inNetns(net.inside.path, () => attach(sys)), isFree);
    await tryEach(undefined, (sys) => {
      inNetns(net.inside.path, () => listAttachments({ sys }));
    });
  });

  test("a network namespace", async () => {
    await using net = await createTestNet();
    using seen = counter(sys, "sk_lookup", "seen", { attachType: "sk_lookup", returns: 1 });
    const attach = (sys: Syscalls) => attachSkLookup(seen.prog, { path: net.inside.path }, { sys });
    await tryEach(seen, cycle(attach, seen));
  });

  test("a cgroup, with a link and without", async () => {
    const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "";
    const path = `${root}/tsbpf-test-fail-${process.pid}`;
    mkdirSync(path);
    try {
      const attachType = "cgroup_inet_egress";
      using seen = counter(sys, "cgroup_skb", "seen", { attachType, returns: 1 });
      using next = counter(sys, "cgroup_skb", "next", { attachType, returns: 1 });
      await tryEach(
        seen,
        cycle((sys) => attachCgroup(seen.prog, path, { sys, attachType }), next),
      );
    } finally {
      rmdirSync(path);
    }
  });

  test("a map of sockets", async () => {
    using map = BpfMap.create(mapDef({ name: "m", type: "sockmap", key: u32, value: u32, maxEntries: 1 }), {
      sys,
    });
    using seen = counter(sys, "sk_msg", "seen", { attachType: "sk_msg_verdict", returns: 1 });
    const attach = (sys: Syscalls) => attachSockmap(seen.prog, map, { sys, attachType: "sk_msg_verdict" });
    await tryEach(seen, cycle(attach));
  });

  test("a struct of operations", async () => {
    const load = (member: string) =>
      counter(sys, "struct_ops", member, { attachTo: `tcp_congestion_ops.${member}` });
    using a = load("ssthresh");
    using b = load("undo_cwnd");
    using c = load("cong_avoid");
    const operations = {
      name: `tsb_f${process.pid}`,
      ssthresh: a.prog,
      undo_cwnd: b.prog,
      cong_avoid: c.prog,
    };
    await tryEach(
      undefined,
      cycle((sys) => attachStructOps("tcp_congestion_ops", operations, { sys })),
    );
    expect(readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8")).not.toContain(
      "tsb_f",
    );
  });
});
