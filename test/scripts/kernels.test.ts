import { expect, test } from "vitest";
import { lackOf } from "../../scripts/kernels/lacks.ts";
import { newestRelease } from "../../scripts/kernels/packages.ts";
import { formatReports, reportOf } from "../../scripts/kernels/report.ts";
import { parseTranscript } from "../../scripts/kernels/transcript.ts";

// The parts of scripts/kernels that need no virtual machine: which kernel is meant, and what its output says.

test.each([
  ["5.10", "5.10.0-32-cloud-amd64"],
  ["6.1", "6.1.0-50-cloud-amd64"],
  ["6.12", "6.12.107+deb13-cloud-amd64"],
  ["6.12.94", "6.12.94+deb13-cloud-amd64"],
  ["6.12.94+deb13-cloud-amd64", "6.12.94+deb13-cloud-amd64"],
  ["6", "6.12.107+deb13-cloud-amd64"],
  ["7.3", "7.3-cloud-amd64"],
  ["6.2", undefined],
  ["1.0", undefined],
])("the newest kernel %s", (version, release) => {
  const releases = [
    "6.12.94+deb13-cloud-amd64",
    "5.10.0-32-cloud-amd64",
    "5.10.0-30-cloud-amd64",
    "6.12.107+deb13-cloud-amd64",
    "6.1.0-50-cloud-amd64",
    "7.3-cloud-amd64",
  ];
  expect(newestRelease(version, releases)).toBe(release);
});

const DEMO = `network  tsbpf-demo-104 (eth0) <-> tsbpf-demo-104-peer
eth0: up
  XDP        program 2, native
  TC         ingress program 3, egress program 4, by clsact (this kernel has no TCX (before 6.6))

32 of 32 packets: XDP, TC ingress and TC egress on one core.
`;

const TESTS = ` RUN  v4.1.12 /tsbpf

 ✓ |kernel| test/kernel/a.test.ts > a > works 32ms
 × |kernel| test/kernel/a.test.ts > a > is refused 52ms
   → bpf(BPF_PROG_LOAD) failed: EINVAL (Invalid argument)
 ↓ |kernel| test/kernel/a.test.ts > a > is skipped

 Test Files  1 failed (1)
`;

test("a transcript is taken apart into steps", () => {
  const text =
    "\n@@ begin doctor\nall is well\n@@ end doctor 0\n\n@@ begin demo\nno newline\n@@ end demo 137\n";
  expect(parseTranscript(text)).toEqual([
    { name: "doctor", output: "all is well", status: 0 },
    { name: "demo", output: "no newline", status: 137 },
  ]);
});

test("a step that the machine did not survive has no status", () => {
  const [step] = parseTranscript("\n@@ begin demo\nhalf a li");
  expect(step).toEqual({ name: "demo", output: "half a li", status: undefined });
});

test("no transcript, no steps", () => {
  expect(parseTranscript("")).toEqual([]);
});

test("a report says what the demo showed and which tests failed", () => {
  const steps = parseTranscript(
    `\n@@ begin demo\n${DEMO}\n@@ end demo 0\n\n@@ begin tests\n${TESTS}\n@@ end tests 1\n`,
  );
  const report = reportOf("5.10.0-32-cloud-amd64", steps, false);
  expect(report).toEqual({
    release: "5.10.0-32-cloud-amd64",
    ok: false,
    demo: "32 of 32",
    xdp: "native",
    tc: "clsact",
    passed: 1,
    skipped: 1,
    failures: [
      {
        test: "test/kernel/a.test.ts > a > is refused",
        message: "bpf(BPF_PROG_LOAD) failed: EINVAL (Invalid argument)",
        lack: undefined,
      },
    ],
    problems: ["tests ended with status 1"],
  });
  const text = formatReports([report]);
  expect(text).toMatch(/5\.10\.0-32-cloud-amd64 +│ 32 of 32 +│ native +│ clsact +│ 1 +│ 1 +│ 0 +│ 1 +│/);
  expect(text).toContain(`5.10.0-32-cloud-amd64
  tests ended with status 1
  × test/kernel/a.test.ts > a > is refused
      bpf(BPF_PROG_LOAD) failed: EINVAL (Invalid argument)`);
});

test("what the kernel lacks is no failure of ours", () => {
  const output = " × |kernel| test/kernel/tc.test.ts > TC > tcx > attach 7ms\n   → EINVAL\n";
  const steps = parseTranscript(`\n@@ begin tests\n${output}@@ end tests 1\n`);
  const old = reportOf("6.1.0-50-cloud-amd64", steps, false);
  expect(old).toMatchObject({ ok: true, problems: [], failures: [{ lack: "TCX came with 6.6" }] });
  expect(formatReports([old])).toContain("TC > tcx > attach\n      EINVAL (TCX came with 6.6)");
  expect(reportOf("6.6.0", steps, false)).toMatchObject({ ok: false, failures: [{ lack: undefined }] });
});

test("a test file that does not load is a failure", () => {
  const output = " FAIL  |kernel| test/kernel/tc.test.ts [ test/kernel/tc.test.ts ]\nError: x\n";
  const steps = parseTranscript(`\n@@ begin tests\n${output}@@ end tests 1\n`);
  expect(reportOf("6.1", steps, false)).toMatchObject({
    ok: false,
    failures: [{ test: "test/kernel/tc.test.ts", message: "the file did not load" }],
  });
});

test.each([
  ["5.10.0-32-cloud-amd64", "test/kernel/xdp.test.ts > XDP > native runs native", undefined],
  [
    "5.10.0-32-cloud-amd64",
    "test/kernel/cli/modes.test.ts > a > 'generic', 'clsact'",
    "CPU maps in generic XDP",
  ],
  ["6.1.0-50-cloud-amd64", "test/kernel/cli/modes.test.ts > a > 'generic', 'clsact'", undefined],
  ["7.0", "test/kernel/tc.test.ts > TC > tcx > attach", undefined],
])("%s lacks what '%s' needs: %s", (release, name, lack) => {
  const found = lackOf(release, name);
  if (lack === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(lack);
});

test.each([
  ["", false, ["the machine did not come up: see the console's log"]],
  ["\n@@ begin demo\nx", true, ["demo did not end", "the machine was killed because its time was over"]],
  ["\n@@ begin demo\nx\n@@ end demo 137\n", false, ["demo was killed: it took too long"]],
])("a machine that fails is no success: %j", (text, killed, problems) => {
  expect(reportOf("7.3", parseTranscript(text), killed)).toMatchObject({
    ok: false,
    demo: "failed",
    xdp: "-",
    tc: "-",
    problems,
  });
});
