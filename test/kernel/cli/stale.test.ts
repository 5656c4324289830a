import { readdirSync, renameSync } from "node:fs";
import { expect, test } from "vitest";
import { describeKernel } from "../../support/privileges.ts";
import {
  cli,
  down,
  expectGone,
  inside,
  kernelView,
  objectsOf,
  privateBpffs,
  sampleNet,
  status,
  up,
} from "./harness.ts";

// Pins outlive what they were for. A bpffs of its own keeps other tests' pins out of sight, and ours out of theirs.

describeKernel("pins that are left over", () => {
  test("of a network namespace that has gone are reported and removed from another one", async () => {
    using bpffs = privateBpffs();
    await using other = await sampleNet();
    const net = await sampleNet();
    await up(net, { bpffs: bpffs.path });
    const objects = objectsOf(await status(net, bpffs.path));
    const name = `${net.inside.inode}-2`;
    expect(readdirSync(`${bpffs.path}/tsbpf`)).toEqual([name]);
    // While its namespace lives, it is nobody else's business.
    expect((await status(other, bpffs.path)).stalePins).toEqual([]);
    expect(await down(other, "all", bpffs.path)).toEqual([]);
    net.dispose();
    // Somebody may get the number of the dead namespace at once: take one that none can have.
    const path = `${bpffs.path}/tsbpf/1-2`;
    renameSync(`${bpffs.path}/tsbpf/${name}`, path);

    const args = ["--netns", other.inside.name, "--bpffs", bpffs.path];
    const told = await cli(["status", ...args]);
    expect(told).toEqual({
      code: 0,
      stdout: "nothing of ours is up in this network namespace\n",
      stderr: `warning: ${path} is left over: its network namespace has gone; \`down --all\` removes it\n`,
    });
    const removed = await cli(["down", "--all", ...args]);
    expect(removed).toEqual({
      code: 0,
      stdout: `(gone): down, removed\n  pins in ${path}: its network namespace has gone\n`,
      stderr: "",
    });
    await expectGone(objects);
    expect(readdirSync(bpffs.path).filter((entry) => !entry.endsWith(".debug"))).toEqual([]);
    expect(await cli(["down", "--all", ...args])).toMatchObject({
      code: 0,
      stdout: "nothing of ours is here\n",
    });
  });

  test("of an interface that has gone are reported and removed in its namespace", async () => {
    using bpffs = privateBpffs();
    await using net = await sampleNet({ secondPair: true });
    await up(net, { bpffs: bpffs.path, interfaces: ["eth0", "eth1"] });
    const all = objectsOf(await status(net, bpffs.path));
    await net.exec("inside", "ip", ["link", "del", "eth1"]);
    const told = await status(net, bpffs.path);
    expect(told.interfaces.map(({ interface: name }) => name)).toEqual(["eth0"]);
    expect(told.stalePins).toEqual([
      {
        path: `${bpffs.path}/tsbpf/${net.inside.inode}-3`,
        reason: "nothing of ours is attached to its interface",
      },
    ]);
    await expect(down(net, ["eth1"], bpffs.path)).rejects.toThrow(
      /no interface 'eth1'.*\n {2}Ours is up on: eth0\./,
    );
    const downs = await down(net, "all", bpffs.path);
    expect(downs.map(({ interface: name, removed }) => [name, removed.length])).toEqual([
      ["eth0", 4],
      ["(gone)", 1],
    ]);
    await expectGone(all);
  });

  test("an interface that was renamed meanwhile is found by its new name", async () => {
    await using net = await sampleNet();
    await up(net);
    const rename = (from: string, to: string) =>
      inside(net, () => net.exec("inside", "ip", ["link", "set", from, "name", to]));
    await rename("eth0", "lan0");
    expect((await status(net)).interfaces).toMatchObject([{ interface: "lan0", pins: expect.any(String) }]);
    await expect(down(net, ["eth0"])).rejects.toThrow("Ours is up on: lan0.");
    expect(await down(net, ["lan0"])).toMatchObject([{ interface: "lan0", removed: { length: 4 } }]);
    await rename("lan0", "eth0");
    expect(kernelView(net).xdp).toBeUndefined();
  });
});
