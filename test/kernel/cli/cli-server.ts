// Runs command lines in this process, one after the other, wherever it was started: a line of JSON in, such as
// ["status", "--json"], and a line with the result out. So a test can have many commands in a network or mount namespace,
// or several at the same instant, without a process start for each.
import { createInterface } from "node:readline";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { openCurrentNetns } from "../../../src/syscall/netns.ts";
import { runHere } from "../../cli/run-here.ts";

const sys = linuxSyscalls();
process.stdout.write("ready\n");
for await (const line of createInterface({ input: process.stdin })) {
  using home = openCurrentNetns(sys);
  const result = await runHere(JSON.parse(line) as string[]);
  sys.setns(home.number, 0); // a process of its own would have ended in the namespace of --netns
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
