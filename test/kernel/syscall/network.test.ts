import { afterAll, beforeAll, expect, test } from "vitest";
import { linkCreate, linkDetach, linkUpdate } from "../../../src/syscall/bpf-link.ts";
import { objGetInfoByFd } from "../../../src/syscall/bpf-object.ts";
import { progAttach, progDetach, progLoad, progQuery } from "../../../src/syscall/bpf-prog.ts";
import { check } from "../../../src/syscall/errno.ts";
import {
  driverInfo,
  gro,
  setGro,
  setTxChecksumOffload,
  txChecksumOffload,
} from "../../../src/syscall/ethtool.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { genlFamilyId, netdevXdpFeatures } from "../../../src/syscall/netdev-genl.ts";
import { NetlinkSocket } from "../../../src/syscall/netlink.ts";
import { currentNetnsInode, netnsInode, openNetns, withNetns } from "../../../src/syscall/netns.ts";
import { linkByIndex, linkByName, listLinks, setXdp } from "../../../src/syscall/rtnetlink.ts";
import { tryLock } from "../../../src/syscall/socket.ts";
import {
  addBpfFilter,
  addClsact,
  deleteClsact,
  deleteFilter,
  hasClsact,
  listFilters,
  replaceBpfFilter,
} from "../../../src/syscall/tc-netlink.ts";
import { createTestNet, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import {
  BPF_PROG_TYPE_SCHED_CLS,
  BPF_PROG_TYPE_XDP,
  loadReturning,
  returning,
  tracedSyscalls,
} from "./support.ts";

const [UPDATE_IF_NOEXIST, SKB, DRV] = [1, 2, 4];
const XDP_PASS = 2;

describeKernel("the network side of src/syscall", () => {
  const sys = tracedSyscalls();
  let net: TestNet;
  let eth0: number;
  beforeAll(async () => {
    net = await createTestNet({ txChecksumOffload: true });
    eth0 = net.inside.links[0]?.ifindex ?? 0;
  });
  afterAll(() => net?.dispose());

  const inside = <T>(fn: () => T extends PromiseLike<unknown> ? never : T): T => {
    using ns = openNetns(sys, { name: net.inside.name });
    return withNetns(sys, ns, fn);
  };
  const routeInside = (): NetlinkSocket => inside<NetlinkSocket>(() => NetlinkSocket.route(sys));

  test("enters a namespace and returns", () => {
    const home = currentNetnsInode();
    using ns = openNetns(sys, { name: net.inside.name });
    expect(netnsInode(ns)).toBe(net.inside.inode);
    expect(withNetns(sys, ns, () => currentNetnsInode())).toBe(net.inside.inode);
    expect(() =>
      withNetns(sys, ns, () => {
        throw new Error("boom");
      }),
    ).toThrow("boom");
    expect(currentNetnsInode()).toBe(home);
  });

  test("what is no namespace cannot be entered", () => {
    using ns = openNetns(sys, { path: "/proc/self/status" });
    expect(() => withNetns(sys, ns, () => 1)).toThrow(
      "setns(CLONE_NEWNET) failed: EINVAL (Invalid argument)",
    );
  });

  test("a socket stays in the namespace it was opened in", () => {
    using route = routeInside();
    const names = listLinks(route).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["lo", "eth0"]));
    expect(names).toHaveLength(2);
  });

  test("an interface is described as the kernel sees it", () => {
    using route = routeInside();
    const link = linkByName(route, "eth0");
    expect(link).toMatchObject({
      index: eth0,
      name: "eth0",
      type: 1,
      mtu: 1500,
      kind: "veth",
      xdp: { mode: "none", progId: undefined },
    });
    expect((link?.flags ?? 0) & 1).toBe(1);
    const mac = Array.from(link?.address ?? [], (byte) => byte.toString(16).padStart(2, "0")).join(":");
    expect(mac).toBe(net.inside.links[0]?.mac);
    // The other end, in its own namespace, and which namespace that is.
    expect(link?.peerIndex).toBe(net.outside.links[0]?.ifindex);
    expect(link?.peerNetnsId).toBeTypeOf("number");
    expect(linkByIndex(route, eth0)?.name).toBe("eth0");
    expect(linkByName(route, "nope")).toBeUndefined();
    expect(linkByName(route, "a-name-that-is-too-long-for-one")).toBeUndefined();
    expect(linkByIndex(route, 424242)).toBeUndefined();
  });

  test("alternative names", async () => {
    await net.exec("inside", "ip", [
      "link",
      "property",
      "add",
      "dev",
      "eth0",
      "altname",
      "tsbpf-alternative-name",
    ]);
    try {
      using route = routeInside();
      expect(linkByName(route, "tsbpf-alternative-name")?.name).toBe("eth0");
      expect(linkByIndex(route, eth0)?.altNames).toEqual(["tsbpf-alternative-name"]);
    } finally {
      await net.exec("inside", "ip", [
        "link",
        "property",
        "del",
        "dev",
        "eth0",
        "altname",
        "tsbpf-alternative-name",
      ]);
    }
  });

  test("XDP over netlink: attach, refuse, replace, detach", () => {
    using route = routeInside();
    using one = loadReturning(sys, BPF_PROG_TYPE_XDP, XDP_PASS, "one");
    using two = loadReturning(sys, BPF_PROG_TYPE_XDP, XDP_PASS, "two");
    const xdp = () => linkByIndex(route, eth0)?.xdp;
    try {
      setXdp(route, { ifindex: eth0, fd: one.number, flags: DRV });
      const first = xdp();
      expect(first).toMatchObject({ mode: "native", progId: expect.any(Number), genericProgId: undefined });
      expect(first?.nativeProgId).toBe(first?.progId);

      const args = (fd: Fd, flags: string, rest = ""): string =>
        `[ifindex=${eth0}, fd=${fd.number}, xdp_flags=${flags}${rest}]`;
      expect(() => setXdp(route, { ifindex: eth0, fd: two.number, flags: UPDATE_IF_NOEXIST | DRV })).toThrow(
        `RTM_SETLINK failed: EBUSY (Device or resource busy): XDP program already attached ${args(two, "0x5")}`,
      );
      expect(() => setXdp(route, { ifindex: eth0, fd: two.number, flags: SKB })).toThrow(
        `RTM_SETLINK failed: EEXIST (File exists): Native and generic XDP can't be active at the same time ${args(two, "0x2")}`,
      );
      expect(() =>
        setXdp(route, { ifindex: eth0, fd: two.number, flags: DRV, expectedFd: two.number }),
      ).toThrow(
        `RTM_SETLINK failed: EEXIST (File exists): Active program does not match expected ${args(two, "0x14", `, expected_fd=${two.number}`)}`,
      );
      expect(() => setXdp(route, { ifindex: eth0, fd: two.number, flags: DRV, expectedFd: -1 })).toThrow(
        "Active program does not match expected",
      );
      expect(xdp()).toEqual(first);

      setXdp(route, { ifindex: eth0, fd: two.number, flags: DRV, expectedFd: one.number });
      expect(xdp()?.progId).not.toBe(first?.progId);

      // Succeeds and does nothing: nothing is attached in generic mode.
      setXdp(route, { ifindex: eth0, fd: -1, flags: SKB });
      expect(xdp()?.mode).toBe("native");

      setXdp(route, { ifindex: eth0, fd: -1, flags: DRV, expectedFd: two.number });
      expect(xdp()?.mode).toBe("none");

      setXdp(route, { ifindex: eth0, fd: one.number, flags: SKB });
      expect(xdp()).toMatchObject({ mode: "generic", nativeProgId: undefined });
      // Without a mode flag this is about native mode.
      setXdp(route, { ifindex: eth0, fd: -1, flags: 0 });
      expect(xdp()?.mode).toBe("generic");
    } finally {
      setXdp(route, { ifindex: eth0, fd: -1, flags: DRV });
      setXdp(route, { ifindex: eth0, fd: -1, flags: SKB });
    }
    expect(xdp()?.mode).toBe("none");
  });

  test("the driver's own words reach the error", async () => {
    using route = routeInside();
    using prog = loadReturning(sys, BPF_PROG_TYPE_XDP, XDP_PASS, "mtu");
    await net.exec("outside", "ip", ["link", "set", "peer0", "mtu", "4000"]);
    try {
      expect(() => setXdp(route, { ifindex: eth0, fd: prog.number, flags: DRV })).toThrow(
        "RTM_SETLINK failed: ERANGE (Numerical result out of range): veth: Peer MTU is too large to set XDP",
      );
    } finally {
      await net.exec("outside", "ip", ["link", "set", "peer0", "mtu", "1500"]);
    }
    const lo = linkByName(route, "lo")?.index ?? 0;
    expect(() => setXdp(route, { ifindex: lo, fd: prog.number, flags: DRV })).toThrow(
      "EOPNOTSUPP (Operation not supported): Underlying driver does not support XDP in native mode",
    );
    expect(() => setXdp(route, { ifindex: 424242, fd: prog.number, flags: DRV })).toThrow(
      `RTM_SETLINK failed: ENODEV (No such device)`,
    );
  });

  test("an XDP link: create, update, detach; netlink may not touch it", () => {
    using route = routeInside();
    using one = loadReturning(sys, BPF_PROG_TYPE_XDP, XDP_PASS, "one");
    using two = loadReturning(sys, BPF_PROG_TYPE_XDP, XDP_PASS, "two");
    const BPF_XDP = 37;
    const create = (): number =>
      inside<number>(() =>
        linkCreate(sys, { prog_fd: one.number, target_ifindex: eth0, attach_type: BPF_XDP, flags: DRV }),
      );
    using link = Fd.own(sys, create(), "XDP link");
    const before = linkByIndex(route, eth0)?.xdp.progId;
    expect(() => setXdp(route, { ifindex: eth0, fd: two.number, flags: DRV })).toThrow("EBUSY");
    expect(create).toThrow(
      `bpf(BPF_LINK_CREATE) failed: EBUSY (Device or resource busy) [prog_fd=${one.number}, target_ifindex=${eth0}, attach_type=XDP, flags=4]`,
    );
    expect(() =>
      linkUpdate(sys, { link_fd: link.number, new_prog_fd: two.number, old_prog_fd: two.number }),
    ).toThrow("bpf(BPF_LINK_UPDATE) failed: EPERM");
    linkUpdate(sys, { link_fd: link.number, new_prog_fd: two.number, old_prog_fd: one.number });
    expect(linkByIndex(route, eth0)?.xdp.progId).not.toBe(before);
    linkDetach(sys, link.number);
    expect(linkByIndex(route, eth0)?.xdp.mode).toBe("none");
  });

  test("a netfilter link", () => {
    const [BPF_PROG_TYPE_NETFILTER, BPF_NETFILTER, NFPROTO_IPV4, NF_INET_LOCAL_IN, NF_ACCEPT] = [
      32, 45, 2, 1, 1,
    ];
    const { result } = progLoad(sys, {
      prog_type: BPF_PROG_TYPE_NETFILTER,
      expected_attach_type: BPF_NETFILTER,
      insns: returning(NF_ACCEPT),
      license: "GPL",
    });
    using prog = Fd.own(sys, check(result, "bpf(BPF_PROG_LOAD)"), "program");
    const netfilter = { pf: NFPROTO_IPV4, hooknum: NF_INET_LOCAL_IN, priority: -128 };
    inside<void>(() => {
      const spec = { prog_fd: prog.number, attach_type: BPF_NETFILTER };
      using link = Fd.own(sys, linkCreate(sys, { ...spec, netfilter }), "netfilter link");
      // struct bpf_link_info: type, id, prog_id, padding, then netfilter { pf, hooknum, priority, flags }.
      const info = new Uint8Array(32);
      objGetInfoByFd(sys, link.number, info);
      expect([...new Int32Array(info.buffer).slice(4, 7)]).toEqual([NFPROTO_IPV4, NF_INET_LOCAL_IN, -128]);
      expect(() => linkCreate(sys, { ...spec, netfilter: { ...netfilter, hooknum: 99 } })).toThrow(
        /^bpf\(BPF_LINK_CREATE\) failed: E\w+ .*attach_type=NETFILTER\]$/,
      );
    });
  });

  test("TCX: attach, order, query, detach", () => {
    const [BPF_F_BEFORE, TCX_INGRESS] = [8, 46];
    using one = loadReturning(sys, BPF_PROG_TYPE_SCHED_CLS, -1, "one");
    using two = loadReturning(sys, BPF_PROG_TYPE_SCHED_CLS, -1, "two");
    inside<void>(() => {
      const at = { target_ifindex: eth0, attach_type: TCX_INGRESS };
      const empty = progQuery(sys, { ...at, with_links: true });
      expect(empty.progs).toEqual([]);
      progAttach(sys, { ...at, attach_bpf_fd: one.number });
      using link = Fd.own(
        sys,
        linkCreate(sys, {
          ...at,
          prog_fd: two.number,
          flags: BPF_F_BEFORE,
          tcx: { relative_fd: one.number },
        }),
        "TCX link",
      );
      const { progs, revision } = progQuery(sys, { ...at, with_links: true });
      expect(progs).toHaveLength(2);
      expect(progs[0]?.link_id).toBeGreaterThan(0);
      expect(progs[1]?.link_id).toBe(0);
      expect(revision).toBeGreaterThan(empty.revision);
      expect(progQuery(sys, at).progs.map(({ prog_id }) => prog_id)).toEqual(
        progs.map(({ prog_id }) => prog_id),
      );
      expect(() => progAttach(sys, { ...at, attach_bpf_fd: two.number, expected_revision: 1n })).toThrow(
        "ESTALE",
      );
      progDetach(sys, { ...at, attach_bpf_fd: one.number });
      expect(() => progDetach(sys, { ...at, attach_bpf_fd: one.number })).toThrow(
        "bpf(BPF_PROG_DETACH) failed: ENOENT (No such file or directory)",
      );
      link.close();
      expect(progQuery(sys, at).progs).toEqual([]);
    });
  });

  test("clsact: add, find, add filters, replace, delete exactly one, delete", () => {
    using route = routeInside();
    using one = loadReturning(sys, BPF_PROG_TYPE_SCHED_CLS, -1, "one");
    using two = loadReturning(sys, BPF_PROG_TYPE_SCHED_CLS, -1, "two");
    using xdp = loadReturning(sys, BPF_PROG_TYPE_XDP, XDP_PASS, "wrong");
    const list = () => listFilters(route, eth0, "ingress");
    expect(hasClsact(route, eth0)).toBe(false);
    expect(list()).toEqual([]);
    expect(deleteClsact(route, eth0)).toBe(false);
    expect(deleteFilter(route, { ifindex: eth0, direction: "ingress", prio: 1, handle: 1 })).toBe(false);
    expect(() =>
      addBpfFilter(route, { ifindex: eth0, direction: "ingress", progFd: one.number, name: "one" }),
    ).toThrow(
      /^RTM_NEWTFILTER failed: EINVAL \(Invalid argument\): .*[Qq]disc.*\[ifindex=\d+, direction=ingress, prio=0, name=one\]$/,
    );
    try {
      expect(addClsact(route, eth0)).toBe("created");
      expect(addClsact(route, eth0)).toBe("existed");
      expect(hasClsact(route, eth0)).toBe(true);

      const auto = addBpfFilter(route, {
        ifindex: eth0,
        direction: "ingress",
        progFd: one.number,
        name: "one",
      });
      expect(auto).toEqual({ ifindex: eth0, direction: "ingress", prio: 49152, handle: 1 });
      const chosen = addBpfFilter(route, {
        ifindex: eth0,
        direction: "ingress",
        progFd: two.number,
        name: "two",
        prio: 7,
      });
      expect(chosen).toMatchObject({ prio: 7, handle: 1 });
      const egress = addBpfFilter(route, {
        ifindex: eth0,
        direction: "egress",
        progFd: one.number,
        name: "out",
      });
      expect(listFilters(route, eth0, "egress")).toMatchObject([{ ...egress, bpf: { name: "out" } }]);
      expect(() =>
        addBpfFilter(route, { ifindex: eth0, direction: "ingress", progFd: xdp.number, name: "wrong" }),
      ).toThrow("RTM_NEWTFILTER failed: EINVAL");

      const [first, second] = list();
      expect(first).toMatchObject({
        ...chosen,
        kind: "bpf",
        protocol: 3,
        bpf: { name: "two", directAction: true },
      });
      expect(second).toMatchObject({ ...auto, bpf: { name: "one" } });
      expect(first?.bpf?.tag).toHaveLength(8);

      expect(replaceBpfFilter(route, chosen, { progFd: one.number, name: "other" })).toEqual(chosen);
      expect(list()[0]?.bpf).toMatchObject({ name: "other", progId: second?.bpf?.progId });

      expect(deleteFilter(route, chosen)).toBe(true);
      expect(deleteFilter(route, chosen)).toBe(false);
      expect(list()).toMatchObject([{ bpf: { name: "one" } }]);
      expect(() => deleteFilter(route, { ...auto, handle: 0 })).toThrow(
        "A filter is deleted by its prio and its handle",
      );
    } finally {
      expect(deleteClsact(route, eth0)).toBe(true);
    }
    expect(list()).toEqual([]);
  });

  test("an ingress qdisc in clsact's place is an error, not a clsact", async () => {
    using route = routeInside();
    await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "ingress"]);
    try {
      expect(hasClsact(route, eth0)).toBe(false);
      expect(() => addClsact(route, eth0)).toThrow("RTM_NEWQDISC failed: EEXIST (File exists)");
    } finally {
      await net.exec("inside", "tc", ["qdisc", "del", "dev", "eth0", "ingress"]);
    }
  });

  test("another's filters of other kinds are listed too", async () => {
    using route = routeInside();
    await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "clsact"]);
    try {
      expect(addClsact(route, eth0)).toBe("existed");
      const filter = "filter add dev eth0 ingress prio 5 protocol ip u32 match u32 0 0 flowid 1:1";
      await net.exec("inside", "tc", filter.split(" "));
      const listed = listFilters(route, eth0, "ingress");
      expect(listed.length).toBeGreaterThan(0);
      for (const { kind, prio, protocol, bpf } of listed) {
        expect({ kind, prio, protocol, bpf }).toEqual({
          kind: "u32",
          prio: 5,
          protocol: 0x0800,
          bpf: undefined,
        });
      }
    } finally {
      await net.exec("inside", "tc", ["qdisc", "del", "dev", "eth0", "clsact"]);
    }
  });

  test("XDP features over generic netlink", () => {
    using generic = inside<NetlinkSocket>(() => NetlinkSocket.generic(sys));
    expect(genlFamilyId(generic, "no-such-family")).toBeUndefined();
    if (genlFamilyId(generic, "netdev") === undefined) return;
    const BASIC = 1;
    expect((netdevXdpFeatures(generic, eth0)?.features ?? 0) & BASIC).toBe(BASIC);
    // Loopback has no native XDP.
    expect(netdevXdpFeatures(generic, 1)?.features).toBe(0);
    expect(netdevXdpFeatures(generic, 424242)).toBeUndefined();
  });

  test("ethtool: the driver, and switches that switch", () => {
    inside<void>(() => {
      expect(driverInfo(sys, "eth0")?.driver).toBe("veth");
      for (const on of [false, true, false]) {
        setTxChecksumOffload(sys, "eth0", on);
        expect(txChecksumOffload(sys, "eth0")).toBe(on);
      }
      for (const on of [true, false]) {
        setGro(sys, "eth0", on);
        expect(gro(sys, "eth0")).toBe(on);
      }
      expect(() => txChecksumOffload(sys, "nope")).toThrow(
        "ioctl(SIOCETHTOOL, ETHTOOL_GTXCSUM) failed: ENODEV (No such device) [dev=nope]",
      );
    });
  });

  test("a lock is held once per namespace, until it is closed", () => {
    const name = `tsbpf-test-${process.pid}`;
    inside<void>(() => {
      using lock = tryLock(sys, name);
      expect(lock).toBeDefined();
      expect(tryLock(sys, name)).toBeUndefined();
    });
    inside<void>(() => {
      using again = tryLock(sys, name);
      expect(again).toBeDefined();
    });
  });
});
