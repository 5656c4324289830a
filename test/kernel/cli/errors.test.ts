import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { openCurrentNetns } from "../../../src/syscall/netns.ts";
import { type RunResult, runHere } from "../../cli/run-here.ts";
import { watchFds } from "../../support/fd-leak.ts";
import type { TestNet } from "../../support/netns.ts";
import { describeKernel, withoutPrivileges } from "../../support/privileges.ts";
import { cli, cliArgs, down, kernelView, NOTHING, REPO, sampleNet, status, up } from "./harness.ts";

// Everything that is refused: one clear message, exit code 1, and no trace of the attempt.

let net: TestNet;
let inNet: readonly string[];

/** Runs the command line in this process, and comes back from where `--netns` led it. */
async function run(...args: readonly string[]): Promise<RunResult> {
  const sys = linuxSyscalls();
  using home = openCurrentNetns(sys);
  try {
    return await runHere(args);
  } finally {
    sys.setns(home.number, 0);
  }
}

/** A script to stand in for bpftool, in a directory of its own. */
function fakeBpftool(script: string): { readonly directory: string; readonly command: string } & Disposable {
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-bpftool-"));
  const command = join(directory, "bpftool");
  writeFileSync(command, `#!/bin/sh\n${script}\n`);
  chmodSync(command, 0o755);
  return { directory, command, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}

/** Runs a command where each bpftool of the machine is that file. */
function insteadOfBpftool(file: string): readonly string[] {
  const places =
    "/usr/sbin/bpftool /usr/local/sbin/bpftool /usr/lib/linux-tools/*/bpftool /usr/lib/linux-*tools-*/bpftool";
  const script = `file=$1; shift; for b in ${places}; do [ -e "$b" ] && mount --bind "$file" "$b"; done; exec "$@"`;
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", file];
}

describeKernel("what up refuses", () => {
  beforeAll(async () => {
    net = await sampleNet({ secondPair: true });
    inNet = ["--netns", net.inside.name];
  });
  afterAll(() => net.dispose());
  afterEach(() => expect(kernelView(net)).toEqual(NOTHING));

  test.each([
    {
      args: ["eth7"],
      says: "error: there is no interface 'eth7' in this network namespace\n  There are: lo, eth0, eth1.\n",
    },
    {
      args: ["eth0", "eth7"],
      says: "error: there is no interface 'eth7' in this network namespace\n",
    },
    {
      args: ["an-interface-name"],
      says: "error: 'an-interface-name' is too long for an interface name: 17 bytes\n  The kernel takes at most 15.",
    },
    { args: ["ünïcödé-näme"], says: "is too long for an interface name: 17 bytes" },
    { args: ["../etc"], says: "error: '../etc' is not an interface name\n" },
    { args: [""], says: "error: '' is not an interface name\n" },
    { args: ["eth0", "--ingress-redirect", "eth9"], says: "error: there is no interface 'eth9'" },
    {
      args: ["eth0", "--bpffs", "/tmp"],
      says: "error: nothing can be pinned in /tmp: it is not on a bpffs\n  Mount one",
    },
    {
      args: ["eth0", "--bpffs", "/nosuch"],
      says: "error: nothing can be pinned in /nosuch: it is not on a bpffs\n",
    },
    { args: ["eth7", "--dry-run"], says: "error: there is no interface 'eth7'" },
  ])("up $args", async ({ args, says }) => {
    const leaks = watchFds();
    const { code, stdout, stderr } = await run("up", ...args, ...inNet);
    expect(stderr).toContain(says);
    expect(stderr.match(/error:/g)).toHaveLength(1);
    expect([code, stdout]).toEqual([1, ""]);
    expect(leaks()).toEqual([]);
  });

  test.each(["up", "down", "status"])("%s in a network namespace that does not exist", async (command) => {
    const args = command === "status" ? [] : ["eth0"];
    expect(await run(command, ...args, "--netns", "no-such-netns")).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: there is no network namespace 'no-such-netns'
  \`ip netns list\` shows the names there are.
`,
    });
  });

  test.each([{ args: ["up", "eth0"] }, { args: ["demo"] }])("$args without root", async ({ args }) => {
    const { code, stdout, stderr } = await cli(args, { via: withoutPrivileges() });
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      "error: this takes root: the process lacks CAP_SYS_ADMIN and CAP_NET_ADMIN\n" +
        "  Run it again with sudo. `dump`, `doctor` and `features` do without.\n",
    );
  });

  test("a down of what does not exist names what is up, and takes nothing down", async () => {
    expect(await run("down", "typo0", ...inNet)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^error: there is no interface 'typo0' .*\n {2}Nothing of ours is up here\./,
      ),
    });
    await up(net, { interfaces: ["eth0", "eth1"] });
    const { code, stdout, stderr } = await run("down", "eth0", "typo0", ...inNet);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      "error: there is no interface 'typo0' in this network namespace\n  Ours is up on: eth0, eth1.\n",
    );
    expect((await status(net)).interfaces).toHaveLength(2);
    expect(await run("down", "eth0", "eth1", ...inNet)).toMatchObject({ code: 0 });
    expect(await run("down", "eth0", "eth1", ...inNet)).toMatchObject({
      code: 0,
      stdout: "eth0: nothing of ours was there\neth1: nothing of ours was there\n",
    });
    expect(await run("down", "--all", ...inNet)).toMatchObject({ code: 0 });
  });

  test("up --dry-run says what it would do, and does nothing", async () => {
    const fresh = await run("up", "eth0", "--dry-run", "--tc", "tcx", "--cpus", "1", ...inNet);
    expect(fresh).toMatchObject({ code: 0, stderr: "" });
    expect(fresh.stdout).toMatch(
      /^eth0: would\n {2}create a CPU map with cores 1, queue size 192\n {2}pin to .*\n {2}attach TC ingress and TC egress by tcx \(as asked\)\n {2}attach XDP in native mode, else generic\n$/,
    );
    await up(net, { xdpMode: "generic" });
    const before = kernelView(net);
    const again = await run("up", "eth0", "--dry-run", "--tc", "off", ...inNet);
    expect(again.stdout).toContain("  leave TC alone\n  attach XDP in generic mode, in the place of ours\n");
    expect(kernelView(net)).toEqual(before);
    await down(net);
  });
});

