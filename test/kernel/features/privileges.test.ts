import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { describeKernel } from "../../support/privileges.ts";
import type { Confined, Outcome } from "./confined.ts";

const child = fileURLToPath(new URL("./confined.ts", import.meta.url));
const cwd = fileURLToPath(new URL("../../..", import.meta.url));

/** Runs the child below another program, which takes something from it. */
function confined(wrapper: readonly string[], ...args: readonly string[]): Confined {
  const [command = process.execPath, ...rest] = [
    ...wrapper,
    process.execPath,
    "--import",
    "tsx",
    child,
    ...args,
  ];
  return JSON.parse(execFileSync(command, rest, { encoding: "utf8", cwd })) as Confined;
}

/** Runs the child as root without these capabilities. */
function without(...capabilities: readonly string[]): Confined {
  const dropped = capabilities.map((name) => `-${name}`).join(",");
  return confined(["setpriv", `--bounding-set=${dropped}`, `--inh-caps=${dropped}`]);
}

const hasSetpriv = spawnSync("setpriv", ["--version"]).status === 0;
const hasUserNamespaces = spawnSync("unshare", ["--user", "--map-root-user", "true"]).status === 0;
const skipped = hasSetpriv ? "" : " [skipped: setpriv (util-linux) is not installed]";

/** Types whose bare program a kernel may refuse for reasons of its own, whoever asks. */
const OWN_REASONS = ["lsm", "ext"];

function checkAgainstTable(outcomes: Readonly<Record<string, Outcome>>): void {
  const wrong = Object.entries(outcomes)
    .filter(([type]) => !OWN_REASONS.includes(type))
    .filter(([, { denied, missing }]) => denied !== missing.length > 0)
    .map(
      ([type, { denied, missing }]) =>
        `${type}: ${denied ? "denied" : "not denied"}, table lacks [${missing}]`,
    );
  expect(wrong).toEqual([]);
}

/** An unknown type of map is refused before permissions are asked about. */
function known(maps: Confined["maps"]): Confined["maps"] {
  return Object.fromEntries(
    Object.entries(maps).filter(([, { denied, missing }]) => denied || missing.length === 0),
  );
}

