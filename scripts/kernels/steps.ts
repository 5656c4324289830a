import type { Step } from "./transcript.ts";

// The compiled command line (image.ts): starting tsx takes a minute in an emulated machine.
const tsbpf = "node dist/main.js";

/** What every kernel is asked, before the tests. */
export const STEPS: readonly Step[] = [
  { name: "doctor", seconds: 120, script: `${tsbpf} doctor` },
  { name: "demo", seconds: 300, script: `${tsbpf} demo` },
];

/** Tests of what differs between kernels: the calls, XDP and TC in every way, the sample with real packets. */
export const TESTS: readonly string[] = [
  "test/kernel/syscall/bpf.test.ts",
  "test/kernel/syscall/network.test.ts",
  "test/kernel/metadata.test.ts",
  "test/kernel/xdp.test.ts",
  "test/kernel/tc.test.ts",
  "test/kernel/cli/modes.test.ts",
];

/** vitest's kernel tests in these files and folders, one after the other, in one process to save time. */
export function testStep(paths: readonly string[], seconds: number): Step {
  const options = "--project kernel --no-file-parallelism --no-isolate --reporter=verbose";
  return {
    name: "tests",
    seconds,
    script: `node node_modules/.bin/vitest run ${options} ${paths.join(" ")}`,
  };
}
