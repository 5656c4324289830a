import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { codeBlocks } from "./markdown.ts";
import { ROOT, writeBlocks } from "./page.ts";
import { typeErrors } from "./type-errors.ts";

const docs = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
const pages = ["README.md", "examples/README.md", ...docs.map((name) => `docs/${name}`)];
/** Its code belongs to the project instead of a user's: writing-a-program.test.ts. */
const OF_THE_PROJECT = "docs/writing-a-program.md";
const withCode = pages.filter((page) => codeBlocks(join(ROOT, page), "ts").length > 0);

describe("the pages", () => {
  const written = withCode
    .filter((page) => page !== OF_THE_PROJECT)
    .map((page) => ({ page, blocks: writeBlocks(page) }));
  afterAll(() => {
    for (const { blocks } of written) blocks[Symbol.dispose]();
  });
  const files = written.flatMap(({ page, blocks }) =>
    [...blocks.files].map(([name, path]) => ({ page, name, path })),
  );

  test("every task has one, with code", () => {
    expect(withCode).toEqual(
      expect.arrayContaining([
        "README.md",
        "docs/attach-beside-others.md",
        "docs/explain-a-verifier-error.md",
        "docs/language.md",
        "docs/pin-and-upgrade.md",
        "docs/read-events.md",
        "docs/share-a-map.md",
        OF_THE_PROJECT,
      ]),
    );
  });

  test("all code compiles, with the package's public names alone", { timeout: 120_000 }, () => {
    const errors = typeErrors(files.map(({ path }) => path));
    expect(files.map(({ page, name, path }) => ({ page, name, errors: errors.get(path) }))).toEqual(
      files.map(({ page, name }) => ({ page, name, errors: [] })),
    );
    for (const { path } of files) {
      const imported = [...readFileSync(path, "utf8").matchAll(/ from "([^"]+)"/g)].map(
        ([, from = ""]) => from,
      );
      expect(imported.filter((from) => !/^(tsbpf\/|node:|\.\/[\w-]+\.ts$)/.test(from))).toEqual([]);
    }
  });

  test("each block is run by a kernel test, or imported by one that is", () => {
    for (const { page, blocks } of written) {
      const name = page
        .replace(/^docs\//, "")
        .replace(/\.md$/, "")
        .toLowerCase();
      const kernelTest = readFileSync(join(ROOT, `test/kernel/docs/${name}.test.ts`), "utf8");
      const code = [...blocks.files.values()].map((path) => readFileSync(path, "utf8")).join("\n");
      const idle = [...blocks.files.keys()].filter(
        (file) => !kernelTest.includes(`"${file}"`) && !code.includes(`from "./${file}"`),
      );
      expect({ page, idle }).toEqual({ page, idle: [] });
    }
  });

  test.each([...pages, "CHANGELOG.md"])("%s: what it links to is there", (page) => {
    const targets = [...readFileSync(join(ROOT, page), "utf8").matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)];
    const local = targets.map(([, target = ""]) => target).filter((target) => !/^https?:/.test(target));
    expect(local.filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([]);
  });

  test("README links to every page", () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    expect(pages.slice(1).filter((page) => !readme.includes(`](${page})`))).toEqual([]);
  });
});