describeKernel("bpftool", () => {
  test("missing or old: an error where it was asked for, and another backend with the reason where not", async () => {
    await using own = await sampleNet();
    const args = ["--netns", own.inside.name];
    using old = fakeBpftool("echo 'bpftool v7.1.0'");
    using broken = fakeBpftool("echo 'WARNING: bpftool not found for kernel' >&2; exit 2");
    const hint =
      "Install bpftool 7.5 or newer (scripts/setup.sh does), or attach without it: --tc tcx, or --tc clsact before kernel 6.6.";
    for (const [via, what] of [
      [insteadOfBpftool("/dev/null"), "bpftool was not found"],
      [insteadOfBpftool(old.command), "bpftool 7.1.0 cannot attach to TCX"],
      [insteadOfBpftool(broken.command), "bpftool was not found"],
    ] as const) {
      const refused = await cli(["up", "eth0", "--tc", "bpftool", ...args], { via });
      expect(refused).toEqual({ code: 1, stdout: "", stderr: `error: ${what}\n  ${hint}\n` });
      expect(kernelView(own)).toEqual(NOTHING);
    }
    const auto = await cli(["up", "eth0", ...args], { via: insteadOfBpftool(old.command) });
    expect(auto).toMatchObject({ code: 0, stderr: "" });
    expect(auto.stdout).toContain(
      "by tcx (bpftool 7.1.0 cannot attach to TCX (7.5 can); this kernel has TCX)",
    );
    await down(own);
  });

  test("that fails or lies is told in its own words, and nothing is left", async () => {
    await using own = await sampleNet();
    const version = `[ "$1" = version ] && echo 'bpftool v7.5.0' && exit`;
    using failing = fakeBpftool(`${version}; echo 'Error: no luck' >&2; exit 255`);
    using lying = fakeBpftool(`${version}; exit 0`);
    for (const [{ directory }, what] of [
      [failing, /^error: [^\n]*tc_ingress[\s\S]*no luck/],
      [lying, /^error: [^\n]*bpftool reported success, and 'tc_ingress' is not attached/],
    ] as const) {
      const { code, stderr } = await cli(["up", "eth0", "--tc", "bpftool", "--netns", own.inside.name], {
        env: { PATH: `${directory}:${process.env["PATH"]}` },
      });
      expect(stderr).toMatch(what);
      expect(code).toBe(1);
      expect(kernelView(own)).toEqual(NOTHING);
    }
  });
});

