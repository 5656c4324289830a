import { expect, test } from "vitest";
import { attachNetfilter } from "../../../src/kernel/link/netfilter.ts";
import { attachFlowDissector, attachSkLookup } from "../../../src/kernel/link/network-namespace.ts";
import { openLink } from "../../../src/kernel/link/open.ts";
import { queryHook } from "../../../src/kernel/link/query.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { bpftoolLink, counter, pinDirectory } from "./support.ts";

const [SK_PASS, NF_ACCEPT, NF_DROP, BPF_OK] = [1, 1, 0, 0];

describeKernel("links of network namespaces", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();

  test("sk_lookup", async () => {
    await using net = await createTestNet();
    const { path } = net.inside;
    using seen = counter(sys, "sk_lookup", "lookup", { attachType: "sk_lookup", returns: SK_PASS });
    using other = counter(sys, "sk_lookup", "other", { attachType: "sk_lookup", returns: SK_PASS });
    using link = attachSkLookup(seen.prog, { path }, { sys });
    await net.sendUdp({ count: 3, port: 4242 });
    await expect.poll(() => seen.count()).toBe(3);
    expect(link.info()).toEqual({
      kind: "netns",
      id: link.id,
      progId: seen.prog.info().id,
      netnsInode: net.inside.inode,
      attachType: "sk_lookup",
    });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "netns", netns_ino: net.inside.inode });
    using _second = attachSkLookup(other.prog, { path }, { sys });
    expect(
      queryHook({ netns: { path }, hook: "sk_lookup" }, { sys }).programs.map(({ name }) => name),
    ).toEqual(["lookup", "other"]);
    link.pin(pin("lookup"));
    link.close();
    await net.sendUdp({ count: 1, port: 4242 });
    await expect.poll(() => seen.count()).toBe(4);
    using again = openLink(pin("lookup"), { sys });
    again.detach();
    await net.sendUdp({ count: 1, port: 4242 });
    await expect.poll(() => [seen.count(), other.count()]).toEqual([4, 2]);
    expect(again.info()).toMatchObject({ netnsInode: undefined });
  });

  test("flow dissector", async () => {
    await using net = await createTestNet();
    const { path } = net.inside;
    using seen = counter(sys, "flow_dissector", "dissect", { attachType: "flow_dissector", returns: BPF_OK });
    using other = counter(sys, "flow_dissector", "other", { attachType: "flow_dissector", returns: BPF_OK });
    using link = inNetns(path, () => attachFlowDissector(seen.prog, undefined, { sys }));
    // Steering in software takes the hash of each packet's flow.
    const steer = "echo 1 > /sys/class/net/eth0/queues/rx-0/rps_cpus";
    await net.exec("inside", "sh", ["-c", steer], { via: "ip-netns" });
    await net.sendUdp({ count: 3 });
    await expect.poll(() => seen.count()).toBeGreaterThan(0);
    expect(link.info()).toMatchObject({ kind: "netns", attachType: "flow_dissector" });
    expect(() => attachFlowDissector(other.prog, { path }, { sys })).toThrow(
      new RegExp(`^cannot attach 'other' to flow_dissector of network namespace ${path}: (E2BIG|EEXIST)\n`),
    );
    link.update(other.prog);
    await net.sendUdp({ count: 3 });
    await expect.poll(() => other.count()).toBeGreaterThan(2); // all of them, lest one comes in after the detach
    link.detach();
    const before = other.count();
    await net.sendUdp({ count: 3 });
    expect(other.count()).toBe(before);
  });

  test("a program of another type", () => {
    using seen = counter(sys, "xdp", "odd");
    expect(() => attachSkLookup(seen.prog, undefined, { sys })).toThrow(
      /^cannot attach 'odd' to sk_lookup of network namespace .*: EINVAL\n.*\n {2}It takes a program of type sk_lookup/,
    );
  });
});

describeKernel("netfilter links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const filter = (name: string, returns: number) =>
    counter(sys, "netfilter", name, { attachType: "netfilter", returns });

  test("packets arrive, and are dropped", async () => {
    await using net = await createTestNet();
    using seen = filter("seen", NF_ACCEPT);
    using drop = filter("drop", NF_DROP);
    const attach = (program: ReturnType<typeof filter>, priority: number) =>
      inNetns(net.inside.path, () =>
        attachNetfilter(program.prog, { family: "ipv4", hook: "input", priority }, { sys }),
      );
    using link = attach(seen, -10);
    expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
    await expect.poll(() => seen.count()).toBe(2);
    expect(link.info()).toEqual({
      kind: "netfilter",
      id: link.id,
      progId: seen.prog.info().id,
      family: 2,
      hook: 1,
      priority: -10,
      flags: 0,
    });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "netfilter", prio: -10 });
    expect(() => attach(drop, -10)).toThrow(
      /: EBUSY\n.*\n {2}Another program or table has priority -10 there/,
    );
    expect(() => link.update(drop.prog)).toThrow("a netfilter link keeps its program");
    using dropping = attach(drop, -20);
    const before = seen.count();
    await net.sendUdp({ count: 3 });
    await expect.poll(() => [seen.count(), drop.count()]).toEqual([before, 3]);
    dropping.detach();
    await net.sendUdp({ count: 3 });
    await expect.poll(() => [seen.count(), drop.count()]).toEqual([before + 3, 3]);
    link.pin(pin("nf"));
    link.close();
    await net.sendUdp({ count: 1 });
    await expect.poll(() => seen.count()).toBe(before + 4);
    using again = openLink(pin("nf"), { sys });
    expect(again.id).toBe(link.id);
  });
});
