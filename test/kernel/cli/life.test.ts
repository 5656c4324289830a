import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { onOneCore } from "../../../src/cli/demo/correlate.ts";
import type { Status } from "../../../src/cli/sample/status.ts";
import { describeKernel } from "../../support/privileges.ts";
import {
  cli,
  cpuMapThreads,
  expectGone,
  follow,
  kernelView,
  NOTHING,
  objectsOf,
  sampleNet,
  status,
  usableBpftool,
} from "./harness.ts";

// The main job, as a user does it: up, packets, a look at everything, down, nothing left.

const mounts = (): string =>
  readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((line) => !line.includes("/run/netns"))
    .join("\n");

describeKernel("a session from up to down", () => {
  test("up eth0, packets on every core, status agrees with the kernel, down leaves nothing", async () => {
    await using net = await sampleNet();
    const via = ["nsenter", `--net=${net.inside.path}`];
    const mountsBefore = mounts();
    const before = await cli(["status"], { via });
    expect(before).toMatchObject({ code: 0, stdout: "nothing of ours is up in this network namespace\n" });

    const up = await cli(["up", "eth0"], { via });
    expect(up).toMatchObject({ code: 0, stderr: "" });
    expect(up.stdout).toMatch(/^eth0: up\n {2}XDP +program \d+, native\n {2}TC +ingress program \d+, egress/);
    expect(up.stdout).toMatch(/CPU map +map \d+: cores 0-1, queue size 192\n/);

    for (const cpu of [0, 1]) {
      const { packets, problems, sent, answered, lines } = await follow(net, {
        cpu,
        kinds: ["ping", "udp", "tcp"],
      });
      expect(problems).toEqual([]);
      expect([answered, sent]).toEqual([7, 7]);
      expect(packets.length).toBeGreaterThanOrEqual(3 + 3 + 4);
      for (const packet of packets) expect([packet, onOneCore(packet)]).toEqual([packet, true]);
      expect(new Set(packets.map(({ xdp }) => xdp))).toEqual(new Set([cpu]));
      expect(packets.filter(({ egress }) => egress.length > 0).length).toBeGreaterThanOrEqual(7);
      expect(new Set(lines.map(({ hook }) => hook))).toEqual(new Set(["XDP", "TC ingress", "TC egress"]));
    }

    const asJson = await cli(["status", "--json"], { via });
    const told = JSON.parse(asJson.stdout) as Status;
    const view = kernelView(net);
    const [session] = told.interfaces;
    expect(told).toMatchObject({ netns: net.inside.inode, stalePins: [] });
    expect(session).toMatchObject({
      interface: "eth0",
      ifindex: 2,
      xdp: { ...view.xdp, name: "xdp_same_cpu" },
      tc: [
        { hook: "ingress", name: "tc_ingress", id: view.tcx.ingress[0], list: "tcx" },
        { hook: "egress", name: "tc_egress", id: view.tcx.egress[0], list: "tcx" },
      ],
      pins: `/sys/fs/bpf/tsbpf/${net.inside.inode}-2`,
    });
    expect(view.tcx).toMatchObject({ ingress: { length: 1 }, egress: { length: 1 } });
    expect([...view.pins].sort()).toEqual(["cpu_map", "tc_egress", "tc_ingress", "xdp_same_cpu"]);
    const map = session?.cpuMap;
    expect(map?.entries.map(({ cpu, qsize, progId }) => ({ cpu, qsize, progId }))).toEqual([
      { cpu: 0, qsize: 192, progId: 0 },
      { cpu: 1, qsize: 192, progId: 0 },
    ]);
    for (const { cpu, thread } of map?.entries ?? []) {
      expect(thread?.name).toBe(`cpumap/${cpu}/map:${map?.id}`);
      expect(readFileSync(`/proc/${thread?.pid}/comm`, "utf8").trim()).toBe(thread?.name);
    }
    const text = await cli(["status", "--netns", net.inside.name]);
    expect(text.stdout).toContain(`xdp_same_cpu, native (id ${view.xdp?.id}, tag ${session?.xdp?.tag})`);
    expect(text.stdout).toContain(`core 1: queue 192, cpumap/1/map:${map?.id} (pid `);

    const objects = objectsOf(told);
    expect(objects.programs).toHaveLength(3);
    const down = await cli(["down", "eth0"], { via });
    expect(down).toMatchObject({ code: 0, stderr: "" });
    expect(down.stdout).toBe(
      `eth0: down, removed
  XDP program xdp_same_cpu (id ${view.xdp?.id}, native)
  TC ingress program tc_ingress (id ${view.tcx.ingress[0]}, tcx)
  TC egress program tc_egress (id ${view.tcx.egress[0]}, tcx)
  pins in /sys/fs/bpf/tsbpf/${net.inside.inode}-2
`,
    );
    expect(kernelView(net)).toEqual(NOTHING);
    expect(existsSync(`/sys/fs/bpf/tsbpf/${net.inside.inode}-2`)).toBe(false);
    await expectGone(objects);
    expect(cpuMapThreads().filter((name) => name.endsWith(`map:${map?.id}`))).toEqual([]);
    expect(mounts()).toBe(mountsBefore);
    expect(await net.ping()).toMatchObject({ received: 3 });

    const again = await cli(["down", "eth0"], { via });
    expect(again).toMatchObject({ code: 0, stdout: "eth0: nothing of ours was there\n" });
    expect((await status(net)).interfaces).toEqual([]);
  });

  test.skipIf(usableBpftool() === undefined)(
    "bpftool net and bpftool prog show what is up (skipped without bpftool 7.5)",
    async () => {
      await using net = await sampleNet();
      const up = await cli(["up", "eth0", "--tc", "bpftool", "--json", "--netns", net.inside.name]);
      const { deployed } = JSON.parse(up.stdout) as { deployed: readonly { readonly cpuMapId: number }[] };
      const shown = await net.exec("inside", "bpftool", ["net"]);
      const view = kernelView(net);
      expect(shown.stdout).toMatch(new RegExp(`eth0\\(2\\) driver id ${view.xdp?.id}\\b`));
      expect(shown.stdout).toMatch(
        new RegExp(`eth0\\(2\\) tcx/ingress tc_ingress prog_id ${view.tcx.ingress[0]}`),
      );
      expect(shown.stdout).toMatch(
        new RegExp(`eth0\\(2\\) tcx/egress tc_egress prog_id ${view.tcx.egress[0]}`),
      );
      // The facts that `status` and `down` go by are the program's metadata, where bpftool prints it.
      const program = execFileSync("bpftool", ["prog", "show", "id", `${view.xdp?.id}`], {
        encoding: "utf8",
      });
      expect(program).toContain('owner = "tsbpf"');
      expect(program).toContain('cpus = "0-1"');
      expect(program).toContain(`map_ids ${deployed[0]?.cpuMapId}`);
      const objects = objectsOf(await status(net));
      expect((await cli(["down", "--all", "--netns", net.inside.name])).code).toBe(0);
      const after = await net.exec("inside", "bpftool", ["net"]);
      expect(after.stdout).not.toContain("eth0");
      await expectGone(objects);
    },
  );
});
