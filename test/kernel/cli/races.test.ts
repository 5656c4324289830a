import { afterAll, beforeAll, expect, test } from "vitest";
import type { Deployed } from "../../../src/cli/sample/deploy.ts";
import type { Status } from "../../../src/cli/sample/status.ts";
import type { TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import {
  type CliResult,
  type CliServer,
  cliServer,
  expectGone,
  kernelView,
  NOTHING,
  objectsOf,
  sampleNet,
  status,
  usableBpftool,
} from "./harness.ts";

// Several processes at the same instant. They wait, warm, so that their work really overlaps.

const PROCESSES = 4;
let net: TestNet;
let servers: readonly CliServer[];

/** Runs command lines at the same instant, each in a process of its own. */
const race = (...commands: readonly (readonly string[])[]): Promise<readonly CliResult[]> =>
  Promise.all(
    commands.map((args, index) => (servers[index] as CliServer).run(...args, "--netns", net.inside.name)),
  );

/** Asserts that a whole session is on eth0, and nothing besides. */
async function expectOneSession(told: Status): Promise<void> {
  const view = kernelView(net);
  expect(told.interfaces).toHaveLength(1);
  const [session] = told.interfaces;
  const clsact = session?.tcBackend === "clsact";
  const one = { ingress: { length: 1 }, egress: { length: 1 } };
  const none = { ingress: { length: 0 }, egress: { length: 0 } };
  expect(session).toMatchObject({ xdp: { id: view.xdp?.id }, tc: { length: 2 } });
  expect(view).toMatchObject({
    tcx: clsact ? none : one,
    filters: clsact ? one : none,
    qdiscs: clsact ? ["clsact"] : [],
    pins: { length: 4 },
  });
  // All of it is of one session: its programs share the metadata.
  const programs = [session?.xdp, ...(session?.tc ?? [])];
  const shared = (session?.xdp?.mapIds ?? []).filter((id) =>
    programs.every((one) => one?.mapIds.includes(id)),
  );
  expect(shared.length).toBeGreaterThanOrEqual(1);
  expect(told.stalePins).toEqual([]);
}

describeKernel("commands at the same instant", () => {
  beforeAll(async () => {
    net = await sampleNet({ secondPair: true });
    servers = await Promise.all(Array.from({ length: PROCESSES }, () => cliServer()));
  });
  afterAll(() => {
    for (const server of servers) server[Symbol.dispose]();
    net.dispose();
  });

  const first = usableBpftool() === undefined ? "tcx" : "bpftool";
  test("ups of one interface succeed in turn, and one of them is left, whole", async () => {
    let before: Status | undefined;
    for (let round = 0; round < 5; round++) {
      const results = await race(
        ["up", "eth0", "--json", "--tc", first, "--cpus", "0"],
        ["up", "eth0", "--json", "--tc", "clsact"],
        ["up", "eth0", "--json", "--tc", "tcx", "--xdp-mode", "generic"],
        ["up", "eth0", "--json", "--tc", "clsact", "--xdp-mode", "native", "--qsize", "64"],
      );
      for (const { code, stderr } of results) expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const told = await status(net);
      await expectOneSession(told);
      // Nothing of the losers and of the round before is left.
      const ups = results.map(({ stdout }) => (JSON.parse(stdout) as { deployed: Deployed[] }).deployed[0]);
      const winner = ups.find((up) => up?.xdp.progId === told.interfaces[0]?.xdp?.id);
      expect(winner?.cpuMapId).toBe(told.interfaces[0]?.cpuMap?.id);
      const losers = ups.filter((up) => up !== winner);
      expect(losers).toHaveLength(PROCESSES - 1);
      await expectGone({
        programs: losers.flatMap((up) => [
          up?.xdp.progId ?? 0,
          ...(up?.tc.map(({ progId }) => progId) ?? []),
        ]),
        maps: losers.map((up) => up?.cpuMapId ?? 0),
      });
      if (before !== undefined) await expectGone(objectsOf(before));
      before = told;
      expect(await net.ping({ count: 1 })).toMatchObject({ received: 1 });
    }
    await race(["down", "eth0"]);
    expect(kernelView(net)).toEqual(NOTHING);
  });

  test("an up and a down leave all or nothing, whoever came first", async () => {
    const outcomes = new Set<boolean>();
    for (let round = 0; round < 8; round++) {
      const results = await race(["up", "eth0"], ["down", "eth0"], ["status"], ["down", "eth0"]);
      for (const { code } of results) expect(code).toBe(0);
      const told = await status(net);
      if (told.interfaces.length > 0) await expectOneSession(told);
      else expect(kernelView(net)).toEqual(NOTHING);
      outcomes.add(told.interfaces.length > 0);
    }
    await race(["down", "eth0"]);
    expect(kernelView(net)).toEqual(NOTHING);
    expect(outcomes.size).toBeGreaterThanOrEqual(1);
  });

  test("ups of two interfaces do not disturb each other", async () => {
    for (let round = 0; round < 3; round++) {
      const results = await race(
        ["up", "eth0", "--tc", "clsact"],
        ["up", "eth1", "--tc", "tcx"],
        ["up", "eth0", "eth1", "--tc", "clsact", "--ingress-redirect", "eth1"],
        ["up", "eth1", "eth0"],
      );
      for (const { code, stderr } of results) expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const told = await status(net);
      expect(told.interfaces.map(({ interface: name, tc }) => [name, tc.length >= 2])).toEqual([
        ["eth0", true],
        ["eth1", true],
      ]);
      const downs = await race(["down", "eth0"], ["down", "eth1"], ["down", "eth1", "eth0"]);
      for (const { code } of downs) expect(code).toBe(0);
      expect([kernelView(net), kernelView(net, "eth1")]).toEqual([NOTHING, NOTHING]);
    }
  });
});