describeKernel(`EPERM${skipped}`, () => {
  describe.skipIf(!hasSetpriv)("with a capability missing, every type of program and map", () => {
    test("CAP_NET_ADMIN", () => {
      const { progs, maps, answers } = without("sys_admin", "net_admin");
      checkAgainstTable(progs);
      checkAgainstTable(maps);
      const text = "This process lacks CAP_NET_ADMIN: run it as root, or grant the capability.";
      expect(progs["xdp"]).toEqual({ denied: true, cause: "capability", missing: ["CAP_NET_ADMIN"], text });
      expect(progs["kprobe"]).toMatchObject({ denied: false, missing: [] });
      expect(maps["devmap"]).toMatchObject({ denied: true, missing: ["CAP_NET_ADMIN"] });
      expect(answers["xdp"]).toEqual({
        answer: "unknown",
        since: "4.8",
        reason: `bpf(BPF_PROG_LOAD) says EPERM (Operation not permitted). ${text}`,
      });
      expect(answers["tcx"]).toMatchObject({ answer: "unknown", reason: expect.stringContaining(text) });
      expect(answers["flow_dissector"]).toMatchObject({
        answer: "unknown",
        reason: expect.stringMatching(/^bpf\(BPF_PROG_QUERY\) says EPERM .*lacks CAP_NET_ADMIN/),
      });
      expect(answers["kprobe"]).toEqual({ answer: "yes", since: "4.1" });
      expect(answers["jlt"]).toEqual({ answer: "yes", since: "4.14" });
    });

    test("CAP_PERFMON", () => {
      const { progs, maps, answers } = without("sys_admin", "perfmon");
      checkAgainstTable(progs);
      checkAgainstTable(maps);
      expect(progs["kprobe"]).toMatchObject({ denied: true, cause: "capability", missing: ["CAP_PERFMON"] });
      expect(progs["xdp"]).toMatchObject({ denied: false });
      // The kernel hides bpf_trace_printk, as if it were not there.
      expect(answers["printk"]).toEqual({
        answer: "unknown",
        since: "4.1",
        reason: "this process lacks CAP_PERFMON, without which the kernel hides some helpers",
      });
      expect(answers["ring_buffer_in_sched_act"]).toEqual({ answer: "yes", since: "5.8" });
    });

    test("CAP_BPF", () => {
      const { progs, maps, answers } = without("sys_admin", "bpf");
      checkAgainstTable(progs);
      checkAgainstTable(known(maps));
      expect(progs["socket_filter"]?.text).toMatch(/^This process lacks CAP_BPF: run it as root/);
      expect(maps["hash"]).toMatchObject({ denied: true, cause: "capability", missing: ["CAP_BPF"] });
      expect(answers["hash"]).toMatchObject({
        answer: "unknown",
        reason: expect.stringContaining("(kernel.unprivileged_bpf_disabled is "),
      });
      expect(answers["enum64"]).toMatchObject({
        answer: "unknown",
        reason: expect.stringContaining("CAP_BPF"),
      });
    });

    test("CAP_SYS_ADMIN: loading goes on, walking ids does not", () => {
      const { progs, maps, walk, answers } = without("sys_admin");
      checkAgainstTable(progs);
      checkAgainstTable(maps);
      expect(walk.split("\n")).toEqual([
        "bpf(BPF_PROG_GET_NEXT_ID) failed: EPERM (Operation not permitted) [start_id=0]",
        "  This process lacks CAP_SYS_ADMIN: run it as root, or grant the capability.",
      ]);
      expect(Object.values(answers).map(({ answer }) => answer)).toEqual(
        Object.keys(answers).map(() => "yes"),
      );
    });

    test("CAP_SYS_ADMIN stands for all others", () => {
      const { progs, maps, walk } = without("bpf", "net_admin", "perfmon");
      checkAgainstTable(progs);
      checkAgainstTable(maps);
      expect(walk).toBe("");
    });

    test("all: never `no`", () => {
      const { progs, answers } = confined(["setpriv", "--bounding-set=-all", "--inh-caps=-all"]);
      checkAgainstTable(progs);
      expect(progs["xdp"]?.missing).toEqual(["CAP_BPF", "CAP_NET_ADMIN"]);
      expect(progs["struct_ops"]?.text).toMatch(
        /^This process lacks CAP_BPF and CAP_PERFMON: run it as root, or grant the capabilities\./,
      );
      expect(Object.values(answers).filter(({ answer }) => answer === "no")).toEqual([]);
      for (const { answer, reason } of Object.values(answers)) {
        if (answer === "unknown") expect(reason).toMatch(/lacks CAP_/);
      }
    });
  });

  test.skipIf(!hasUserNamespaces)("in a user namespace, where root is none", () => {
    const { progs, answers } = confined(["unshare", "--user", "--map-root-user"]);
    expect(progs["xdp"]).toMatchObject({ denied: true, cause: "user namespace" });
    expect(answers["xdp"]).toMatchObject({
      answer: "unknown",
      reason: expect.stringContaining(
        "This process is in a user namespace, whose root has no power over BPF",
      ),
    });
  });

  test("from a seccomp filter, which forbids bpf(2) to root", () => {
    const { progs, answers, walk } = confined([], "seccomp");
    expect(progs["socket_filter"]).toMatchObject({ denied: true, cause: "seccomp", missing: [] });
    expect(answers["hash"]).toMatchObject({
      answer: "unknown",
      reason: expect.stringContaining("a seccomp filter is in force (Seccomp: 2 in /proc/self/status)"),
    });
    expect(walk).toContain("Container runtimes forbid bpf(2) with one");
    expect(Object.values(answers).map(({ answer }) => answer)).toEqual(
      Object.keys(answers).map(() => "unknown"),
    );
  });
});
