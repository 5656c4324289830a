import { TsbpfError } from "../base/error.ts";

/** Ctrl-C, SIGTERM or SIGHUP, while something was being done that could be taken back. */
export class InterruptedError extends TsbpfError {
  constructor() {
    super("interrupted: everything was taken back");
  }
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Turns SIGINT, SIGTERM and SIGHUP, and the end of whoever reads our output, into an AbortSignal while a piece of work
 * runs, so that the work can end in order. Without it the process would end at once, with the work half done.
 */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  const abort = (): void => controller.abort(new InterruptedError());
  for (const signal of SIGNALS) process.on(signal, abort);
  process.stdout.on("error", abort);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of SIGNALS) process.off(signal, abort);
    process.stdout.off("error", abort);
  }
}

/** Lets a signal that has come be seen, and throws where one has. */
export async function checkpoint(signal: AbortSignal): Promise<void> {
  // Immediates come right behind the event loop's look at the outside: the first one may come before the next look.
  for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setImmediate(resolve));
  signal.throwIfAborted();
}
