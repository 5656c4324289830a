import { describe, expect, test } from "vitest";
import { runHere } from "./run-here.ts";

const COMMANDS = ["up", "down", "status", "logs", "dump", "doctor", "features", "demo"] as const;

// What is wrong with a command line is said before anything is touched, with exit code 2.

describe("usage errors", () => {
  test.each([
    { args: ["upp", "eth0"], says: /error: unknown command 'upp'\n\(Did you mean up\?\)/ },
    { args: ["frobnicate"], says: /error: unknown command 'frobnicate'/ },
    { args: ["up"], says: /error: missing required argument 'iface'/ },
    {
      args: ["up", "eth0", "--qsze", "9"],
      says: /error: unknown option '--qsze'\n\(Did you mean --qsize\?\)/,
    },
    { args: ["up", "eth0", "--no-trce"], says: /error: unknown option '--no-trce'/ },
    { args: ["up", "eth0", "--qsize", "many"], says: /'many' is invalid.* It must be a whole number\./ },
    { args: ["up", "eth0", "--qsize", "1.5"], says: /'1\.5' is invalid/ },
    { args: ["up", "eth0", "--qsize"], says: /option '--qsize <n>' argument missing/ },
    { args: ["up", "eth0", "--tc", "tcxx"], says: /Allowed choices are auto, bpftool, tcx, clsact, off\./ },
    { args: ["up", "eth0", "--xdp-mode", "hw"], says: /Allowed choices are auto, native, generic\./ },
    { args: ["up", "eth0", "--missing", "abort"], says: /Allowed choices are pass, drop\./ },
    { args: ["down"], says: /error: name interfaces, or give --all/ },
    { args: ["down", "eth0", "--all"], says: /error: name interfaces, or give --all/ },
    { args: ["down", "--al"], says: /unknown option '--al'\n\(Did you mean --all\?\)/ },
    { args: ["status", "eth0"], says: /error: too many arguments for 'status'/ },
    { args: ["logs", "--count", "few"], says: /'few' is invalid/ },
    { args: ["demo", "eth0"], says: /error: too many arguments for 'demo'/ },
    { args: ["--frob"], says: /error: unknown option '--frob'/ },
  ])("$args", async ({ args, says }) => {
    const { code, stdout, stderr } = await runHere(args);
    expect(stderr).toMatch(says);
    expect(stderr).toContain("--help shows the options");
    expect([code, stdout]).toEqual([2, ""]);
  });

  test("no command at all prints the help to stderr", async () => {
    const { code, stdout, stderr } = await runHere([]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("Usage: tsbpf [options] [command]");
  });
});

describe("help", () => {
  test.each(COMMANDS)("%s --help", async (command) => {
    const { code, stdout, stderr } = await runHere([command, "--help"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`^Usage: tsbpf ${command} `));
    expect(stdout).toContain(`Examples:\n  $ tsbpf ${command}`);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test("the first page names every command and shows examples", async () => {
    const { code, stdout } = await runHere(["--help"]);
    expect(code).toBe(0);
    for (const command of COMMANDS) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command}\\b`, "m"));
    }
    expect(stdout).toContain("Examples:");
  });

  test("the first page fits a terminal of 80 columns", async () => {
    const { stdout } = await runHere(["--help"]);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test("--version", async () => {
    expect(await runHere(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });
});

describe("values that cannot be right, told before anything is touched", () => {
  test.each([
    {
      args: ["up", "eth0", "--qsize", "0"],
      says: "error: queue size 0 is not a whole number from 1 to 16384\n  The default is 192.",
    },
    {
      args: ["up", "eth0", "--qsize", "20000"],
      says: "error: queue size 20000 is not a whole number from 1 to 16384\n",
    },
    { args: ["up", "eth0", "--qsize", "-1"], says: "error: queue size -1 is not a whole number" },
    {
      args: ["up", "eth0", "--cpus", "0-x"],
      says: "error: '0-x' is not a list of CPUs\n  Write numbers and ranges, as in 0-3,5.\n",
    },
    { args: ["up", "eth0", "--cpus", ""], says: "error: '' is not a list of CPUs" },
    { args: ["up", "eth0", "--cpus", "99999"], says: "error: CPU 99999 does not exist\n  Online are 0" },
  ])("$args", async ({ args, says }) => {
    const { code, stdout, stderr } = await runHere(args);
    expect(stderr).toContain(says);
    expect([code, stdout]).toEqual([1, ""]);
  });
});
