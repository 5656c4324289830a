import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { writeBlocks } from "../../docs/page.ts";
import { startProcess } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { runBlock, startBlock } from "./support.ts";

describeKernel("docs/read-events.md", () => {
  test("as they come, until Ctrl-C", async () => {
    using page = writeBlocks("docs/read-events.md");
    const running = await startBlock(page.path("watch.ts"), [], "watching\n");
    const { pid } = spawnSync("/bin/true");
    await running.waitFor(`${pid} true\n`);
    const { code, stderr, stdout } = await running.stop("SIGINT");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/\n0 lost\n$/);
  });

  test("many at a time", async () => {
    using page = writeBlocks("docs/read-events.md");
    const running = startProcess(process.execPath, ["--import", "tsx", page.path("batches.ts")]);
    // It says nothing before its second is over, and starts that when it has started itself.
    const timer = setInterval(() => execFileSync("/bin/true"), 50);
    try {
      const { code, stderr, stdout } = await running.ended();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(Number(/\btrue: (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(3);
    } finally {
      clearInterval(timer);
    }
  });

  test("what is there now", async () => {
    using page = writeBlocks("docs/read-events.md");
    const { stdout } = await runBlock(page.path("drain.ts"));
    expect(stdout).toMatch(/^drained \d+ true$/m);
    expect(Number(/^(\d+) more$/m.exec(stdout)?.[1])).toBeGreaterThan(0);
  });
});
