/** What every example does besides its own work: help, errors as sentences, and an orderly end on Ctrl-C. */
import { setTimeout } from "node:timers/promises";
import { TsbpfError } from "tsbpf/kernel";

/** What is wrong with the command line. */
export class UsageError extends Error {}

/**
 * Runs an example. Ctrl-C and SIGTERM abort the signal: `main` leaves its loop, and what it holds with `using` goes with it.
 *
 * @param help - printed for `--help`; its first line shows the arguments.
 */
export async function run(
  help: string,
  main: (args: readonly string[], signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    console.log(help.trim());
    return;
  }
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => controller.abort());
  process.stdout.on("error", () => controller.abort()); // whoever read it has gone
  try {
    const unknown = args.find((argument) => argument.startsWith("-"));
    if (unknown !== undefined) throw new UsageError(`there is no option ${unknown}`);
    await main(args, controller.signal);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`error: ${error.message}\n${help.trim().split("\n")[0]}`);
      process.exitCode = 2;
    } else if (error instanceof TsbpfError) {
      console.error(`error: ${error.message}`);
      process.exitCode = 1;
    } else {
      throw error;
    }
  }
}

/** Goes on every so many milliseconds, and a last time when the signal aborts. */
export async function* every(milliseconds: number, signal: AbortSignal): AsyncGenerator<void> {
  while (!signal.aborted) {
    await setTimeout(milliseconds, undefined, { signal }).catch(() => {});
    yield;
  }
}

/** Waits for the signal. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const keepAlive = setInterval(() => {}, 1 << 30);
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  clearInterval(keepAlive);
}
