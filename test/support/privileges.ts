/**
 * The suite of a kernel test. What cannot run is skipped loudly: the reason is in the suite's name, and once per
 * file on stderr.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe } from "vitest";
import { missingPrivilege } from "./capabilities.ts";

let reported = false;

/**
 * `describe` for tests that need the kernel: the suite is skipped, with the reason in its name and on stderr, when
 * this process is not root or lacks a capability.
 *
 * @example
 * ```ts
 * describeKernel("cpu map", () => {
 *   test("create", () => { ... });
 * });
 * ```
 */
export function describeKernel(name: string, fn: () => void): void {
  const reason = missingPrivilege();
  if (reason === undefined) {
    describe(name, fn);
    return;
  }
  if (!reported) process.stderr.write(`kernel tests of this file are skipped: ${reason}\n`);
  reported = true;
  describe.skip(`${name} [skipped: ${reason}]`, fn);
}

/**
 * A command prefix that runs what follows without privileges: as nobody; as root without capabilities where nobody cannot
 * read the checkout, such as below /root.
 */
export function withoutPrivileges(): readonly [string, ...string[]] {
  const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"];
  const self = fileURLToPath(import.meta.url);
  const { status } = spawnSync("setpriv", [...nobody, "head", "-c1", self], { stdio: "ignore" });
  return ["setpriv", ...(status === 0 ? nobody : ["--bounding-set=-all", "--inh-caps=-all", "--"])];
}
