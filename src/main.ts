#!/usr/bin/env node
import { runCli } from "./cli/cli.ts";

// The lines of TypeScript that `dump` and errors show: in the built package, too, whose programs are loaded after this.
process.setSourceMapsEnabled(true);

// A reader that has seen enough (`dump | head`) closes the pipe: that is no error. What works on nevertheless, as `up
// --foreground` does, listens itself, and ends in order.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  if (process.stdout.listenerCount("error") === 1) process.exit();
});

process.exitCode = await runCli(process.argv.slice(2));
