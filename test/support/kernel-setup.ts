/**
 * vitest's global setup of the kernel tests, run once in the main process: a swept machine and file systems before, a look at what was
 * left behind after. A leftover fails the run.
 */

import { writeFileSync } from "node:fs";
import { missingPrivilege } from "./capabilities.ts";
import { takeSnapshot, waitForNoLeftovers } from "./leftovers.ts";
import { ensureBpffs, ensureTracefs, releaseMounts, sharedWithOthers } from "./mounts.ts";
import { namespacesOfRun, sweepDeadNamespaces } from "./netns.ts";
import { sweepDeadRuns } from "./sweep.ts";
import { beginTestRun } from "./test-run.ts";

/** Called by vitest before the first kernel test; the function it returns is called after the last one. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  const missing = missingPrivilege();
  if (missing !== undefined) {
    process.stderr.write(`kernel tests are skipped: ${missing}\n`);
    return undefined;
  }
  beginTestRun();
  // .ci/run has just done it, before its own snapshot. Process ids come round: what had one that is in use was left then,
  // and taken away now it would be missed in the end.
  if (process.env["TSBPF_CI"] === undefined) {
    for (const what of await sweepDeadRuns()) {
      process.stderr.write(`removed, left behind by an earlier run that was killed: ${what}\n`);
    }
  }
  ensureBpffs();
  ensureTracefs();
  const before = takeSnapshot();
  return async () => {
    const difference = await waitForNoLeftovers(before);
    const alone = !sharedWithOthers();
    const namespaces = namespacesOfRun(process.pid);
    sweepDeadNamespaces(process.pid);
    const problems = [
      ...namespaces.map((name) => `network namespace left behind: ${name}`),
      ...releaseMounts(),
    ];
    // Objects, pins and threads do not say who made them. Alone on the machine (CI) they are ours.
    const others = difference.filter((line) => !namespaces.some((name) => line.endsWith(name)));
    if (alone && process.env["CI"] !== undefined) problems.push(...others);
    else
      for (const line of others)
        process.stderr.write(`left by these tests, or by another process: ${line}\n`);
    if (problems.length === 0) return;
    // vitest prints what a teardown throws, and exits with 0 all the same. Its report says nothing: .ci/run wants a file.
    process.exitCode = 1;
    const file = process.env["TSBPF_LEFTOVERS"];
    if (file !== undefined) writeFileSync(file, problems.map((line) => `${line}\n`).join(""));
    throw new Error(`the kernel tests left something behind:\n  ${problems.join("\n  ")}`);
  };
}
