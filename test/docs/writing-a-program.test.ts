import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { codeBlocks } from "./markdown.ts";
import { ROOT, writePage } from "./page.ts";
import { typeErrors } from "./type-errors.ts";

const PAGE = join(ROOT, "docs/writing-a-program.md");
const page = writePage();
const misspelt = writePage((code) => code.replace('jeq(r0, 0, "pass")', 'jeq(r0, 0, "oops")'));
afterAll(() => {
  page[Symbol.dispose]();
  misspelt[Symbol.dispose]();
});

describe("docs/writing-a-program.md", () => {
  test("has the three files", () => {
    expect(codeBlocks(PAGE, "ts")).toHaveLength(3);
  });

  test("its code compiles, and a jump to no block does not, as it says", { timeout: 120_000 }, () => {
    const errors = typeErrors([page.program, page.test, page.example, misspelt.program]);
    expect([page.program, page.test, page.example].flatMap((file) => errors.get(file))).toEqual([]);
    expect(errors.get(misspelt.program)?.join("\n")).toContain("no block of this program is named 'oops'");
  });

  test("its listing is what it shows how to get", { timeout: 60_000 }, () => {
    const [, command = ""] = /npx tsx -e '([^']*)'/.exec(readFileSync(PAGE, "utf8")) ?? [];
    const code = command.replace("./src/programs/count-protocols.ts", page.program);
    const args = ["--import", "tsx", "-e", code];
    const output = execFileSync(process.execPath, args, { encoding: "utf8", cwd: ROOT });
    expect(output).toContain("count_protocols:\n  entry:\n");
    expect(output).toMatch(/if r1 > r3 goto pc\+\d+ <pass>/);
    expect(output).toMatch(/count-protocols\.ts:\d+:\d+/);
  });

  describe("its test", async () => {
    await import(page.test);
  });
});
