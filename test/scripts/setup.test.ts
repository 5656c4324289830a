// scripts/setup.sh against pretended machines. What it does with a real apt and a real registry was tried on fresh
// Debian 12, 13 and sid systems; here is everything that must hold on any machine.
import { spawn } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createMachine, type Machine } from "./machine.ts";

const SETUP = new URL("../../scripts/setup.sh", import.meta.url);
const ROOT = process.getuid?.() === 0;

/** What setup.sh itself is written with. */
const TOOLS = "sh cat cksum uname find dirname mktemp rm chmod mkdir cp awk grep sed cut id date".split(" ");
const NPM = 'mkdir -p node_modules && echo "npm $*" >>npm.log && touch node_modules/.package-lock.json';

/** A machine with everything; `scripts` replaces commands, `null` removes one. */
function machine(scripts: Readonly<Record<string, string | null>> = {}, installed = true): Machine {
  const all: Record<string, string | null> = {
    node: "echo v20.19.0",
    npm: NPM,
    bpftool: 'echo "bpftool v7.5.0"; echo "using libbpf v1.5"',
    ...Object.fromEntries(
      ["ip", "tc", "ping", "nsenter", "mount", "taskset"].map((name) => [name, "exit 0"]),
    ),
    ...scripts,
  };
  const present = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null);
  const made = createMachine([...TOOLS, "touch", "sleep"], Object.fromEntries(present));
  mkdirSync(join(made.repo, "scripts"));
  copyFileSync(SETUP, join(made.repo, "scripts/setup.sh"));
  writeFileSync(join(made.repo, "package-lock.json"), "{}\n");
  if (installed) {
    mkdirSync(join(made.repo, "node_modules"));
    writeFileSync(join(made.repo, "node_modules/.package-lock.json"), "{}\n");
  }
  return made;
}

const setup = (made: Machine, ...args: readonly string[]): ReturnType<Machine["run"]> =>
  made.run(["sh", "scripts/setup.sh", ...args]);
const npmLog = (made: Machine): string => {
  const path = join(made.repo, "npm.log");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
};

describe("nothing missing", () => {
  test("silent, and no npm", () => {
    const made = machine({ npm: "echo npm was started; exit 1" });
    expect(setup(made)).toEqual({ stdout: "", stderr: "", status: 0 });
    expect(setup(made)).toEqual({ stdout: "", stderr: "", status: 0 }); // by its stamp now
    expect(setup(made, "--check")).toEqual({ stdout: "", stderr: "", status: 0 });
    expect(made.temporaryFiles()).toEqual([]);
  });

  test("silent for an ordinary user too", () => {
    const made = machine();
    expect(made.run(["sh", "scripts/setup.sh"], { asNobody: true })).toEqual({
      stdout: "",
      stderr: "",
      status: 0,
    });
  });

  test("from any directory", () => {
    const made = machine({}, false);
    expect(made.run(["sh", "-c", "cd / && exec sh $OLDPWD/scripts/setup.sh"]).status).toBe(0);
    expect(npmLog(made)).toContain("npm ci");
  });
});

describe("arguments", () => {
  test("--help", () => {
    const { stdout, status } = setup(machine(), "--help");
    expect(stdout).toMatch(/^usage: sh scripts\/setup.sh \[--check\] \[--with-llvm\]\n/);
    expect(status).toBe(0);
  });

  test.each(["--chek", "now", ""])("%j is an error", (argument) => {
    const { stderr, stdout, status } = setup(machine(), argument);
    expect(stderr).toContain(`setup: unknown argument '${argument}'\nusage: `);
    expect({ stdout, status }).toEqual({ stdout: "", status: 2 });
  });
});

describe("Node.js", () => {
  test.each(["v18.20.4", "v20.18.3", "v20.9.0"])("%s is too old", (version) => {
    const { stderr, status } = setup(machine({ node: `echo ${version}` }));
    expect(stderr).toBe(`setup: Node.js ${version.slice(1)} is too old: tsbpf needs 20.19 or newer\n`);
    expect(status).toBe(1);
  });

  test.each(["v20.19.0", "v20.20.2", "v22.0.0", "v100.1.0", "v24.0.0-nightly20250101"])(
    "%s will do",
    (version) => {
      expect(setup(machine({ node: `echo ${version}` }))).toEqual({ stdout: "", stderr: "", status: 0 });
    },
  );

  test("missing", () => {
    const { stderr, status } = setup(machine({ node: null }));
    expect(stderr).toContain("setup: node is missing: tsbpf needs Node.js 20.19 or newer\n");
    expect(status).toBe(1);
  });
});

