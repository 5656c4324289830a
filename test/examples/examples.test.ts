import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { EXAMPLES, exampleArgs, ROOT, run } from "./examples.ts";

const names = readdirSync(join(ROOT, "examples"))
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.replace(/\.ts$/, ""))
  .sort();

describe("examples", () => {
  test("all of them are in the tests, and in examples/README.md", () => {
    expect(names).toEqual(Object.keys(EXAMPLES));
    const tests = readdirSync(join(ROOT, "test/kernel/examples"));
    expect(names.filter((name) => !tests.includes(`${name}.test.ts`))).toEqual([]);
    const readme = readFileSync(join(ROOT, "examples/README.md"), "utf8");
    const listed = [...readme.matchAll(/\]\(([\w-]+)\.ts\)/g)].map(([, name]) => name);
    expect(listed.sort()).toEqual(names);
  });

  test("they import what their users can import", () => {
    const foreign = names.flatMap((name) => {
      const text = readFileSync(join(ROOT, "examples", `${name}.ts`), "utf8");
      const imported = [...text.matchAll(/ from "([^"]+)"/g)].map(([, from = ""]) => from);
      expect(imported.length).toBeGreaterThan(3);
      return imported.filter((from) => !/^(tsbpf\/|node:|\.\/support\/)/.test(from));
    });
    expect(foreign).toEqual([]);
  });

  test.each(names)("%s --help, and a wrong option", { timeout: 60_000 }, async (name) => {
    const [help, wrong] = await Promise.all([
      run(process.execPath, exampleArgs(name, ["--help"])),
      run(process.execPath, exampleArgs(name, ["--halp"])),
    ]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    expect(help.stdout).toMatch(new RegExp(`^npx tsx examples/${name}\\.ts`));
    expect(wrong).toMatchObject({ code: 2, stdout: "" });
    expect(wrong.stderr).toMatch(
      new RegExp(`^error: there is no option --halp\nnpx tsx examples/${name}\\.ts.*\n$`),
    );
  });
});