describeKernel("bpffs and tracefs that are not mounted", () => {
  /** Runs a script with the CLI as `$cli` where neither is mounted, and no ancestor can be seen that has them. */
  const bare = (net: TestNet, script: string) =>
    net.exec(
      "outside",
      "unshare",
      [
        ...["--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private", "sh", "-c"],
        `umount /sys/kernel/tracing /sys/fs/bpf
       cd "$1"; shift
       mounts() { grep -E ' (bpf|tracefs) ' /proc/mounts; echo "mounts: $?"; }
       ${script}`,
        ...["sh", REPO, ...cliArgs([])],
      ],
      { allowFailure: true, timeoutMs: 40_000 },
    );

  test("are mounted by up and unmounted by down", async () => {
    await using own = await sampleNet();
    const to = `--netns ${own.inside.name}`;
    const { stdout, stderr } = await bare(
      own,
      `mounts; "$@" up eth0 --tc tcx ${to} >/dev/null; mounts
       "$@" status --json ${to}; "$@" down eth0 ${to}; mounts`,
    );
    expect(stderr).toBe("");
    const [before = "", up = "", down = ""] = stdout.split(/mounts: \d\n/);
    expect(before).toBe("");
    expect(
      up
        .trim()
        .split("\n")
        .map((line) => line.split(" ").slice(0, 3))
        .sort(),
    ).toEqual([
      ["tsbpf", "/sys/fs/bpf", "bpf"],
      ["tsbpf", "/sys/kernel/tracing", "tracefs"],
    ]);
    expect(down).toContain(`"pins": "/sys/fs/bpf/tsbpf/${own.inside.inode}-2"`);
    expect(down).toContain("eth0: down, removed");
    expect(stdout).toMatch(/mounts: 1\n$/);
    expect(kernelView(own)).toEqual(NOTHING);
  });

  test("are unmounted again when up fails, and by logs", async () => {
    await using own = await sampleNet();
    const to = `--netns ${own.inside.name}`;
    const { stdout, stderr } = await bare(
      own,
      `"$@" up eth9 --tc tcx ${to}; mounts; "$@" logs & logs=$!
       until [ -d /sys/kernel/tracing/instances/tsbpf-$logs-0 ]; do sleep 0.1; done
       kill -TERM $logs; wait $logs; echo "logs: $?"; mounts`,
    );
    expect(stderr).toContain("error: there is no interface 'eth9'");
    expect(stdout).toBe("mounts: 1\nlogs: 0\nmounts: 1\n");
  });

  test("and cannot be: an error that says how, and nothing is left", async () => {
    await using own = await sampleNet();
    const { stdout, stderr } = await bare(
      own,
      `mount -t tmpfs none /sys/fs; mount -t tmpfs none /sys/kernel
       "$@" up eth0 --tc tcx --netns ${own.inside.name}; echo "up: $?"`,
    );
    expect(stderr).toContain(`error: bpffs is not mounted, and mounting it at /sys/fs/bpf failed
  mount failed: ENOENT (No such file or directory) [type=bpf, path=/sys/fs/bpf]
  Mount it as root: mount -t bpf bpffs /sys/fs/bpf
`);
    expect(stdout).toBe("up: 1\n");
    expect(kernelView(own)).toEqual(NOTHING);
  });
});