describe("npm packages", () => {
  test("a clone without node_modules gets them once", () => {
    const made = machine({}, false);
    expect(setup(made)).toEqual({
      stdout: "setup: installing the npm packages of package-lock.json (npm ci)\n",
      stderr: "",
      status: 0,
    });
    expect(npmLog(made)).toMatch(/^npm ci --include=dev .*\n$/);
    expect(setup(made).stdout).toBe("");
  });

  test("an interrupted installation is repeated", () => {
    const made = machine();
    rmSync(join(made.repo, "node_modules/.package-lock.json"));
    setup(made);
    expect(npmLog(made)).toContain("npm ci");
  });

  test("a changed lock file is installed, a merely touched one is not", () => {
    const made = machine();
    const lock = join(made.repo, "package-lock.json");
    const inAnHour = Date.now() / 1000 + 3600;
    setup(made);
    utimesSync(lock, inAnHour, inAnHour);
    setup(made);
    expect(npmLog(made)).toBe("");
    writeFileSync(lock, '{ "changed": true }\n');
    utimesSync(lock, inAnHour, inAnHour);
    setup(made);
    expect(npmLog(made)).toContain("npm ci");
    expect(setup(made).stdout).toBe("");
  });

  test("what npm says is shown when it fails", () => {
    const made = machine({ npm: "echo some output; echo 'npm error network' >&2; exit 1" }, false);
    const { stderr, status } = setup(made);
    expect(stderr).toBe(
      "    some output\n    npm error network\n" +
        "setup: npm ci failed: the npm packages are not installed\nsetup: is the network up? `npm ci` shows more\n",
    );
    expect(status).toBe(1);
    expect(made.temporaryFiles()).toEqual([]);
  });

  test("npm missing", () => {
    const { stderr, status } = setup(machine({ npm: null }, false));
    expect(stderr).toContain("setup: npm is missing: the npm packages cannot be installed\n");
    expect(status).toBe(1);
  });
});

describe("system tools", () => {
  test("--check lists what is missing and installs nothing", () => {
    const made = machine(
      { ping: null, nsenter: null, taskset: null, "apt-get": "echo apt >>npm.log" },
      false,
    );
    expect(setup(made, "--check")).toEqual({
      stdout:
        "missing: npm packages (npm ci)\n" +
        "missing: iputils-ping (ping: the demo's first packets)\n" +
        "missing: util-linux (nsenter and taskset: commands in a namespace, on a chosen core)\n",
      stderr: "",
      status: 1,
    });
    expect(npmLog(made)).toBe("");
    expect(existsSync(join(made.repo, "node_modules"))).toBe(false);
  });

  test("without root: a note, and on with the tests that need none", () => {
    const made = machine({ ping: null, "apt-get": "exit 1" });
    const { stderr, status } = made.run(["sh", "scripts/setup.sh"], { asNobody: true });
    expect(stderr).toBe(
      "setup: missing: iputils-ping; not root, so not installed. As root: sh scripts/setup.sh\n",
    );
    expect(status).toBe(0);
  });

  test.runIf(ROOT)("without apt: what to install, and exit 1", () => {
    const { stderr, status } = setup(machine({ ping: null }));
    expect(stderr).toBe(
      "setup: missing: iputils-ping; this is neither Debian nor Ubuntu (no apt-get): install it with your package manager\n",
    );
    expect(status).toBe(1);
  });

  test.runIf(ROOT)("without network: apt's own words, and exit 1", () => {
    const made = machine({ ping: null, "apt-get": "echo 'Could not resolve host' >&2; exit 100" });
    const { stderr, status } = setup(made);
    expect(stderr).toContain("    Could not resolve host\n");
    expect(stderr).toContain("setup: apt-get could not install iputils-ping\n");
    expect(status).toBe(1);
    expect(made.temporaryFiles()).toEqual([]);
  });

  test.runIf(ROOT)(
    "installed without recommendations and questions; lists are updated only if they are empty",
    () => {
      const apt = 'echo "$DEBIAN_FRONTEND $*" >>npm.log';
      const full = machine({ ping: null, "apt-get": apt, "apt-cache": "exit 0" });
      expect(setup(full).stdout).toBe("setup: installing iputils-ping (ping: the demo's first packets)\n");
      expect(npmLog(full)).toMatch(
        /^noninteractive .* install --yes --no-install-recommends iputils-ping\n$/,
      );
      const empty = machine({ ping: null, "apt-get": apt, "apt-cache": "exit 100" });
      setup(empty);
      expect(npmLog(empty)).toMatch(
        /^noninteractive .* update\nnoninteractive .* install .* iputils-ping\n$/,
      );
    },
  );

  test.runIf(ROOT)("--with-llvm asks for llvm as well", () => {
    const made = machine({ "apt-get": 'echo "$*" >>npm.log', "apt-cache": "exit 0" });
    expect(setup(made, "--with-llvm").stdout).toContain("setup: installing llvm (llvm-mc: ");
    expect(npmLog(made)).toContain("install --yes --no-install-recommends llvm\n");
  });
});

