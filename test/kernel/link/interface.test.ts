import { expect, test } from "vitest";
import { attachNetkit, attachTcxLink, attachXdpLink } from "../../../src/kernel/link/interface.ts";
import { linkFromId, openLink } from "../../../src/kernel/link/open.ts";
import { queryHook } from "../../../src/kernel/link/query.ts";
import { UnsupportedError } from "../../../src/kernel/unsupported.ts";
import { bpf_cmd, XDP_PASS } from "../../../src/uapi/bpf.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { bpftoolLink, counter, pinDirectory } from "./support.ts";

const TCX_NEXT = -1;

describeKernel("XDP links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const pass = (name: string) => counter(sys, "xdp", name, { returns: XDP_PASS });

  test("packets arrive; update, pin, detach", async () => {
    await using net = await createTestNet();
    using first = pass("first");
    using second = pass("second");
    const path = pin("eth0_xdp");
    using link = inNetns(net.inside.path, () => attachXdpLink(first.prog, "eth0", { sys }));
    expect(link.mode).toBe("native");
    await net.sendUdp({ count: 5 });
    await expect.poll(() => first.count()).toBe(5);
    const [eth0] = net.inside.links;
    expect(link.info()).toEqual({
      kind: "xdp",
      id: link.id,
      progId: first.prog.info().id,
      ifindex: eth0?.ifindex,
    });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "xdp", prog_id: first.prog.info().id });

    link.update(second.prog, { expected: first.prog });
    await net.sendUdp({ count: 5 });
    await expect.poll(() => [first.count(), second.count()]).toEqual([5, 5]);
    expect(() => link.update(first.prog, { expected: first.prog })).toThrow(
      new RegExp(
        `^cannot update XDP link of eth0: its program is ${second.prog.info().id}, not the expected 'first'\n.*EPERM.*\n` +
          " {2}Somebody else has updated it meanwhile; look at info\\(\\)\\.$",
      ),
    );

    link.pin(path);
    link.close();
    await net.sendUdp({ count: 5 });
    await expect.poll(() => second.count()).toBe(10);
    using again = openLink(path, { sys });
    expect(again.id).toBe(link.id);
    again.detach();
    again.detach();
    await net.sendUdp({ count: 5 });
    await expect.poll(() => second.count()).toBe(10);
    expect(again.info()).toMatchObject({ ifindex: undefined });
    expect(() => again.update(first.prog)).toThrow(
      /^cannot update link '.*eth0_xdp': it is not attached any more\n/,
    );
  });

  test("closing detaches", async () => {
    await using net = await createTestNet();
    using seen = pass("seen");
    const link = inNetns(net.inside.path, () => attachXdpLink(seen.prog, "eth0", { sys, mode: "generic" }));
    expect(link.mode).toBe("generic");
    await net.sendUdp({ count: 3 });
    link.close();
    await net.sendUdp({ count: 3 });
    await expect.poll(() => seen.count()).toBe(3);
    expect(linkFromId(link.id ?? 0, { sys })).toBeUndefined();
  });

  test("what is in the way", async () => {
    await using net = await createTestNet({ mtu: 9000 });
    using seen = pass("seen");
    const attach = (device: string, mode?: "native" | "generic") =>
      inNetns(net.inside.path, () =>
        attachXdpLink(seen.prog, device, mode === undefined ? { sys } : { sys, mode }),
      );
    expect(() => attach("eth7")).toThrow("no interface 'eth7'");
    expect(() => attach("eth0")).toThrow(
      /^cannot attach 'seen' to XDP of eth0: ERANGE\n.*\n.*lower the MTU of its peer/,
    );
    expect(() => attach("lo", "native")).toThrow(
      /^cannot attach 'seen' to XDP of lo: EOPNOTSUPP\n.*\n {2}The driver of lo has no native XDP: use generic mode\.$/,
    );
    using link = attach("lo");
    expect(link.mode).toBe("generic");
    expect(() => attach("lo", "generic")).toThrow(/EBUSY\n.*\n {2}A program is on lo already/);
  });
});

