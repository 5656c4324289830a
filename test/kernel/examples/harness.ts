/** Runs the examples as their readers do: each as a process of its own, ended by Ctrl-C. */
import { expect } from "vitest";
import { exampleArgs, ROOT } from "../../examples/examples.ts";
import { startProcess, type TestNet, type TestProcess } from "../../support/netns.ts";

/** Starts an example, inside of a network if one is given, and waits until it has printed that it is ready. */
export async function startExample(
  name: string,
  args: readonly string[],
  ready: string | RegExp,
  net?: TestNet,
): Promise<TestProcess> {
  const command = exampleArgs(name, args);
  const running =
    net === undefined
      ? startProcess(process.execPath, command, { cwd: ROOT })
      : net.spawn("inside", process.execPath, command, { cwd: ROOT });
  await running.waitFor(ready, 30_000);
  return running;
}

/** Ends it as Ctrl-C does: it ends in order, without an error. Gives what it has printed. */
export async function interrupt(running: TestProcess): Promise<string> {
  const { stdout, stderr, code } = await running.stop("SIGINT");
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return stdout;
}

/** That no program is left on an interface of the inner namespace. */
export async function expectNoPrograms(net: TestNet, device = "eth0"): Promise<void> {
  const { stdout } = await net.exec("inside", "bpftool", ["-j", "net", "show", "dev", device]);
  const [shown] = JSON.parse(stdout) as readonly Record<
    "xdp" | "tc" | "flow_dissector",
    readonly unknown[]
  >[];
  expect(shown).toMatchObject({ xdp: [], tc: [] });
}
