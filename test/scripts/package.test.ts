// What `npm pack` makes of the project: every name that package.json offers can be imported in plain Node.js, and the
// command runs.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface Manifest {
  readonly bin: { readonly tsbpf: string };
  readonly exports: Readonly<
    Record<string, string | { readonly source: string; readonly types: string; readonly default: string }>
  >;
  scripts: Record<string, string>;
}
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "tsbpf-package-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const node = (cwd: string, ...args: readonly string[]): string =>
  execFileSync(process.execPath, args, { cwd, encoding: "utf8", timeout: 100_000 });

test("packing builds first", () => {
  const repo = join(scratch, "repo");
  mkdirSync(repo);
  cpSync(join(ROOT, ".npmrc"), join(repo, ".npmrc"));
  const scripts = { ...manifest.scripts, build: "mkdir dist && echo built >dist/main.js" };
  writeFileSync(join(repo, "package.json"), JSON.stringify({ ...manifest, scripts }));
  const printed = execFileSync("npm", ["pack", "--dry-run", "--json", "--offline"], {
    cwd: repo,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  expect(printed).toContain('"path": "dist/main.js"');
});

test("every name has its source where the build takes it from", () => {
  for (const target of Object.values(manifest.exports)) {
    if (typeof target === "string") continue;
    const [, stem = ""] = /^\.\/src\/(.*)\.ts$/.exec(target.source) ?? [];
    expect(target).toMatchObject({ types: `./dist/${stem}.d.ts`, default: `./dist/${stem}.js` });
    expect(existsSync(join(ROOT, target.source.replace("*", "bpf")))).toBe(true);
  }
  expect(manifest.bin.tsbpf).toBe("./dist/main.js");
});

describe("the built package", () => {
  let project: string;

  // Without types, whose check is the slow part, and a test of its own.
  beforeAll(() => {
    project = join(scratch, "project");
    const installed = join(project, "node_modules/tsbpf");
    mkdirSync(installed, { recursive: true });
    for (const name of ["package.json", "tsconfig.json", "tsconfig.build.json", "src"])
      cpSync(join(ROOT, name), join(installed, name), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(installed, "node_modules"));
    const flags = ["--noCheck", "--declaration", "false", "--declarationMap", "false"];
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    node(installed, tsc, "-p", "tsconfig.build.json", ...flags, "--isolatedDeclarations", "false");
  }, 120_000);

  test("every name can be imported", () => {
    const uapi = readdirSync(join(ROOT, "src/uapi"))
      .filter((file) => file.endsWith(".ts"))
      .map((file) => file.slice(0, -3));
    const names = Object.keys(manifest.exports)
      .filter((name) => !name.endsWith(".json"))
      .flatMap((name) => (name.includes("*") ? uapi.map((file) => name.replace("*", file)) : [name]))
      .map((name) => `tsbpf${name.slice(1)}`);
    expect(names.length).toBeGreaterThan(15);
    const code = `const names = ${JSON.stringify(names)};
      for (const name of names) await import(name);
      console.log("all");`;
    expect(node(project, "--input-type=module", "-e", code)).toBe("all\n");
  });

  test("the command runs, and knows the lines of TypeScript", () => {
    const main = join("node_modules/tsbpf", manifest.bin.tsbpf);
    expect(node(project, main, "--help")).toContain("  $ tsbpf up eth0");
    expect(node(project, main, "dump", "tc_egress")).toMatch(
      /; node_modules\/tsbpf\/src\/programs\/tc-log-cpu\.ts:\d+/,
    );
  });
});
