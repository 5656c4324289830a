/** What came of the steps, in words. */
import Table from "cli-table3";
import { lackOf } from "./lacks.ts";
import type { StepResult } from "./transcript.ts";

/** One kernel's results. */
export interface KernelReport {
  readonly release: string;
  /** Whether everything went well, but for what the kernel lacks. */
  readonly ok: boolean;
  /** The demo's last line, or why there is none. */
  readonly demo: string;
  /** The XDP mode that the demo ran in. */
  readonly xdp: string;
  /** The TC backend that `auto` chose. */
  readonly tc: string;
  readonly passed: number;
  readonly skipped: number;
  readonly failures: readonly TestFailure[];
  /** What went wrong besides tests that failed. */
  readonly problems: readonly string[];
}

/** A test that failed. */
export interface TestFailure {
  readonly test: string;
  readonly message: string;
  /** What the kernel lacks that the test needs; `undefined` where the failure is ours to explain. */
  readonly lack: string | undefined;
}

/** Reads the output of the steps. `killed` tells that the machine's time was over. */
export function reportOf(release: string, steps: readonly StepResult[], killed: boolean): KernelReport {
  const output = (name: string): string => steps.find((step) => step.name === name)?.output ?? "";
  const demo = output("demo");
  const { passed, skipped, failures } = readVitest(release, output("tests"));
  const explained = failures.length > 0 && failures.every(({ lack }) => lack !== undefined);
  const problems = steps
    .filter(({ name, status }) => status !== 0 && !(name === "tests" && status === FAILED_TESTS && explained))
    .map(explainStep);
  if (steps.length === 0) problems.push("the machine did not come up: see the console's log");
  if (killed) problems.push("the machine was killed because its time was over");
  return {
    release,
    ok: problems.length === 0,
    demo: /^(\d+ of \d+) packets: /m.exec(demo)?.[1] ?? "failed",
    xdp: /^ {2}XDP .*, (\w+)$/m.exec(demo)?.[1] ?? "-",
    tc: /^ {2}TC .*, by (\w+)/m.exec(demo)?.[1] ?? "-",
    passed,
    skipped,
    failures,
    problems,
  };
}

/** One row for each kernel, and below it what failed where. */
export function formatReports(reports: readonly KernelReport[]): string {
  const table = new Table({
    head: ["kernel", "demo", "XDP", "TC", "tests passed", "failed", "kernel lacks it", "skipped"],
    style: { head: [], border: [], compact: true },
  });
  for (const { release, demo, xdp, tc, passed, failures, skipped } of reports) {
    const lacking = failures.filter(({ lack }) => lack !== undefined).length;
    table.push([release, demo, xdp, tc, passed, failures.length - lacking, lacking, skipped]);
  }
  const below = reports
    .filter(({ problems, failures }) => problems.length + failures.length > 0)
    .map(({ release, problems, failures }) =>
      [
        release,
        ...problems.map((problem) => `  ${problem}`),
        ...failures.flatMap(({ test, message, lack }) => [
          `  ${lack === undefined ? "×" : "-"} ${test}`,
          `      ${message}${lack === undefined ? "" : ` (${lack})`}`,
        ]),
      ].join("\n"),
    );
  return [table.toString(), ...below].join("\n\n");
}

/** The lines of vitest's `verbose` reporter: a test that hangs takes none of the earlier results with it. */
function readVitest(release: string, output: string): Pick<KernelReport, "passed" | "skipped" | "failures"> {
  const failures: TestFailure[] = [];
  const lines = output.split("\n");
  for (const [index, line] of lines.entries()) {
    const test = /^ *× (?:\|kernel\| )?(.*?)(?: \d+ms)?$/.exec(line)?.[1];
    const file = /^ FAIL {2}\|kernel\| (\S+) \[ /.exec(line)?.[1];
    if (file !== undefined) failures.push({ test: file, message: "the file did not load", lack: undefined });
    if (test === undefined) continue;
    const message = /^ *→ (.*)/.exec(lines[index + 1] ?? "")?.[1] ?? "";
    failures.push({ test, message, lack: lackOf(release, test) });
  }
  const count = (mark: string): number =>
    lines.filter((line) => line.trimStart().startsWith(`${mark} `)).length;
  return { passed: count("✓"), skipped: count("↓"), failures };
}

/** The status of vitest where tests failed. */
const FAILED_TESTS = 1;
/** The status of a step that `timeout -s KILL` ended. */
const KILLED = 128 + 9;

function explainStep({ name, status }: StepResult): string {
  if (status === undefined) return `${name} did not end`;
  return status === KILLED ? `${name} was killed: it took too long` : `${name} ended with status ${status}`;
}
