import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";

const ROOT = new URL("../../", import.meta.url);

/** Runs scripts/trim-lock.mjs on a lock file and returns what it printed and made of it. */
function trim(lock: string): { readonly stdout: string; readonly lock: string } {
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-lock-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, "scripts"));
  copyFileSync(new URL("scripts/trim-lock.mjs", ROOT), join(directory, "scripts/trim-lock.mjs"));
  writeFileSync(join(directory, "package-lock.json"), lock);
  const stdout = execFileSync(process.execPath, [join(directory, "scripts/trim-lock.mjs")], {
    encoding: "utf8",
  });
  return { stdout, lock: readFileSync(join(directory, "package-lock.json"), "utf8") };
}

test("package-lock.json has every optional dependency it names, so that npm ci takes it", () => {
  const lock = readFileSync(new URL("package-lock.json", ROOT), "utf8");
  expect(trim(lock).stdout, "run `node scripts/trim-lock.mjs`").toContain(": 0 dangling names dropped");
});

test("package-lock.json names no registry", () => {
  expect(readFileSync(new URL("package-lock.json", ROOT), "utf8")).not.toContain('"resolved"');
});

test("dangling names go, the others stay, nested packages count", () => {
  const packages = {
    "": { name: "x" },
    "node_modules/a": { optionalDependencies: { "@p/linux": "1", "@p/win": "1", nested: "1" } },
    "node_modules/a/node_modules/nested": { optionalDependencies: { "@p/linux": "1", gone: "1" } },
    "node_modules/@p/linux": {},
  };
  const { stdout, lock } = trim(JSON.stringify({ packages }));
  expect(stdout).toBe("package-lock.json: 2 dangling names dropped @p/win gone\n");
  expect(JSON.parse(lock)).toEqual({
    packages: {
      ...packages,
      "node_modules/a": { optionalDependencies: { "@p/linux": "1", nested: "1" } },
      "node_modules/a/node_modules/nested": { optionalDependencies: { "@p/linux": "1" } },
    },
  });
});