// Ubuntu keeps more than one bpftool; there a pretended one does not hide the others.
describe.skipIf(existsSync("/usr/lib/linux-tools"))("bpftool", () => {
  const OLD = { bpftool: 'echo "bpftool v7.1.0"; echo "using libbpf v1.1"' };

  test.each(["v7.5.0", "v7.10.1", "v8.0.0"])("%s will do", (version) => {
    expect(setup(machine({ bpftool: `echo "bpftool ${version}"` }))).toMatchObject({ stdout: "", status: 0 });
  });

  test.each([
    ["echo bpftool v7.1.0"],
    ["echo bpftool v7.4.0"],
    ["echo bpftool v5.15.0"],
    ["echo 'WARNING: bpftool not found for kernel 6.8.0' >&2; exit 2"],
  ])("%s will not", (bpftool) => {
    expect(setup(machine({ bpftool }), "--check").stdout).toBe(
      "missing: bpftool >= 7.5 (attaches to TCX, and checks our disassembly)\n",
    );
  });

  test("without root: a note, and on", () => {
    const { stderr, status } = machine({ ...OLD, "apt-get": "exit 1" }).run(["sh", "scripts/setup.sh"], {
      asNobody: true,
    });
    expect(stderr).toBe(
      "setup: missing: bpftool; not root, so not installed. As root: sh scripts/setup.sh\n" +
        "setup: no bpftool >= 7.5: going on without it, its TC backend is not available (`--tc tcx` is)\n",
    );
    expect(status).toBe(0);
  });

  test.runIf(ROOT)("a version that apt offers is installed by number", () => {
    const madison =
      'case $1 in madison) echo " bpftool | 7.1.0+6.1.1 | x"; echo " bpftool | 7.6.0+6.14~bpo | y";; esac';
    const made = machine({ ...OLD, "apt-get": 'echo "$*" >>npm.log', "apt-cache": madison });
    expect(setup(made).status).toBe(0);
    expect(npmLog(made)).toContain("install --yes --no-install-recommends bpftool=7.6.0+6.14~bpo\n");
  });

  test.runIf(ROOT)("without network: a note, and on", () => {
    const made = machine({ ...OLD, "apt-get": "echo 'Could not resolve host' >&2; exit 100" });
    const { stderr, status } = setup(made);
    expect(stderr).toContain("going on without it, its TC backend is not available");
    expect(status).toBe(0);
    expect(made.temporaryFiles()).toEqual([]);
  });
});

test("Ctrl-C leaves no temporary files", async () => {
  const made = machine({ npm: "echo started >>npm.log; sleep 30" }, false);
  const child = spawn(join(made.env["PATH"] ?? "", "sh"), ["scripts/setup.sh"], {
    cwd: made.repo,
    env: made.env,
    // A process group of its own, because a terminal's Ctrl-C reaches the whole group.
    detached: true,
    stdio: "ignore",
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  // Not before npm's own child runs: dash loses a signal that comes between two commands while it starts the next.
  for (let i = 0; i < 1_000 && !runsInGroup(child.pid ?? 0, "sleep"); i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(made.temporaryFiles()).toHaveLength(1);
  process.kill(-(child.pid ?? 0), "SIGINT");
  expect(await ended).toBe(130);
  expect(made.temporaryFiles()).toEqual([]);
});

/** Whether a process of that group runs a command of that name. */
function runsInGroup(group: number, command: string): boolean {
  return readdirSync("/proc").some((pid) => {
    try {
      const [, name, rest = ""] =
        /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
      return name === command && Number(rest.split(" ")[2]) === group;
    } catch {
      return false; // not a process, or one that has ended
    }
  });
}

test("names no host", () => {
  expect(readFileSync(SETUP, "utf8")).not.toMatch(/:\/\/|\b[\w-]+\.(org|com|net|io|dev)\b/);
});
