import { expect, test } from "vitest";
import { describeKernel } from "../../support/privileges.ts";
import { addForeignTc, addForeignXdp, addForeignXdpLink } from "./foreign.ts";
import {
  cli,
  down,
  expectGone,
  follow,
  kernelView,
  NOTHING,
  objectsOf,
  sampleNet,
  status,
  type UpOverrides,
  up,
  withoutMissingBpftool,
} from "./harness.ts";

// What is there already when `up` comes: our own session, and what somebody else attached.

describeKernel("a second up", () => {
  test.each(withoutMissingBpftool([{ tc: "bpftool" }, { tc: "tcx" }, { tc: "clsact" }] as const))(
    "by $tc takes the place of the first without losing a packet",
    async ({ tc }) => {
      await using net = await sampleNet();
      await up(net, { tc });
      let [before, view] = [objectsOf(await status(net)), kernelView(net)];
      const flood = net.ping({ count: 600, interval: 0.002, cpu: 1 });
      for (const overrides of [{}, { cpus: [1] }, { targetProgram: true }, { qsize: 64 }]) {
        const { deployed } = await up(net, { tc, ...overrides });
        expect(deployed[0]?.replaced).toEqual({ session: expect.any(Number) });
        const [after, now] = [objectsOf(await status(net)), kernelView(net)];
        const told = [deployed[0]?.xdp, ...(deployed[0]?.tc ?? [])].map((one) => one?.progId);
        expect(after.programs).toEqual(expect.arrayContaining(told));
        expect(JSON.stringify(deployed[0]?.tc)).not.toContain('"mapIds"'); // nothing of the programs that were replaced
        for (const id of after.programs) expect(before.programs).not.toContain(id);
        for (const id of after.maps) expect(before.maps).not.toContain(id);
        expect(now).toMatchObject({
          xdp: { mode: view.xdp?.mode },
          tcx: { ingress: { length: tc === "clsact" ? 0 : 1 }, egress: { length: tc === "clsact" ? 0 : 1 } },
          filters: {
            ingress: { length: tc === "clsact" ? 1 : 0 },
            egress: { length: tc === "clsact" ? 1 : 0 },
          },
        });
        expect(now.xdp?.id).not.toBe(view.xdp?.id);
        await expectGone(before);
        [before, view] = [after, now];
      }
      const { sent, received } = await flood;
      expect([received, sent]).toEqual([600, 600]);
      expect((await follow(net, { cpu: 1, kinds: ["ping"] })).problems).toEqual([]);
      await down(net);
      await expectGone(before);
      expect(kernelView(net)).toEqual(NOTHING);
    },
  );

  test("switches backend, mode, and what is redirected, and leaves nothing of the one before", async () => {
    await using net = await sampleNet({ secondPair: true });
    const tcx = { ingress: { length: 1 }, egress: { length: 1 } };
    const none = { ingress: { length: 0 }, egress: { length: 0 } };
    const steps: readonly (UpOverrides & { readonly tc: "bpftool" | "tcx" | "clsact" | "off" })[] = [
      { tc: "tcx" },
      { tc: "clsact" },
      { tc: "bpftool", xdpMode: "generic" },
      { tc: "bpftool" }, // auto: keeps the mode that it is in
      { tc: "clsact", xdpMode: "native", redirect: "eth1" },
      { tc: "tcx", redirect: "eth1" },
      { tc: "off" },
      { tc: "clsact", xdpMode: "generic" },
    ];
    let mode = "native";
    let before: Awaited<ReturnType<typeof objectsOf>> | undefined;
    for (const step of withoutMissingBpftool(steps)) {
      mode = step.xdpMode ?? mode;
      await up(net, step);
      const [eth0, eth1] = [kernelView(net), kernelView(net, "eth1")];
      expect([step, eth0]).toMatchObject([
        step,
        {
          xdp: { mode },
          tcx: step.tc === "tcx" || step.tc === "bpftool" ? tcx : none,
          filters: step.tc === "clsact" ? tcx : none,
          qdiscs: step.tc === "clsact" ? ["clsact"] : [],
        },
      ]);
      const egress = { ingress: [], egress: step.redirect === undefined ? [] : { length: 1 } };
      expect([step, eth1]).toMatchObject([
        step,
        {
          tcx: step.tc === "tcx" ? egress : none,
          filters: step.tc === "clsact" ? egress : none,
          qdiscs: step.tc === "clsact" && step.redirect !== undefined ? ["clsact"] : [],
        },
      ]);
      const told = await status(net);
      expect(told.interfaces).toHaveLength(1);
      if (before !== undefined) await expectGone(before);
      before = objectsOf(told);
      if (step.redirect === undefined) expect(await net.ping()).toMatchObject({ received: 3 });
    }
    await down(net);
    expect([kernelView(net), kernelView(net, "eth1")]).toEqual([NOTHING, NOTHING]);
  });
});

