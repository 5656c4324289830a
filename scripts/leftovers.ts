/**
 * What did a command leave on the machine? For `.ci/run`:
 *
 * ```
 * tsx scripts/leftovers.ts save FILE                    before; removes first what killed test runs left
 * tsx scripts/leftovers.ts compare FILE NAME=VALUE      after: exit 1 with a list, if anything is left
 * ```
 *
 * NAME=VALUE is a variable that the command had in its environment: a process that still carries it is a leftover.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { type Snapshot, takeSnapshot, waitForNoLeftovers } from "../test/support/leftovers.ts";
import { sweepDeadRuns } from "../test/support/sweep.ts";
import { processesWith } from "../test/support/test-run.ts";

const [mode, file, marker] = process.argv.slice(2);
if (mode === "save" && file !== undefined) {
  for (const what of await sweepDeadRuns())
    console.log(`removed, left behind by a run that was killed: ${what}`);
  writeFileSync(file, JSON.stringify(takeSnapshot()));
} else if (mode === "compare" && file !== undefined && marker?.includes("=")) {
  const before = JSON.parse(readFileSync(file, "utf8")) as Snapshot;
  const left = await waitForNoLeftovers(before, () =>
    processesWith(marker).map(({ pid, command }) => `process left behind: ${pid} ${command}`),
  );
  for (const line of left) console.log(line);
  if (left.length === 0) console.log("nothing left behind");
  process.exitCode = left.length === 0 ? 0 : 1;
} else {
  console.error("usage: leftovers.ts save FILE | leftovers.ts compare FILE NAME=VALUE");
  process.exitCode = 2;
}
