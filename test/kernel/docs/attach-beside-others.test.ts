import { expect, test } from "vitest";
import { writeBlocks } from "../../docs/page.ts";
import { exampleArgs } from "../../examples/examples.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { runBlock, tryBlock } from "./support.ts";

describeKernel("docs/attach-beside-others.md", () => {
  test("TC: before all others, and right behind that", async () => {
    using page = writeBlocks("docs/attach-beside-others.md");
    await using net = await createTestNet();
    expect((await runBlock(page.path("tcx.ts"), ["eth0"], net)).stdout).toBe(
      "before: []\nnow: [ 'look', 'check' ]\n",
    );
    const other = net.spawn("inside", process.execPath, exampleArgs("tcx-chain", ["eth0"]));
    await other.waitFor("count_seen -> drop_icmp -> count_left\n", 30_000);
    expect((await runBlock(page.path("tcx.ts"), ["eth0"], net)).stdout.replace(/\s+/g, " ")).toBe(
      "before: [ 'count_seen', 'drop_icmp', 'count_left' ] now: [ 'look', 'check', 'count_seen', 'drop_icmp', 'count_left' ] ",
    );
    const { stdout } = await runBlock(page.path("list.ts"), [], net);
    expect(stdout).toMatch(/^eth0 tcx_ingress: drop_icmp \(link \d+\)$/m);
    await other.stop("SIGINT");
  });

  test("XDP: a free place, a taken one, and one that is taken over", async () => {
    using page = writeBlocks("docs/attach-beside-others.md");
    await using net = await createTestNet();
    const xdp = page.path("xdp.ts");
    expect((await runBlock(xdp, ["eth0"], net)).stdout).toBe("attached in native mode\n");
    // Somebody else's, without a link: bpftool attaches what is pinned.
    using theirs = writeBlocks("docs/attach-beside-others.md", (code) =>
      code.replace('xdp("mine"', 'xdp("theirs"').replace(
        "using attached = attachXdp(mine, device);\n",
        `const attached = attachXdp(mine, device);
console.log("waiting");
await new Promise((resolve) => process.once("SIGTERM", resolve).stdin.resume());
`,
      ),
    );
    const other = net.spawn("inside", process.execPath, ["--import", "tsx", theirs.path("xdp.ts"), "eth0"]);
    await other.waitFor("waiting\n", 30_000);
    const refused = await tryBlock(xdp, ["eth0"], net);
    expect(refused).toMatchObject({ code: 1, stderr: "" });
    expect(refused.stdout).toMatch(/XDP program already attached[\s\S]*there is 'theirs', program \d+\n$/);
    const forced = await runBlock(xdp, ["eth0", "--force"], net);
    expect(forced.stdout).toMatch(/replaced it, in native mode\n$/);
    await other.stop("SIGKILL");
  });
});
