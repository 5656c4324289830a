import { afterAll, beforeAll, expect, test } from "vitest";
import type { Status } from "../../../src/cli/sample/status.ts";
import type { TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import {
  type CliServer,
  cli,
  cliServer,
  expectGone,
  kernelView,
  NOTHING,
  objectsOf,
  sampleNet,
  startCli,
} from "./harness.ts";

// The same network namespace from three places: from outside by --netns, from inside by nsenter, which keeps the mounts,
// and from inside by `ip netns exec`, which hides bpffs and tracefs.

const PLACES = ["--netns", "nsenter", "ip netns exec"] as const;
type Place = (typeof PLACES)[number];

let net: TestNet;
const servers = new Map<Place, CliServer>();

const run = (place: Place, ...args: readonly string[]) => {
  const outside = place === "--netns" ? ["--netns", net.inside.name] : [];
  return (servers.get(place) as CliServer).run(...args, ...outside);
};

const readStatus = async (place: Place): Promise<Status> => {
  const { code, stdout, stderr } = await run(place, "status", "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  // Hidden mounts are reached through the caller that sees them.
  return JSON.parse(stdout.replaceAll(/\/proc\/\d+\/root/g, "")) as Status;
};

describeKernel("one network namespace from three places", () => {
  beforeAll(async () => {
    net = await sampleNet({ secondPair: true });
    const via = {
      "--netns": [],
      nsenter: ["nsenter", `--net=${net.inside.path}`],
      "ip netns exec": ["ip", "netns", "exec", net.inside.name],
    };
    const started = await Promise.all(PLACES.map((place) => cliServer(via[place])));
    for (const [index, place] of PLACES.entries()) servers.set(place, started[index] as CliServer);
  });
  afterAll(() => {
    for (const server of servers.values()) server[Symbol.dispose]();
    net.dispose();
  });

  const pairs = PLACES.flatMap((from) => PLACES.map((to) => ({ from, to })));
  test.each(pairs)("up by $from, status everywhere, down by $to", async ({ from, to }) => {
    const up = await run(from, "up", "eth0");
    expect(up).toMatchObject({ code: 0, stderr: "" });

    const told = await Promise.all(PLACES.map(readStatus));
    expect(told[0]).toMatchObject({
      netns: net.inside.inode,
      interfaces: [{ interface: "eth0", pins: `/sys/fs/bpf/tsbpf/${net.inside.inode}-2` }],
      stalePins: [],
    });
    for (const status of told) expect(status).toEqual(told[0]);
    expect(told[0]?.interfaces[0]?.xdp?.id).toBe(kernelView(net).xdp?.id);
    expect(kernelView(net).pins).toHaveLength(4);
    expect(await net.ping({ count: 1 })).toMatchObject({ received: 1 });

    // Replaced from elsewhere, it is still one session.
    const again = await run(to, "up", "eth0", "--cpus", "0");
    expect(again.stdout).toContain("eth0: up, in the place of what was there");
    const replaced = await readStatus(from);
    expect(replaced.interfaces).toMatchObject([{ cpuMap: { entries: { length: 1 } } }]);

    const down = await run(to, "down", "eth0");
    expect(down.stdout.split("\n").length).toBeGreaterThanOrEqual(5);
    expect(kernelView(net)).toEqual(NOTHING);
    for (const place of PLACES) expect((await readStatus(place)).interfaces).toEqual([]);
    await expectGone(objectsOf(told[0] as Status));
    await expectGone(objectsOf(replaced));
  });

  test("two interfaces that were brought up from different places are both seen, and go with --all", async () => {
    await run("ip netns exec", "up", "eth0");
    await run("--netns", "up", "eth1");
    const told = await readStatus("nsenter");
    expect(told.interfaces.map(({ interface: name }) => name)).toEqual(["eth0", "eth1"]);
    // One interface at a time, since --all would look after the pins of other tests, too.
    const down = await run("ip netns exec", "down", "eth1", "eth0", "--json");
    expect(JSON.parse(down.stdout)).toMatchObject({ down: [{ interface: "eth1" }, { interface: "eth0" }] });
    expect([kernelView(net), kernelView(net, "eth1")]).toEqual([NOTHING, NOTHING]);
  });

  test("logs in `ip netns exec` shows the lines, although it hides the tracefs", async () => {
    await run("nsenter", "up", "eth0", "--qsize", "1024");
    const via = ["ip", "netns", "exec", net.inside.name];
    const logs = startCli(["logs", "--count", "6"], { via });
    const ping = net.spawn("outside", "ping", ["-q", "-i", "0.01", "-w", "30", "10.77.0.1"]);
    expect(await logs.ended).toBe(0);
    expect(logs.output()).toMatch(
      /(^ .*\[00\d\] .* bpf_trace_printk: \[(XDP|TC ingress|TC egress) *\] cpu=\d\n){6}/m,
    );
    await ping.stop("SIGKILL");
    const json = await cli(["status", "--json"], { via });
    expect(JSON.parse(json.stdout)).toMatchObject({
      interfaces: [{ cpuMap: { entries: [{ qsize: 1024 }, {}] } }],
    });
    await run("--netns", "down", "eth0");
  });
});
