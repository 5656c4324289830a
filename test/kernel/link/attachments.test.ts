import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { expect, test } from "vitest";
import { type Attached, listAttachments } from "../../../src/kernel/link/attachments.ts";
import { attachCgroup } from "../../../src/kernel/link/cgroup.ts";
import { attachTcxLink, attachXdpLink } from "../../../src/kernel/link/interface.ts";
import { attachNetfilter } from "../../../src/kernel/link/netfilter.ts";
import { attachSkLookup } from "../../../src/kernel/link/network-namespace.ts";
import { queryHook } from "../../../src/kernel/link/query.ts";
import { attachRawTracepoint, attachTracepoint } from "../../../src/kernel/link/tracepoint.ts";
import { progAttach } from "../../../src/syscall/bpf-prog.ts";
import { NetlinkSocket } from "../../../src/syscall/netlink.ts";
import { linkByName, setXdp } from "../../../src/syscall/rtnetlink.ts";
import { addBpfFilter, addClsact } from "../../../src/syscall/tc-netlink.ts";
import { BPF_TCX_EGRESS, bpf_cmd, XDP_PASS } from "../../../src/uapi/bpf.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { counter } from "./support.ts";

const TCX_NEXT = -1;

describeKernel("listing attachments", () => {
  const sys = tracedSyscalls();
  /** What is listed of these programs, by their names. */
  const listed = (
    names: readonly string[],
    netns: "current" | "all" = "all",
  ): ReadonlyMap<string, Attached> =>
    new Map(
      listAttachments({ sys, netns })
        .filter(({ program }) => names.includes(program?.name ?? ""))
        .map((attached) => [attached.program?.name ?? "", attached]),
    );

  test("of interfaces, with links and without, in another namespace and in one's own", async () => {
    await using net = await createTestNet({ secondPair: true });
    const [eth0, eth1] = net.inside.links;
    using xl = counter(sys, "xdp", "xdp_link", { returns: XDP_PASS });
    using xn = counter(sys, "xdp", "xdp_netlink", { returns: XDP_PASS });
    using tl = counter(sys, "sched_cls", "tcx_link", { returns: TCX_NEXT });
    using tp = counter(sys, "sched_cls", "tcx_prog", { returns: TCX_NEXT });
    using cf = counter(sys, "sched_cls", "clsact_filter", { returns: TCX_NEXT });
    const [xdpLink, tcxLink] = inNetns(net.inside.path, () => {
      using route = NetlinkSocket.route(sys);
      const ifindex = linkByName(route, "eth1")?.index ?? 0;
      setXdp(route, { ifindex, fd: xn.prog.fd, flags: 0 });
      progAttach(sys, { target_ifindex: ifindex, attach_type: BPF_TCX_EGRESS, attach_bpf_fd: tp.prog.fd });
      addClsact(route, ifindex);
      addBpfFilter(route, { ifindex, direction: "ingress", progFd: cf.prog.fd, name: "filter" });
      return [
        attachXdpLink(xl.prog, "eth0", { sys }),
        attachTcxLink(tl.prog, "eth0", { sys, hook: "ingress" }),
      ] as const;
    });
    using _xdp = xdpLink;
    using _tcx = tcxLink;
    const names = ["xdp_link", "xdp_netlink", "tcx_link", "tcx_prog", "clsact_filter"];

    const fromOutside = listed(names);
    const at = `@${net.inside.name}`;
    expect([...fromOutside].map(([name, { where, info }]) => [name, where, info.id]).sort()).toEqual([
      ["clsact_filter", `eth1${at} clsact ingress`, undefined],
      ["tcx_link", `eth0${at} tcx_ingress`, tcxLink.id],
      ["tcx_prog", `eth1${at} tcx_egress`, undefined],
      ["xdp_link", `eth0${at} xdp`, xdpLink.id],
      ["xdp_netlink", `eth1${at} xdp`, undefined],
    ]);
    expect(fromOutside.get("xdp_netlink")).toEqual({
      where: `eth1${at} xdp`,
      device: "eth1",
      netns: { inode: net.inside.inode, name: net.inside.name, current: false },
      info: { kind: "xdp", id: undefined, progId: xn.prog.info().id, ifindex: eth1?.ifindex },
      program: { id: xn.prog.info().id, name: "xdp_netlink", type: "xdp" },
    });
    expect(fromOutside.get("clsact_filter")?.info).toMatchObject({ kind: "clsact", attachType: "ingress" });

    const fromInside = inNetns(net.inside.path, () => listed(names, "current"));
    expect([...fromInside.values()].map(({ where }) => where).sort()).toEqual([
      "eth0 tcx_ingress",
      "eth0 xdp",
      "eth1 clsact ingress",
      "eth1 tcx_egress",
      "eth1 xdp",
    ]);

    // From elsewhere, without a look into other namespaces, the links are there by the index of their interface.
    expect([...listed(names, "current").values()].map(({ where }) => where).sort()).toEqual([
      `interface ${eth0?.ifindex} tcx_ingress`,
      `interface ${eth0?.ifindex} xdp`,
    ]);
  });

  test("of namespaces, cgroups, tracepoints and netfilter", async () => {
    await using net = await createTestNet();
    const root = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "";
    const path = `${root}/tsbpf-test-list-${process.pid}`;
    mkdirSync(path);
    try {
      const attachType = "cgroup_inet_egress";
      using sl = counter(sys, "sk_lookup", "sk_lookup", { attachType: "sk_lookup", returns: 1 });
      using cl = counter(sys, "cgroup_skb", "cgroup_link", { attachType, returns: 1 });
      using cp = counter(sys, "cgroup_skb", "cgroup_prog", { attachType, returns: 1 });
      using tl = counter(sys, "tracepoint", "tp_link");
      using tn = counter(sys, "tracepoint", "tp_no_link");
      using rl = counter(sys, "raw_tracepoint", "raw_tp");
      using nl = counter(sys, "netfilter", "nf_link", { attachType: "netfilter", returns: 1 });
      const old = {
        ...sys,
        bpf: (cmd: number, attr: Uint8Array) => (cmd === bpf_cmd.BPF_LINK_CREATE ? -22 : sys.bpf(cmd, attr)),
      };
      using _1 = attachSkLookup(sl.prog, { path: net.inside.path }, { sys });
      using link = attachCgroup(cl.prog, path, { sys, attachType });
      using _2 = attachCgroup(cp.prog, path, { sys, attachType, as: "program" });
      using _3 = attachTracepoint(tl.prog, "sched:sched_process_exec", { sys });
      using _4 = attachTracepoint(tn.prog, "sched:sched_process_exec", { sys: old });
      using _5 = attachRawTracepoint(rl.prog, "sched_process_exec", { sys });
      using _6 = inNetns(net.inside.path, () =>
        attachNetfilter(nl.prog, { family: "ipv6", hook: "output", priority: 5 }, { sys }),
      );
      const names = [sl, cl, cp, tl, tn, rl, nl].map(({ prog }) => prog.name);
      const found = listed(names, "current");
      expect([...found].map(([name, { where }]) => [name, where]).sort()).toEqual([
        ["cgroup_link", `${path} cgroup_inet_egress`],
        ["cgroup_prog", `${path} cgroup_inet_egress`],
        ["nf_link", "netfilter ipv6 output priority 5"],
        ["raw_tp", "raw tracepoint sched_process_exec"],
        ["sk_lookup", `netns ${net.inside.name} sk_lookup`],
        ["tp_link", "tracepoint sched_process_exec"],
        ["tp_no_link", `tracepoint sched_process_exec (process ${process.pid})`],
      ]);
      expect(found.get("cgroup_link")?.info.id).toBe(link.id);
      expect(found.get("cgroup_prog")?.info.id).toBeUndefined();
      expect(found.get("tp_no_link")).toMatchObject({ pid: process.pid, info: { id: undefined } });
      expect(
        queryHook({ cgroup: path, hook: attachType }, { sys }).programs.map(({ name, type }) => [name, type]),
      ).toEqual([
        ["cgroup_link", "cgroup_skb"],
        ["cgroup_prog", "cgroup_skb"],
      ]);
    } finally {
      rmdirSync(path);
    }
  });
});
