/**
 * Runs the modules that it is told of on its standard input, one after the other, and prints a line of JSON for each: what came
 * of it. A process of its own, since it replaces `console.log`, looks at its file descriptors, and may have to be killed.
 */
import { readdirSync, readFileSync, unlinkSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { format } from "node:util";
import { watchFds } from "../../support/fd-leak.ts";

/** What to run. */
export interface ExampleRun {
  /** What they pin is in this directory, and goes after each. */
  readonly pins: string;
  readonly examples: readonly {
    readonly place: string;
    readonly path: string;
    /** It goes on for ever: it ends when it has printed once. */
    readonly endless: boolean;
  }[];
  readonly timeoutMs: number;
}

/** What came of an example. */
export interface ExampleResult {
  readonly place: string;
  /** Absent when it ran to its end, or has printed where it has none. */
  readonly error?: { readonly name: string; readonly message: string };
  /** What it printed. */
  readonly printed: string;
  /** Descriptors that it left open. */
  readonly leaks: readonly string[];
}

/** Ends an example that has printed what it has to. */
class Enough extends Error {}

if (process.argv[1] === import.meta.filename) {
  const run = JSON.parse(readFileSync(0, "utf8")) as ExampleRun;
  for (const example of run.examples) {
    process.stdout.write(`${JSON.stringify(await runExample(run, example))}\n`);
  }
  process.exit(0); // what an example left running is to show, not to wait for
}

async function runExample(
  { pins, timeoutMs }: ExampleRun,
  { place, path, endless }: ExampleRun["examples"][number],
): Promise<ExampleResult> {
  const lines: string[] = [];
  console.log = console.error = (...values: readonly unknown[]) => {
    lines.push(format(...values));
    if (endless) throw new Enough();
  };
  const leaks = watchFds();
  const error = await Promise.race([
    import(pathToFileURL(path).href).then(
      () => (endless ? new Error("it ended without a word") : undefined),
      (thrown: unknown) => (thrown instanceof Enough ? undefined : (thrown as Error)),
    ),
    setTimeout(timeoutMs, undefined, { ref: false }).then(() => new Error(`not done in ${timeoutMs} ms`)),
  ]);
  for (const name of readdirSync(pins)) unlinkSync(`${pins}/${name}`);
  // Without sockets: tsx, which compiles what is imported, opens some when it likes.
  const left = leaks().filter((line) => !line.includes("socket"));
  const result = { place, printed: lines.join("\n"), leaks: left };
  return error === undefined ? result : { ...result, error: { name: error.name, message: error.message } };
}
