import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { openFds, watchFds } from "../support/fd-leak.ts";
import { getOffload, inNetns, setOffload } from "../support/in-netns.ts";
import { compareSnapshots, takeSnapshot } from "../support/leftovers.ts";
import { ensureBpffs, ensureTracefs, isMounted } from "../support/mounts.ts";
import { createTestNet, listNamespaces, sweepDeadNamespaces } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { PRIVATE_BPFFS, removePinsOf, sweepDeadRuns } from "../support/sweep.ts";
import { heirsOfDeadRuns, isAlive, processesWith, startOf } from "../support/test-run.ts";

/** Loads TypeScript in a child process without another `npx`. */
const TSX = ["--import", "tsx"];
const HOLD = fileURLToPath(new URL("../support/hold-network.ts", import.meta.url));
const MOUNTS = new URL("../support/mounts.ts", import.meta.url).href;
const SWEEP = new URL("../support/sweep.ts", import.meta.url).href;

const gone = async (condition: () => boolean): Promise<boolean> => {
  for (let i = 0; i < 100 && condition(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  return !condition();
};

describeKernel("createTestNet", () => {
  test("two namespaces with unique names, joined and addressed as documented", async () => {
    await using net = await createTestNet();
    await using other = await createTestNet();
    const names = [net.inside.name, net.outside.name, other.inside.name, other.outside.name];
    expect(new Set(names).size).toBe(4);
    expect(listNamespaces()).toEqual(expect.arrayContaining(names));
    expect(net.inside.links).toEqual([
      { name: "eth0", ifindex: 2, mac: "02:00:00:00:00:01", ipv4: "10.77.0.1", ipv6: "fd77:0::1" },
    ]);
    const id = await net.exec("inside", "readlink", ["/proc/self/ns/net"]);
    expect(id.stdout).toBe(`net:[${net.inside.inode}]\n`);
    expect(net.inside.inode).not.toBe(net.outside.inode);
  });

  test("packets pass at once, both ways, without ARP or other noise", async () => {
    await using net = await createTestNet();
    expect(await net.ping({ count: 2 })).toMatchObject({ sent: 2, received: 2 });
    expect(await net.ping({ count: 2, from: "inside" })).toMatchObject({ sent: 2, received: 2 });
    expect(await net.stats("inside", "eth0")).toMatchObject({ rx_packets: 4, tx_packets: 4 });
  });

  test("a second pair, IPv6, queues and MTU", async () => {
    await using net = await createTestNet({ secondPair: true, ipv6: true, queues: 2, mtu: 1400 });
    expect(await net.ping({ pair: 1, family: 6 })).toMatchObject({ received: 3 });
    expect(await net.ping({ pair: 1 })).toMatchObject({ received: 3 });
    expect(await net.ping({ family: 6, from: "inside" })).toMatchObject({ received: 3 });
    for (const side of ["inside", "outside"] as const) {
      const { stdout } = await net.exec(side, "ip", ["-d", "link", "show", "type", "veth"]);
      expect(stdout.match(/mtu 1400 .*/g)).toHaveLength(2);
      expect(stdout.match(/numtxqueues 2 numrxqueues 2/g)).toHaveLength(2);
    }
  });

  test("transmit checksum offload is off at both ends unless asked for", async () => {
    await using safe = await createTestNet();
    await using trap = await createTestNet({ txChecksumOffload: true });
    expect(getOffload(safe.inside.path, "eth0", "txChecksum")).toBe(false);
    expect(getOffload(safe.outside.path, "peer0", "txChecksum")).toBe(false);
    expect(getOffload(trap.inside.path, "eth0", "txChecksum")).toBe(true);
    expect(getOffload(trap.outside.path, "peer0", "txChecksum")).toBe(true);
    setOffload(safe.outside.path, "peer0", "gro", true);
    expect(getOffload(safe.outside.path, "peer0", "gro")).toBe(true);
    expect(() => getOffload(safe.outside.path, "eth9", "gro")).toThrow("SIOCETHTOOL 0x2b eth9: errno 19");
  });

  test("no interface ever appears in the root namespace", async () => {
    const before = readdirSync("/sys/class/net");
    let different = 0;
    const watch = setInterval(() => {
      if (readdirSync("/sys/class/net").length !== before.length) different++;
    }, 1);
    const net = await createTestNet({ secondPair: true });
    net.dispose();
    clearInterval(watch);
    expect(different).toBe(0);
  });

  test("dispose removes both namespaces, ends what runs in them, and may come twice", async () => {
    const net = await createTestNet();
    const sleeper = net.spawn("inside", "sleep", ["60"]);
    await net.exec("outside", "sh", ["-c", "sleep 61 >/dev/null 2>&1 & echo $!"]).then(({ stdout }) => {
      const orphan = Number(stdout);
      expect(isAlive(orphan)).toBe(true);
      net.dispose();
      return gone(() => isAlive(orphan)).then((ended) => expect(ended).toBe(true));
    });
    net.dispose();
    expect(listNamespaces()).not.toContain(net.inside.name);
    expect(listNamespaces()).not.toContain(net.outside.name);
    expect((await sleeper.ended()).code).toBe(137);
  });

  test("`await using` removes it when the test fails", async () => {
    let name = "";
    await expect(async () => {
      await using net = await createTestNet();
      name = net.inside.name;
      throw new Error("the test failed");
    }).rejects.toThrow("the test failed");
    expect(name).not.toBe("");
    expect(listNamespaces()).not.toContain(name);
  });

  test("a creation that fails names the command and leaves nothing", async () => {
    const mine = (): readonly string[] =>
      listNamespaces().filter((name) => name.includes(`-${process.pid}-`));
    await expect(createTestNet({ mtu: 10 })).rejects.toThrow(
      /ip link add eth0 .*mtu 10 [\s\S]*Invalid argument/,
    );
    expect(mine()).toEqual([]);
  });
});

describeKernel("commands in a test network", () => {
  test("exit code, output, input and environment", async () => {
    await using net = await createTestNet();
    const script = 'cat; echo "$WORD" >&2; exit 3';
    const options = { allowFailure: true, input: "in\n", env: { WORD: "err" } };
    expect(await net.exec("inside", "sh", ["-c", script], options)).toEqual({
      stdout: "in\n",
      stderr: "err\n",
      code: 3,
    });
    await expect(net.exec("inside", "sh", ["-c", "echo why >&2; exit 3"])).rejects.toThrow(
      /^3: nsenter .*\nwhy\n$/,
    );
    await expect(net.exec("inside", "no-such-command", [], { allowFailure: true })).resolves.toMatchObject({
      code: 127,
    });
  });

  test("a command that does not end is killed at its timeout", async () => {
    await using net = await createTestNet();
    const started = Date.now();
    await expect(net.exec("inside", "sleep", ["60"], { timeoutMs: 100 })).rejects.toThrow(
      "no end within 100 ms: nsenter",
    );
    expect(Date.now() - started).toBeLessThan(5_000);
    expect(execFileSync("ip", ["netns", "pids", net.inside.name], { encoding: "utf8" })).toBe("");
  });

  test("pinned to a core", async () => {
    await using net = await createTestNet();
    for (let cpu = 0; cpu < cpus().length; cpu++) {
      const { stdout } = await net.exec("inside", "grep", ["Cpus_allowed_list", "/proc/self/status"], {
        cpu,
      });
      expect(stdout).toBe(`Cpus_allowed_list:\t${cpu}\n`);
    }
  });

  test("nsenter keeps the caller's mounts, ip netns exec hides them", async () => {
    await using net = await createTestNet();
    const list = async (via: "nsenter" | "ip-netns"): Promise<string> =>
      (await net.exec("inside", "cat", ["/proc/self/mounts"], { via })).stdout;
    expect(await list("nsenter")).toContain(" /sys/fs/bpf bpf ");
    expect(await list("ip-netns")).not.toContain(" /sys/fs/bpf bpf ");
  });

  test("a running command can be waited for and stopped", async () => {
    await using net = await createTestNet();
    const child = net.spawn("inside", "sh", [
      "-c",
      "echo ready; trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done",
    ]);
    expect(await child.waitFor("ready")).toBe("ready\n");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await child.stop()).toEqual({ stdout: "ready\nbye\n", stderr: "", code: 7 });
    expect(await child.stop()).toMatchObject({ code: 7 });
    const silent = net.spawn("inside", "sleep", ["60"]);
    await expect(silent.waitFor("x", 50)).rejects.toThrow("no x within 50 ms: nsenter");
    const short = net.spawn("inside", "sh", ["-c", "echo no; exit 4"]);
    await expect(short.waitFor("yes")).rejects.toThrow(/ended \(4\) before yes: nsenter .*\nno\n/);
  });
});

describeKernel("traffic", () => {
  test("UDP one way, echoed, and to nobody", async () => {
    await using net = await createTestNet();
    expect(await net.udpOneWay({ count: 500, size: 1000, sport: 4000 })).toMatchObject({
      sent: 500,
      received: 500,
      distinct: 500,
    });
    expect(await net.udpEcho({ count: 50, from: "inside" })).toEqual({ sent: 50, replies: 50 });
    const before = await net.stats("inside", "eth0");
    expect(await net.sendUdp({ count: 20 })).toEqual({ sent: 20 });
    expect((await net.stats("inside", "eth0")).rx_packets - before.rx_packets).toBe(20);
    await expect(net.sendUdp({ count: 1e9 })).rejects.toThrow("at most 1,000,000");
  });

  test("TCP, compared byte for byte", async () => {
    await using net = await createTestNet();
    const bytes = 300_000;
    expect(await net.tcpEcho({ bytes, connections: 2 })).toEqual({
      connections: 2,
      intact: 2,
      bytesSent: 2 * bytes,
      bytesEchoed: 2 * bytes,
      error: null,
    });
  });

  test("IPv6", async () => {
    await using net = await createTestNet({ ipv6: true });
    expect(await net.udpOneWay({ count: 5, family: 6 })).toMatchObject({ received: 5 });
    expect(await net.tcpEcho({ bytes: 1000, family: 6 })).toMatchObject({ intact: 1 });
  });

  test("loss is a result, not an error, and does not hang", async () => {
    await using net = await createTestNet();
    const wrongMac = [
      "neigh",
      "replace",
      "10.77.0.1",
      "lladdr",
      "02:00:00:00:00:99",
      "dev",
      "peer0",
      "nud",
      "permanent",
    ];
    await net.exec("outside", "ip", wrongMac);
    const [ping, udp, echo, tcp] = await Promise.all([
      net.ping({ count: 2, timeoutMs: 1_000 }),
      net.udpOneWay({ count: 3 }),
      net.udpEcho({ count: 2 }),
      net.tcpEcho({ timeoutMs: 500 }),
    ]);
    expect(ping.received).toBe(0);
    expect(udp).toMatchObject({ sent: 3, received: 0, distinct: 0 });
    expect(echo).toEqual({ sent: 2, replies: 0 });
    expect(tcp).toMatchObject({ intact: 0, error: "timeout" });
  });
});

describeKernel("cleaning up after a process", () => {
  /** Starts hold-network.ts and resolves with the name it prints. */
  const hold = async (how: string): Promise<{ readonly child: ChildProcess; readonly name: string }> => {
    const child = spawn(process.execPath, [...TSX, HOLD, how], { stdio: ["ignore", "pipe", "ignore"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    let printed = "";
    for await (const chunk of child.stdout) {
      printed += String(chunk);
      if (printed.includes("\n")) break;
    }
    return { child, name: printed.trim() };
  };
  const ended = (child: ChildProcess): Promise<number | NodeJS.Signals | null> =>
    new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode ?? child.signalCode);
      else child.once("exit", (code, signal) => resolve(code ?? signal));
    });

  test.each([
    ["exit", undefined, 0],
    ["throw", undefined, 1],
    ["wait", "SIGINT", "SIGINT"],
    ["wait", "SIGTERM", "SIGTERM"],
    ["wait", "SIGHUP", "SIGHUP"],
  ] as const)("%s %s", async (how, signal, result) => {
    const { child, name } = await hold(how);
    expect(name).toMatch(/^tsbpf-t-/);
    if (signal !== undefined) child.kill(signal);
    expect(await ended(child)).toBe(result);
    expect(listNamespaces()).not.toContain(name);
  });

  const swept = (): readonly string[] => sweepDeadNamespaces().map(({ name }) => name);

  test("after SIGKILL the sweep does it, and leaves the living alone", async () => {
    await using mine = await createTestNet();
    const { child, name } = await hold("wait");
    expect(swept()).not.toContain(name);
    child.kill("SIGKILL");
    await ended(child);
    expect(listNamespaces()).toContain(name);
    const [orphan] = execFileSync("ip", ["netns", "pids", name], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map(Number);
    expect(orphan).toBeGreaterThan(0);
    expect(sweepDeadNamespaces(process.pid)).toEqual([]); // not of that run
    expect(swept()).toContain(name);
    expect(listNamespaces()).not.toContain(name);
    expect(listNamespaces()).toContain(mine.inside.name);
    expect(await gone(() => isAlive(orphan ?? 0))).toBe(true);
  });
});

describeKernel("sweepDeadRuns", () => {
  /** No process ever has this id: PID_MAX_LIMIT is 2^22. */
  const NOBODY = 4194305;

  test("what killed runs left goes, what live ones have stays, and the machine has settled", async () => {
    await using mine = await createTestNet();
    const bpffs = ensureBpffs();
    const tracefs = ensureTracefs();
    const orphan = spawn("sleep", ["60"], { env: { ...process.env, TSBPF_TEST_RUN: String(NOBODY) } });
    onTestFinished(() => void orphan.kill("SIGKILL"));
    expect(await gone(() => heirsOfDeadRuns().every(({ pid }) => pid !== orphan.pid))).toBe(true);
    const dead = `tsbpf-t-${NOBODY}-${NOBODY}-0-${process.pid}-a`;
    execFileSync("ip", ["netns", "add", dead]);
    const { ino } = statSync(`/run/netns/${dead}`);
    const mounted = mkdtempSync(`${PRIVATE_BPFFS}${NOBODY}-`);
    execFileSync("mount", ["-t", "bpf", "bpf", mounted]);
    const directories = [
      `${bpffs}/tsbpf/${ino}-2`, // of the dead namespace
      `${bpffs}/tsbpf/1-2`, // of no namespace at all
      `${bpffs}/tsbpf-test-sweep-${NOBODY}-${process.pid}`,
      `${tracefs}/instances/tsbpf-t-${NOBODY}-${process.pid}`,
    ];
    const kept = [
      `${bpffs}/tsbpf/${mine.inside.inode}-2`,
      `${bpffs}/tsbpf-test-sweep-${process.pid}`,
      `${tracefs}/instances/tsbpf-t-${process.pid}`,
    ];
    onTestFinished(() => void removePinsOf(mine.inside.inode)); // takes the empty parent with it
    for (const path of kept.slice(1)) onTestFinished(() => rmdirSync(path));
    for (const path of [...directories, ...kept]) mkdirSync(path, { recursive: true });

    const all = [`process ${orphan.pid} sleep 60`, `network namespace ${dead}`, ...directories, mounted];
    const removed = await sweepDeadRuns();
    // Another run that begins at this moment may be faster with some.
    expect(all.filter((what) => removed.includes(what))).not.toEqual([]);
    expect([...directories, mounted].filter(existsSync)).toEqual([]);
    expect(await gone(() => isAlive(orphan.pid ?? 0))).toBe(true);
    expect(listNamespaces()).not.toContain(dead);
    expect(listNamespaces()).toContain(mine.inside.name);
    expect(kept.filter((path) => !existsSync(path))).toEqual([]);
    const again = await sweepDeadRuns();
    expect(all.filter((what) => again.includes(what))).toEqual([]);
  });

  test("a process that is ended by a signal takes the pins of its networks along", async () => {
    const child = spawn(process.execPath, [...TSX, HOLD, "wait", "pins"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [printed] = await once(child.stdout, "data");
    const { ino } = statSync(`/run/netns/${String(printed).trim()}`);
    const pins = `/sys/fs/bpf/tsbpf/${ino}-2`;
    expect(existsSync(pins)).toBe(true);
    child.kill("SIGTERM");
    await once(child, "exit");
    expect(existsSync(pins)).toBe(false);
  });
});

describeKernel("inNetns", () => {
  const interfaces = (): string[] =>
    readFileSync("/proc/thread-self/net/dev", "utf8")
      .split("\n")
      .slice(2)
      .filter(Boolean)
      .map((line) => line.split(":")[0]?.trim() ?? "");

  test("runs there and comes back, also after an error", async () => {
    await using net = await createTestNet();
    const home = interfaces();
    expect(inNetns(net.inside.path, interfaces).sort()).toEqual(["eth0", "lo"]);
    expect(interfaces()).toEqual(home);
    const fail = (): never => {
      throw new Error("inside");
    };
    expect(() => inNetns(net.inside.path, fail)).toThrow("inside");
    expect(() => inNetns(net.inside.path, async () => 1)).toThrow("must be synchronous");
    expect(() => inNetns("/run/netns/tsbpf-none", interfaces)).toThrow("ENOENT");
    expect(() => inNetns("/proc/self/ns/mnt", interfaces)).toThrow("setns /proc/self/ns/mnt: errno 22");
    expect(interfaces()).toEqual(home);
  });
});

describeKernel("watchFds", () => {
  test("names what was left open", () => {
    const leaks = watchFds();
    expect(leaks()).toEqual([]);
    const fds = [openSync("/proc/self/ns/net", "r"), openSync("/proc/self/ns/net", "r")];
    try {
      expect(openFds().get("net")).toBeGreaterThanOrEqual(2);
      expect(leaks()).toEqual(["2 x net still open"]);
    } finally {
      for (const fd of fds) closeSync(fd);
    }
    expect(leaks()).toEqual([]);
  });
});

describeKernel("leftovers", () => {
  test("a namespace, a pin and a tracing instance are seen", async () => {
    const bpffs = ensureBpffs();
    const tracefs = ensureTracefs();
    const unique = `tsbpf-t-${process.pid}`;
    const before = takeSnapshot();
    const net = await createTestNet();
    mkdirSync(join(bpffs, unique));
    mkdirSync(join(tracefs, "instances", unique));
    const during = compareSnapshots(before, takeSnapshot());
    rmdirSync(join(tracefs, "instances", unique));
    rmdirSync(join(bpffs, unique));
    net.dispose();
    const after = compareSnapshots(before, takeSnapshot());
    for (const line of [
      `network namespace left behind: ${net.inside.name}`,
      `bpffs entry left behind: ${unique}`,
      `tracing instance left behind: ${unique}`,
    ]) {
      expect(during).toContain(line);
      expect(after).not.toContain(line);
    }
  });

  test("a process is found by what it inherited", async () => {
    const marker = `TSBPF_TEST_MARKER=${process.pid}`;
    const child = spawn("sleep", ["60"], { env: { ...process.env, TSBPF_TEST_MARKER: String(process.pid) } });
    onTestFinished(() => void child.kill("SIGKILL"));
    expect(await gone(() => processesWith(marker)[0]?.command !== "sleep 60")).toBe(true);
    expect(processesWith(marker).map(({ pid }) => pid)).toEqual([child.pid]);
    const age = Date.now() - (startOf(child.pid ?? 0) ?? 0);
    expect([age > -2_000, age < 60_000]).toEqual([true, true]); // the start of the machine is known to the second
    child.kill("SIGKILL");
    expect(await gone(() => processesWith(marker).length > 0)).toBe(true);
    expect(startOf(4194305)).toBeUndefined();
  });
});

describeKernel("mounts", () => {
  test("bpffs and tracefs are there during the tests", () => {
    expect([ensureBpffs(), ensureTracefs()]).toEqual(["/sys/fs/bpf", "/sys/kernel/tracing"]);
    expect(isMounted("/sys/fs/bpf")).toBe(true);
    expect(isMounted("/sys/kernel/tracing")).toBe(true);
    expect(existsSync("/sys/kernel/tracing/trace_pipe")).toBe(true);
  });

  /** Runs code in a child with its own mounts (nothing it does is visible here) and its own holders. */
  const alone = (code: string): unknown => {
    const directory = mkdtempSync(join(tmpdir(), "tsbpf-mounts-"));
    try {
      const prelude = `
        import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, writeFileSync } from "node:fs";
        import { execFileSync } from "node:child_process";
        const { ensureBpffs, ensureTracefs, isMounted, releaseDeadMounts, releaseMounts, sharedWithOthers } = await import("${MOUNTS}");
        const root = process.env.TMPDIR + "/tsbpf-test-mounts";
        for (const target of ["/sys/fs/bpf", "/sys/kernel/tracing"]) while (isMounted(target)) execFileSync("umount", [target]);
        const mounted = () => [isMounted("/sys/fs/bpf"), isMounted("/sys/kernel/tracing")];
      `;
      const args = [
        "-m",
        "--propagation",
        "private",
        process.execPath,
        ...TSX,
        "--input-type=module",
        "-e",
        prelude + code,
      ];
      const env = { ...process.env, TMPDIR: directory, TSBPF_TEST_RUN: "" };
      return JSON.parse(execFileSync("unshare", args, { encoding: "utf8", env, timeout: 30_000 }));
    } finally {
      rmSync(directory, { recursive: true });
    }
  };

  test("what was missing is mounted and unmounted again", () => {
    const steps = alone(`
      const steps = [mounted()];
      ensureBpffs(); ensureBpffs(); steps.push(mounted());
      ensureTracefs(); steps.push(mounted());
      steps.push(sharedWithOthers(), releaseMounts(), mounted(), existsSync(root));
      console.log(JSON.stringify(steps));
    `);
    expect(steps).toEqual([[false, false], [true, false], [true, true], false, [], [false, false], false]);
  });

  test("what was mounted before stays mounted", () => {
    const steps = alone(`
      execFileSync("mount", ["-t", "bpf", "bpf", "/sys/fs/bpf"]);
      ensureBpffs(); ensureTracefs();
      console.log(JSON.stringify([releaseMounts(), mounted()]));
    `);
    expect(steps).toEqual([[], [true, false]]);
  });

  test("what another live run holds stays mounted; a dead one holds nothing", () => {
    const steps = alone(`
      mkdirSync(root + "/holders", { recursive: true });
      writeFileSync(root + "/holders/" + process.ppid, "");
      writeFileSync(root + "/holders/4194305", "");
      mkdirSync(root + "/lock"); writeFileSync(root + "/lock/pid", "4194305");
      ensureBpffs();
      const steps = [readdirSync(root + "/holders").length, sharedWithOthers(), releaseMounts(), mounted()[0]];
      steps.push(releaseDeadMounts(), mounted()[0]);
      console.log(JSON.stringify(steps));
    `);
    expect(steps).toEqual([2, true, [], true, [], true]);
  });

  test("a process that has got the id of a dead run by chance holds nothing", () => {
    const steps = alone(`
      const { spawn } = await import("node:child_process");
      mkdirSync(root + "/holders", { recursive: true });
      const file = (pid) => root + "/holders/" + pid;
      writeFileSync(file("old"), "");
      await new Promise((resolve) => setTimeout(resolve, 4000));
      const other = spawn("sleep", ["60"], { stdio: "ignore" });
      renameSync(file("old"), file(other.pid));
      ensureBpffs();
      const steps = [existsSync(file(other.pid)), releaseMounts(), mounted()[0]];
      other.kill("SIGKILL");
      console.log(JSON.stringify(steps));
    `);
    expect(steps).toEqual([false, [], false]);
  });

  test("what only dead runs hold is unmounted by the sweep", () => {
    const steps = alone(`
      ensureBpffs(); ensureTracefs();
      renameSync(root + "/holders/" + process.pid, root + "/holders/4194305");
      console.log(JSON.stringify([releaseDeadMounts(), mounted(), existsSync(root), releaseDeadMounts()]));
    `);
    expect(steps).toEqual([["/sys/fs/bpf", "/sys/kernel/tracing"], [false, false], false, []]);
  });

  test("what the product mounted and did not live to unmount goes with the sweep, unless pins are in it", () => {
    const steps = alone(`
      const { releaseProductMounts: sweep } = await import("${SWEEP}");
      for (const [type, target] of [["bpf", "/sys/fs/bpf"], ["tracefs", "/sys/kernel/tracing"]])
        execFileSync("mount", ["-t", type, "tsbpf", target]);
      mkdirSync("/sys/fs/bpf/mine");
      const steps = [sweep(), mounted()];
      rmdirSync("/sys/fs/bpf/mine");
      steps.push(sweep(), mounted());
      execFileSync("mount", ["-t", "bpf", "bpf", "/sys/fs/bpf"]);
      steps.push(sweep(), mounted());
      console.log(JSON.stringify(steps));
    `);
    expect(steps).toEqual([
      ["/sys/kernel/tracing"],
      [true, false],
      ["/sys/fs/bpf"],
      [false, false],
      [],
      [true, false],
    ]);
  });

  test("a bpffs with pins in it is not unmounted", () => {
    const steps = alone(`
      ensureBpffs(); mkdirSync("/sys/fs/bpf/mine");
      const first = releaseMounts();
      rmdirSync("/sys/fs/bpf/mine");
      console.log(JSON.stringify([first, mounted()[0], releaseMounts(), mounted()[0]]));
    `);
    expect(steps).toEqual([["/sys/fs/bpf stays mounted, it holds mine"], true, [], false]);
  });
});
