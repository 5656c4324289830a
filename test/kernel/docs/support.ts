/** Runs the code of the documentation's pages, each block as a process of its own. */
import { expect } from "vitest";
import { type ExecResult, startProcess, type TestNet, type TestProcess } from "../../support/netns.ts";

/** Starts a block, inside of a network if one is given, and waits until it has printed this. */
export async function startBlock(
  path: string,
  args: readonly string[],
  ready: string | RegExp,
  net?: TestNet,
): Promise<TestProcess> {
  const running = start(path, args, net);
  await running.waitFor(ready, 30_000);
  return running;
}

/** Runs a block to its end, which must be a good one. */
export async function runBlock(
  path: string,
  args: readonly string[] = [],
  net?: TestNet,
): Promise<ExecResult> {
  const result = await start(path, args, net).ended();
  expect(result).toMatchObject({ code: 0, stderr: "" });
  return result;
}

/** Runs a block to its end, whatever that is. */
export function tryBlock(path: string, args: readonly string[], net: TestNet): Promise<ExecResult> {
  return start(path, args, net).ended();
}

function start(path: string, args: readonly string[], net?: TestNet): TestProcess {
  const command = ["--import", "tsx", path, ...args];
  return net === undefined
    ? startProcess(process.execPath, command)
    : net.spawn("inside", process.execPath, command);
}
