import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import {
  cli,
  down,
  expectGone,
  follow,
  kernelView,
  NOTHING,
  objectsOf,
  type RunningCli,
  sampleNet,
  sleep,
  startCli,
  status,
  until,
  up,
  usableBpftool,
} from "./harness.ts";

// Ctrl-C, SIGTERM, SIGKILL and readers that go away: all or nothing, and nothing that cannot be cleaned up later.

const INSTANCES = "/sys/kernel/tracing/instances";

/** Tracing instances of a process. */
const instancesOf = (pid: number | undefined): readonly string[] =>
  readdirSync(INSTANCES).filter((name) => name.startsWith(`tsbpf-${pid}-`));

/** Sends pings until it is disposed of. */
function pings(net: TestNet, interval = 0.01): Disposable {
  const process = net.spawn("outside", "ping", ["-q", "-i", `${interval}`, "-w", "60", "10.77.0.1"]);
  return { [Symbol.dispose]: () => void process.child.kill("SIGKILL") };
}

/** A bpftool that waits, before it attaches a program of one name, until it is told to go on. */
interface SlowBpftool extends Disposable {
  readonly env: Readonly<Record<string, string>>;
  /** Resolves when it is called for that program. */
  called(): Promise<void>;
  /** Lets it attach, and resolves when it has ended. */
  goOn(): Promise<void>;
}

