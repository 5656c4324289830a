import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { describeKernel } from "../../support/privileges.ts";
import { interrupt, startExample } from "./harness.ts";

describeKernel("examples/execsnoop.ts", () => {
  test("prints process, parent, user, name and file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tsbpf-execsnoop-"));
    const file = join(folder, "a-program");
    copyFileSync("/bin/true", file);
    try {
      const example = await startExample("execsnoop", [], "FILENAME\n");
      const { pid } = spawnSync(file);
      const own = `${process.pid}`;
      await example.waitFor(new RegExp(`^ *${pid} +${own} +0 a-program +${file}$`, "m"));
      // Another user, and a parent in between that execs in place.
      execFileSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/true"]);
      await example.waitFor(new RegExp(`^ *\\d+ +${own} +65534 true +/bin/true$`, "m"));
      await interrupt(example);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