describeKernel("TCX links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const next = (name: string) => counter(sys, "sched_cls", name, { returns: TCX_NEXT });

  test("programs are put before and behind others, by every name that they have", async () => {
    await using net = await createTestNet();
    using a = next("a");
    using b = next("b");
    using c = next("c");
    using d = next("d");
    using e = next("e");
    const order = () =>
      inNetns(net.inside.path, () =>
        queryHook({ device: "eth0", hook: "tcx_ingress" }, { sys }).programs.map(({ name }) => name),
      );
    const attach = (program: ReturnType<typeof next>, position: object) =>
      inNetns(net.inside.path, () =>
        attachTcxLink(program.prog, "eth0", { sys, hook: "ingress", ...position }),
      );
    using middle = attach(c, {});
    using _last = attach(e, { after: "all" });
    using _second = attach(b, { before: middle });
    using _fourth = attach(d, { after: { linkId: middle.id } });
    using _first = attach(a, { before: "all" });
    expect(order()).toEqual(["a", "b", "c", "d", "e"]);
    await net.sendUdp({ count: 4 });
    await expect.poll(() => [a, b, c, d, e].map(({ count }) => count())).toEqual([4, 4, 4, 4, 4]);

    using x = next("x");
    using y = next("y");
    expect(() => attach(x, { before: y.prog })).toThrow(
      /^cannot attach 'x' to TCX ingress of eth0: ENOENT\n.*\n {2}The neighbour is not in the list\./,
    );
    using _before = attach(x, { before: { progId: c.prog.info().id } });
    using _after = attach(y, { after: c.prog });
    expect(order()).toEqual(["a", "b", "x", "c", "y", "d", "e"]);
    expect(() => attach(c, {})).toThrow(/: EEXIST\n.*\n {2}The program is in the list already/);
    expect(() => attach(x, { before: middle, after: middle })).toThrow("a position has one neighbour");
  });

  test("the list must be the one that was looked at", async () => {
    await using net = await createTestNet();
    using a = next("a");
    using b = next("b");
    using c = next("c");
    const attach = (program: ReturnType<typeof next>, revision?: bigint) =>
      inNetns(net.inside.path, () =>
        attachTcxLink(program.prog, "eth0", {
          sys,
          hook: "egress",
          ...(revision === undefined ? {} : { revision }),
        }),
      );
    const revision = () =>
      inNetns(net.inside.path, () => queryHook({ device: "eth0", hook: "tcx_egress" }, { sys }).revision);
    using _a = attach(a);
    const seen = revision();
    using _b = attach(b, seen);
    expect(() => attach(c, seen)).toThrow(
      /^cannot attach 'c' to TCX egress of eth0: ESTALE\n.*\n {2}The list has changed since the revision/,
    );
    using _c = attach(c, revision());
  });

  test("update replaces without a gap", async () => {
    await using net = await createTestNet();
    using a = next("a");
    using b = next("b");
    using link = inNetns(net.inside.path, () => attachTcxLink(a.prog, "eth0", { sys, hook: "ingress" }));
    let updates = 0;
    let sent = 0;
    const send = async (): Promise<void> => {
      do sent += (await net.sendUdp({ count: 10_000 })).sent;
      while (updates <= 10 || Math.min(a.count(), b.count()) === 0);
    };
    let done = false;
    const finished = send().finally(() => {
      done = true;
    });
    while (!done) {
      link.update(updates % 2 === 0 ? b.prog : a.prog);
      updates++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await finished;
    await expect.poll(() => a.count() + b.count()).toBe(sent);
  });

  test("info, bpftool, pin, detach", async () => {
    await using net = await createTestNet();
    using seen = next("seen");
    const path = pin("tcx");
    const link = inNetns(net.inside.path, () => attachTcxLink(seen.prog, "eth0", { sys, hook: "ingress" }));
    const [eth0] = net.inside.links;
    expect(link.info()).toEqual({
      kind: "tcx",
      id: link.id,
      progId: seen.prog.info().id,
      ifindex: eth0?.ifindex,
      attachType: "tcx_ingress",
    });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "tcx", attach_type: "tcx_ingress" });
    link.pin(path);
    link.close();
    await net.sendUdp({ count: 2 });
    using again = openLink(path, { sys });
    again.detach();
    await net.sendUdp({ count: 2 });
    await expect.poll(() => seen.count()).toBe(2);
    expect(again.info()).toMatchObject({ ifindex: undefined });
  });

  test("a kernel without TCX", async () => {
    await using net = await createTestNet();
    using seen = next("seen");
    const old = {
      ...sys,
      bpf: (cmd: number, attr: Uint8Array) =>
        cmd === bpf_cmd.BPF_LINK_CREATE || cmd === bpf_cmd.BPF_PROG_QUERY ? -22 : sys.bpf(cmd, attr),
    };
    const attach = () => attachTcxLink(seen.prog, "eth0", { sys: old, hook: "ingress" });
    expect(() => inNetns(net.inside.path, attach)).toThrow(UnsupportedError);
    expect(() => inNetns(net.inside.path, attach)).toThrow(
      /^cannot attach 'seen' to TCX ingress of eth0: this kernel has no TCX\n.*\n {2}It came with kernel 6\.6; this one is .*\. A clsact filter/,
    );
  });
});

describeKernel("netkit links", () => {
  const sys = tracedSyscalls();

  test("a program on a device, or an explanation where the kernel has no netkit", async () => {
    await using net = await createTestNet();
    using seen = counter(sys, "sched_cls", "seen", { returns: TCX_NEXT, attachType: "netkit_primary" });
    const made = await net.exec("inside", "ip", ["link", "add", "nk0", "type", "netkit"], {
      allowFailure: true,
    });
    const attach = (device: string) =>
      inNetns(net.inside.path, () => attachNetkit(seen.prog, device, { sys }));
    if (made.code === 0) {
      using link = attach("nk0");
      expect(link.info()).toMatchObject({ kind: "netkit", attachType: "netkit_primary" });
      expect(() => attach("eth0")).toThrow("eth0 is not a netkit device, but veth.");
      return;
    }
    expect(() => attach("eth0")).toThrow(UnsupportedError);
    expect(() => attach("eth0")).toThrow(
      /^cannot attach 'seen' to netkit primary of eth0: this kernel has no netkit\n.*\n {2}It came with kernel 6\.7 and takes CONFIG_NETKIT=y; this one is [\w.-]+\. On a veth, attach to TCX of its ends\.$/,
    );
  });
});
