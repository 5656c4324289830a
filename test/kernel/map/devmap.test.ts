import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, exit, lddw, mapDef, mapFd, mov32, r0, r1, r2, r3, xdp } from "../../../src/asm/index.ts";
import { s32, struct, u32 } from "../../../src/btf/layout/index.ts";
import { attachXdpLink } from "../../../src/kernel/link/interface.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { XDP_PASS } from "../../../src/uapi/bpf.ts";
import { bpf_redirect_map } from "../../../src/uapi/helpers.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
/** `struct bpf_devmap_val`: the id of the second program is given where its descriptor was taken. */
const target = struct("bpf_devmap_val", { ifindex: u32, prog: s32 });
let net: TestNet;

describe.each(["devmap", "devmap_hash"] as const)("%s", (type) => {
  const plain = mapDef({ name: "ports", type, key: u32, value: u32, maxEntries: 4 });
  const ports = mapDef({ name: "ports", type, key: u32, value: target, maxEntries: 4 });
  const forward = xdp("forward", {
    entry: [lddw(r1, mapFd(plain)), mov32(r2, 3), mov32(r3, XDP_PASS), call(bpf_redirect_map), exit()],
  });

  describeKernel("API", () => {
    beforeAll(async () => {
      net = await createTestNet({ secondPair: true });
    });
    afterAll(() => net.dispose());
    const index = (name: string): number => net.inside.links.find((link) => link.name === name)?.ifindex ?? 0;

    test("interfaces by key; its keys are those with one", () => {
      inNetns(net.inside.path, () => {
        using map = BpfMap.create(plain, { sys });
        expect([...map]).toEqual([]);
        expect(map.get(1)).toBeUndefined();
        map.set(1, index("eth0"));
        map.set(3, index("eth1"));
        expect([...map].sort(([a], [b]) => a - b)).toEqual([
          [1, index("eth0")],
          [3, index("eth1")],
        ]);
        expect([map.has(1), map.has(2)]).toEqual([true, false]);
        expect(map.delete(1)).toBe(true);
        expect([...map.keys()]).toEqual([3]);
        expect(() => map.set(0, 0x7fff_ffff)).toThrow("index of an interface of this network namespace");
      });
    });

    test("with a program for each interface", () => {
      inNetns(net.inside.path, () => {
        using map = BpfMap.create(ports, { sys });
        const second = xdp("second", { entry: [mov32(r0, XDP_PASS), exit()] }, { attachType: "xdp_devmap" });
        using prog = BpfProgram.load(second, { sys });
        map.set(1, { ifindex: index("eth1"), prog: prog.fd });
        expect(map.get(1)).toEqual({ ifindex: index("eth1"), prog: prog.info().id });
        map.set(1, { ifindex: index("eth1"), prog: -1 });
        expect(map.get(1)).toEqual({ ifindex: index("eth1"), prog: 0 });
        using wrong = BpfProgram.load(xdp("plain", { entry: [mov32(r0, XDP_PASS), exit()] }), { sys });
        expect(() => map.set(1, { ifindex: index("eth1"), prog: wrong.fd })).toThrow("EINVAL");
      });
    });

    test("packets leave through the interface of the key, and pass where there is none", async () => {
      using map = BpfMap.create(plain, { sys });
      using prog = BpfProgram.load(forward, { sys, maps: [map] });
      using _link = inNetns(net.inside.path, () => attachXdpLink(prog, "eth0", { sys, mode: "generic" }));
      const sentTo = async (): Promise<number> => (await net.stats("outside", "peer1")).rx_packets ?? 0;
      expect(await net.ping({ count: 1 })).toMatchObject({ received: 1 });
      inNetns(net.inside.path, () => map.set(3, index("eth1")));
      const before = await sentTo();
      await net.sendUdp({ count: 5 });
      await expect.poll(async () => (await sentTo()) - before).toBeGreaterThanOrEqual(5);
    });
  });
});
