import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { codeBlocks } from "../../docs/markdown.ts";
import { ROOT, writeBlocks } from "../../docs/page.ts";
import { describeKernel } from "../../support/privileges.ts";
import { runBlock } from "./support.ts";

const PAGE = "docs/explain-a-verifier-error.md";

describeKernel(PAGE, () => {
  test("the error is the one that it shows", async () => {
    using page = writeBlocks(PAGE);
    const { stdout } = await runBlock(page.path("faulty.ts"));
    const [shown] = codeBlocks(join(ROOT, PAGE), "text");
    expect(stdout.replace(relative(ROOT, page.path("faulty.ts")), "faulty.ts")).toBe(shown);
  });

  test("with the comparison it loads and runs", async () => {
    using page = writeBlocks(PAGE);
    expect((await runBlock(page.path("fixed.ts"))).stdout).toBe("86dd\n");
  });
});