describeKernel("somebody else's XDP program", () => {
  test("is refused by name, and replaced by force for good", async () => {
    await using net = await sampleNet();
    const foreign = await addForeignXdp(net);
    const refused = await cli(["up", "eth0", "--netns", net.inside.name]);
    expect(refused).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: eth0 already has an XDP program that is not ours: 'somebody_xdp' (id ${foreign}, native)
  Detach it (ip link set dev eth0 xdpdrv off), or replace it for good with --force.
`,
    });
    const alone = { ...NOTHING, xdp: { mode: "native", id: foreign } } as const;
    expect(kernelView(net)).toEqual(alone);
    expect((await cli(["down", "--all", "--netns", net.inside.name])).code).toBe(0);
    expect(kernelView(net)).toEqual(alone);

    const forced = await cli(["up", "eth0", "--netns", net.inside.name, "--force", "--tc", "tcx"]);
    expect(forced).toMatchObject({ code: 0, stderr: "" });
    expect(forced.stdout).toContain(`somebody else's XDP program ${foreign}, as forced`);
    expect(kernelView(net).xdp?.id).not.toBe(foreign);
    await down(net);
    expect(kernelView(net)).toEqual(NOTHING);
    await expectGone({ programs: [foreign], maps: [] });
  });

  test("in generic mode is replaced in that mode, or in the one that is asked for", async () => {
    await using net = await sampleNet();
    await addForeignXdp(net, "generic");
    await expect(up(net)).rejects.toThrow(
      /already has an XDP program that is not ours: 'somebody_xdp' \(id \d+, generic\)/,
    );
    await up(net, { force: true });
    expect(kernelView(net).xdp?.mode).toBe("generic");
    await down(net);
    await addForeignXdp(net, "generic");
    await up(net, { force: true, xdpMode: "native" });
    expect(kernelView(net).xdp?.mode).toBe("native");
    await down(net);
    expect(kernelView(net)).toEqual(NOTHING);
  });

  test("on a bpf_link is refused, also with force, and stays", async () => {
    await using net = await sampleNet();
    using link = await addForeignXdpLink(net);
    await expect(up(net)).rejects.toThrow(`'somebody_xdp' (id ${link.progId}, native)`);
    await expect(up(net, { force: true })).rejects.toThrow(
      /cannot attach XDP to eth0: .*\n.*\n {2}A bpf_link holds XDP of eth0 \(bpftool link show\): only its owner can replace or detach it\./,
    );
    await expect(up(net, { force: true, xdpMode: "generic" })).rejects.toThrow(
      /cannot detach XDP from eth0: [\s\S]*\n {2}A bpf_link holds XDP of eth0/,
    );
    expect(kernelView(net)).toEqual({ ...NOTHING, xdp: { mode: "native", id: link.progId } });
    expect((await status(net)).interfaces).toEqual([]);
  });

  test("that took our place is left alone by down, and status says that ours has gone", async () => {
    await using net = await sampleNet();
    await up(net);
    const objects = objectsOf(await status(net));
    await net.exec("inside", "ip", ["link", "set", "dev", "eth0", "xdp", "off"]);
    const foreign = await addForeignXdp(net, "generic");
    const told = await cli(["status", "--netns", net.inside.name]);
    expect(told.stdout).toMatch(/^eth0\n {2}XDP +detached by somebody\n {2}TC ingress/);
    await expect(up(net)).rejects.toThrow(`'somebody_xdp' (id ${foreign}, generic)`);
    const [downed] = await down(net);
    expect(downed?.removed).toHaveLength(3);
    expect(kernelView(net)).toEqual({ ...NOTHING, xdp: { mode: "generic", id: foreign } });
    await expectGone(objects);
  });
});

describeKernel("somebody else's TC programs", () => {
  test.each(withoutMissingBpftool([{ tc: "tcx" }, { tc: "clsact" }, { tc: "bpftool" }] as const))(
    "keep their place beside ours by $tc, and outlive it",
    async ({ tc }) => {
      await using net = await sampleNet();
      const [tcx, tcxOut] = [
        await addForeignTc(net, "tcx", "ingress"),
        await addForeignTc(net, "tcx", "egress"),
      ];
      const [filter, filterOut] = [
        await addForeignTc(net, "clsact", "ingress"),
        await addForeignTc(net, "clsact", "egress"),
      ];
      const alone = {
        ...NOTHING,
        tcx: { ingress: [tcx], egress: [tcxOut] },
        qdiscs: ["clsact"],
        filters: { ingress: [filter], egress: [filterOut] },
      };
      expect(kernelView(net)).toEqual(alone);
      await up(net, { tc });
      const first = kernelView(net);
      await up(net, { tc });
      const second = kernelView(net);
      const list = tc === "clsact" ? "filters" : "tcx";
      for (const view of [first, second]) {
        expect(view[list].ingress).toHaveLength(2);
        expect(view[list].ingress).toContain(alone[list].ingress[0]);
        expect(view[list].egress).toContain(alone[list].egress[0]);
      }
      // Ours was replaced in its place.
      expect(second[list].ingress.indexOf(alone[list].ingress[0] ?? 0)).toBe(
        first[list].ingress.indexOf(alone[list].ingress[0] ?? 0),
      );
      for (const cpu of [0, 1]) {
        const { problems, answered } = await follow(net, { cpu, kinds: ["ping"] });
        expect([problems, answered]).toEqual([[], 3]);
      }
      await down(net);
      expect(kernelView(net)).toEqual(alone);
    },
  );

  test("an empty clsact qdisc of somebody stays; ours stays while somebody uses it, and then goes with the next down", async () => {
    await using net = await sampleNet();
    await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "clsact"]);
    await up(net, { tc: "clsact" });
    await down(net);
    expect(kernelView(net)).toEqual({ ...NOTHING, qdiscs: ["clsact"] });
    await net.exec("inside", "tc", ["qdisc", "del", "dev", "eth0", "clsact"]);

    await up(net, { tc: "clsact" });
    const foreign = await addForeignTc(net, "clsact", "egress");
    await down(net);
    expect(kernelView(net)).toEqual({
      ...NOTHING,
      qdiscs: ["clsact"],
      filters: { ingress: [], egress: [foreign] },
    });
  });

  test("an ingress qdisc in the place of clsact is an error that says so", async () => {
    await using net = await sampleNet();
    await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "ingress"]);
    await expect(up(net, { tc: "clsact" })).rejects.toThrow(/An `ingress` qdisc is in the place of clsact/);
    expect(kernelView(net)).toEqual({ ...NOTHING, qdiscs: ["ingress"] });
  });
});