function slowBpftool(program: string): SlowBpftool {
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-slow-"));
  const [called, go, ended] = ["called", "go", "ended"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const real = execFileSync("sh", ["-c", "command -v bpftool"], { encoding: "utf8" }).trim();
  const script = `#!/bin/sh
case "$*" in *attach*/${program}*) ;; *) exec ${real} "$@";; esac
: > ${called}
until [ -e ${go} ] || [ ! -d ${directory} ]; do sleep 0.02; done
${real} "$@"
status=$?
: > ${ended}
exit $status
`;
  writeFileSync(join(directory, "bpftool"), script);
  chmodSync(join(directory, "bpftool"), 0o755);
  return {
    env: { PATH: `${directory}:${process.env["PATH"]}` },
    called: () => until("bpftool is called", () => existsSync(called)),
    async goOn() {
      writeFileSync(go, "");
      await until("bpftool has ended", () => existsSync(ended));
      for (const path of [called, go, ended]) rmSync(path);
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

describeKernel("a signal during up", () => {
  test.skipIf(usableBpftool() === undefined).each(["SIGINT", "SIGTERM"] as const)(
    "%s while it attaches takes everything back (skipped without bpftool 7.5)",
    async (signal) => {
      await using net = await sampleNet();
      using slow = slowBpftool("tc_egress");
      const running = startCli(["up", "eth0", "--tc", "bpftool", "--netns", net.inside.name], {
        env: slow.env,
      });
      await slow.called();
      running.child.kill(signal);
      await slow.goOn();
      expect(await running.ended).toBe(1);
      expect(running.output()).toBe("error: interrupted: everything was taken back\n");
      expect(kernelView(net)).toEqual(NOTHING);
    },
  );

  test("at any moment leaves all or nothing", async () => {
    await using net = await sampleNet();
    const args = ["up", "eth0", "--tc", "tcx", "--netns", net.inside.name];
    const started = Date.now();
    expect((await cli(args)).code).toBe(0);
    const whole = Date.now() - started;
    await down(net);
    const outcomes: string[] = [];
    for (let round = 0; round < 6; round++) {
      const running = startCli(args);
      await sleep(whole * (0.55 + 0.09 * round));
      running.child.kill(round % 2 === 0 ? "SIGINT" : "SIGTERM");
      outcomes.push(`${await running.ended}`);
      const view = kernelView(net);
      if (view.xdp === undefined) expect([outcomes, view]).toEqual([outcomes, NOTHING]);
      else
        expect(view).toMatchObject({
          tcx: { ingress: { length: 1 }, egress: { length: 1 } },
          pins: { length: 4 },
        });
      await down(net);
      expect(kernelView(net)).toEqual(NOTHING);
    }
    // It succeeded, took itself back, or was ended before it did anything.
    for (const outcome of outcomes) expect(["0", "1", "SIGINT", "SIGTERM"]).toContain(outcome);
  });

  test.skipIf(usableBpftool() === undefined)(
    "SIGKILL half-way: the next up is whole, and so is the next down (skipped without bpftool 7.5)",
    async () => {
      await using net = await sampleNet();
      using slow = slowBpftool("tc_egress");
      const kill = async (): Promise<void> => {
        const running = startCli(["up", "eth0", "--tc", "bpftool", "--netns", net.inside.name], {
          env: slow.env,
        });
        await slow.called();
        running.child.kill("SIGKILL");
        await slow.goOn(); // it outlives its parent
        expect(await running.ended).toBe("SIGKILL");
      };
      // From nothing, and then in the place of a whole session.
      for (const previous of [undefined, { tc: "clsact", xdpMode: "generic" }] as const) {
        for (const next of ["up", "down"] as const) {
          if (previous !== undefined) await up(net, previous);
          await kill();
          const half = kernelView(net);
          expect(half).toMatchObject({ tcx: { ingress: { length: 1 } } });
          expect(half.pins.filter((pin) => pin.includes("-new/"))).toHaveLength(4);
          const objects = objectsOf(await status(net));
          if (next === "up") {
            await up(net, { tc: "tcx" });
            expect(kernelView(net)).toMatchObject({
              xdp: { mode: previous === undefined ? "native" : "generic" },
              tcx: { ingress: { length: 1 }, egress: { length: 1 } },
              qdiscs: [],
              pins: { length: 4 },
            });
            expect((await status(net)).interfaces).toHaveLength(1);
            expect((await follow(net, { cpu: 0, kinds: ["ping"] })).problems).toEqual([]);
            await expectGone(objects);
          }
          await down(net);
          expect(kernelView(net)).toEqual(NOTHING);
          await expectGone(objects);
        }
      }
    },
  );
});

describeKernel("up --foreground", () => {
  const start = async (net: TestNet, ...args: readonly string[]): Promise<RunningCli> => {
    const running = startCli([
      "up",
      "eth0",
      "--foreground",
      "--tc",
      "tcx",
      "--netns",
      net.inside.name,
      ...args,
    ]);
    await running.printed(args.includes("--json") ? '"deployed"' : "eth0: up");
    return running;
  };

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "shows the lines until %s, and takes all down",
    async (signal) => {
      await using net = await sampleNet();
      const running = await start(net);
      const objects = objectsOf(await status(net));
      using _pings = pings(net, signal === "SIGINT" ? 0 : 0.01); // for Ctrl-C a flood, faster than lines are shown
      await running.printed(/\[XDP {7}\] cpu=\d\n[\s\S]*\[TC egress \] cpu=\d\n/);
      expect(instancesOf(running.child.pid)).toHaveLength(1);
      running.child.kill(signal);
      expect(await running.ended).toBe(0);
      expect(running.output()).toMatch(/eth0: taken down\n$/);
      expect(kernelView(net)).toEqual(NOTHING);
      expect(instancesOf(running.child.pid)).toEqual([]);
      await expectGone(objects);
    },
  );

  test("ends in order when nobody reads its lines any more, also through tsx's own command", async () => {
    await using net = await sampleNet();
    const args = ["up", "eth0", "--foreground", "--tc", "tcx", "--netns", net.inside.name];
    using _pings = pings(net);
    const { stdout, stderr } = await net.exec("inside", "bash", [
      "-c",
      `set -o pipefail; node_modules/.bin/tsx src/main.ts "$@" | grep -m1 -o 'TC ingress'; echo "$?"`,
      "bash",
      ...args,
    ]);
    expect([stdout, stderr]).toEqual(["TC ingress\n0\n", "eth0: taken down\n"]);
    expect(kernelView(net)).toEqual(NOTHING);
  });

  test("leaves what another up put in its place, and minds no interface that has gone", async () => {
    await using net = await sampleNet();
    const first = await start(net);
    await up(net, { cpus: [1] });
    const objects = objectsOf(await status(net));
    first.child.kill("SIGINT");
    expect(await first.ended).toBe(0);
    expect(objectsOf(await status(net))).toEqual(objects);
    expect(kernelView(net).pins).toHaveLength(4);

    const second = await start(net, "--json");
    const gone = objectsOf(await status(net));
    await net.exec("inside", "ip", ["link", "del", "eth0"]);
    second.child.kill("SIGTERM");
    expect(await second.ended).toBe(0);
    expect(existsSync(`/sys/fs/bpf/tsbpf/${net.inside.inode}-2`)).toBe(false);
    await expectGone(gone);
  });
});

describeKernel("logs", () => {
  test("ends on a signal, after a count, and when its reader has gone; killed, its instance goes with the next", async () => {
    await using net = await sampleNet();
    await up(net);
    using _pings = pings(net);
    const interrupted = startCli(["logs"]);
    const killed = startCli(["logs", "--json"]);
    await Promise.all([interrupted.printed("[TC egress ] cpu="), killed.printed('"hook":"TC ingress"')]);
    interrupted.child.kill("SIGINT");
    expect(await interrupted.ended).toBe(0);
    expect(instancesOf(interrupted.child.pid)).toEqual([]);

    const [line = ""] = killed.output().split("\n");
    expect(JSON.parse(line)).toMatchObject({
      event: "bpf_trace_printk",
      hook: expect.stringMatching(/^(XDP|TC ingress|TC egress|XDP cpumap)$/),
      cpu: expect.any(Number),
      saidCpu: expect.any(Number),
      raw: expect.stringContaining("bpf_trace_printk: ["),
    });
    killed.child.kill("SIGKILL");
    await killed.ended;
    expect(instancesOf(killed.child.pid)).toHaveLength(1);

    const piped = await net.exec("inside", "bash", [
      "-c",
      `set -o pipefail; "$@" logs | head -n 2 | wc -l; echo "$?"`,
      "bash",
      ...[process.execPath, "--import", "tsx", "src/main.ts"],
    ]);
    expect([piped.stdout, piped.stderr]).toEqual(["2\n0\n", ""]);
    expect(instancesOf(killed.child.pid)).toEqual([]);
    await down(net);
  });

  test("an up removes the instance of a killed one, too", async () => {
    await using net = await sampleNet();
    const killed = startCli(["logs"]);
    await until("logs has its instance", () => instancesOf(killed.child.pid).length > 0);
    killed.child.kill("SIGKILL");
    await killed.ended;
    await up(net, { trace: false }); // prints nothing: no need to look after logs
    await up(net, { trace: true });
    expect(instancesOf(killed.child.pid)).toEqual([]);
    await down(net);
  });
});
