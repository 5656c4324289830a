import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import type { MapDef, Program } from "../../../src/asm/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { writeBlocks } from "../../docs/page.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { startBlock } from "./support.ts";

describeKernel("README.md", () => {
  test("its program comes up on eth0, and packets pass", async () => {
    using page = writeBlocks(
      "README.md",
      (code) => `${code}
console.log("attached");
await new Promise((resolve) => process.once("SIGTERM", resolve).stdin.resume());
process.stdin.pause();
`,
    );
    await using net = await createTestNet();
    const running = await startBlock(page.path("README-1.ts"), [], "attached\n", net);
    expect(await net.ping({ cpu: 0 })).toMatchObject({ received: 3 });
    expect(await net.udpEcho({ cpu: 1, count: 5 })).toMatchObject({ replies: 5 });
    const { stdout } = await net.exec("inside", "ip", ["link", "show", "eth0"]);
    expect(stdout).toMatch(/ name xdp_same_cpu /);
    expect(await running.stop("SIGTERM")).toMatchObject({ code: 0, stderr: "" });
    expect((await net.exec("inside", "ip", ["link", "show", "eth0"])).stdout).not.toContain("xdp");
  });

  test("the same in the language: every packet goes to its CPU's entry, and passes where there is none", async () => {
    using page = writeBlocks("README.md");
    const { cpuMap, sameCpu } = (await import(pathToFileURL(page.path("README-2.ts")).href)) as {
      cpuMap: MapDef<"cpumap", number, { qsize: number; prog: number }>;
      sameCpu: Program<"xdp">;
    };
    using cpus = BpfMap.create(cpuMap);
    using prog = BpfProgram.load(sameCpu, { maps: [cpus] });
    const data = new Uint8Array(64);
    expect(prog.testRun({ data }).retval).toBe(2);
    for (const cpu of [0, 1]) cpus.set(cpu, { qsize: 192, prog: 0 });
    expect(prog.testRun({ data }).retval).toBe(4); // XDP_REDIRECT
  });
});
