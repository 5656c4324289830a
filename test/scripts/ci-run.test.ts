// .ci/run with pretended tools: the last line and the exit code, which others rely on.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createMachine } from "./machine.ts";

const RUN = new URL("../../.ci/run", import.meta.url);

interface Outcome {
  /** vitest's JSON report; undefined: it crashed before writing one. */
  readonly report?: Readonly<Record<string, unknown>>;
  /** What the kernel tests say that they left behind. */
  readonly leftovers?: string;
  readonly npm?: number;
  readonly setup?: number;
  /** The tool that fails. */
  readonly fails?: "biome" | "tsc" | "typedoc" | "tsx";
}

function run(outcome: Outcome): {
  readonly last: string;
  readonly stdout: string;
  readonly status: number | null;
} {
  const { report, leftovers, npm = 0, setup = 0, fails = "none" } = outcome;
  const made = createMachine(["bash", "sh", "dirname", "mktemp", "rm", "timeout", "node", "cp"], {
    npm: `for argument; do case $argument in --outputFile.json=*) file=\${argument#*=};; esac; done
      [ ! -f report.json ] || cp report.json "$file"
      [ ! -f leftovers ] || cp leftovers "$TSBPF_LEFTOVERS"
      read -r line && exit 99
      exit ${npm}`,
    npx: `[ "$2 $3" != "tsx scripts/leftovers.ts" ] || [ "$4" = compare ] || exit 0
      echo "ran $2"
      [ "$2" != ${fails} ]`,
  });
  mkdirSync(join(made.repo, ".ci"));
  mkdirSync(join(made.repo, "scripts"));
  copyFileSync(RUN, join(made.repo, ".ci/run"));
  writeFileSync(join(made.repo, "scripts/setup.sh"), `exit ${setup}\n`);
  if (report !== undefined) writeFileSync(join(made.repo, "report.json"), JSON.stringify(report));
  if (leftovers !== undefined) writeFileSync(join(made.repo, "leftovers"), leftovers);
  const { stdout, status } = made.run(["bash", ".ci/run"]);
  expect(made.temporaryFiles()).toEqual([]);
  return { last: stdout.split("\n").at(-2) ?? "", stdout, status };
}

const report = (passed: number, failed: number, pending = 0, todo = 0): Readonly<Record<string, number>> => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: pending,
  numTodoTests: todo,
});

test.each<[string, Outcome, string, number]>([
  ["all well", { report: report(10, 0) }, "14 passed, 0 failed", 0],
  ["skipped tests", { report: report(10, 0, 2, 1) }, "14 passed, 0 failed, 3 skipped", 0],
  ["failed tests", { report: report(8, 2), npm: 1 }, "12 passed, 2 failed", 1],
  ["a run that fails without a failed test", { report: report(10, 0), npm: 1 }, "14 passed, 1 failed", 1],
  ["a crash before the report", { npm: 1 }, "4 passed, 1 failed", 1],
  ["no test at all", { report: report(0, 0) }, "4 passed, 1 failed", 1],
  ["only skipped tests", { report: report(0, 0, 5) }, "4 passed, 1 failed, 5 skipped", 1],
  ["linter", { report: report(1, 0), fails: "biome" }, "4 passed, 1 failed", 1],
  ["types", { report: report(1, 0), fails: "tsc" }, "4 passed, 1 failed", 1],
  ["documentation", { report: report(1, 0), fails: "typedoc" }, "4 passed, 1 failed", 1],
  ["something left behind", { report: report(1, 0), fails: "tsx" }, "4 passed, 1 failed", 1],
  ["setup", { report: report(1, 0), setup: 1 }, "0 passed, 1 failed", 1],
])("%s", (_, outcome, last, status) => {
  expect(run(outcome)).toMatchObject({ last, status });
});

test("a failure stops nothing", () => {
  const { stdout } = run({ npm: 1, fails: "biome" });
  expect(stdout.match(/^ran \w+$/gm)).toEqual(["ran tsx", "ran biome", "ran tsc", "ran typedoc"]);
  expect(stdout).toContain("FAILED: linter (status 1)\n");
});

test("the last lines say what failed", () => {
  const testResults = [
    {
      name: "test/a.test.ts",
      status: "failed",
      message: "",
      assertionResults: [
        { status: "passed", fullName: "fine", failureMessages: [] },
        {
          status: "failed",
          fullName: "sums up",
          failureMessages: ["Error: \u001b[31m1\u001b[0m is not 2\n    at x"],
        },
      ],
    },
    { name: "test/b.test.ts", status: "failed", message: "no such module\nat y", assertionResults: [] },
    { name: "test/c.test.ts", status: "passed", message: "", assertionResults: [] },
  ];
  const { stdout } = run({
    report: { ...report(10, 1), testResults },
    npm: 1,
    leftovers: "network namespace left behind: x\n",
    fails: "tsc",
  });
  expect(stdout.slice(stdout.indexOf("== failed"))).toMatch(
    /^== failed\n\S*a\.test\.ts > sums up: Error: 1 is not 2\n\S*b\.test\.ts: no such module\nnetwork namespace left behind: x\ntypes \(status 1\)\n13 passed, 2 failed\n$/,
  );
  expect(run({ report: report(10, 0) }).stdout).not.toContain("== failed");
});
