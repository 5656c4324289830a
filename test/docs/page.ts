/** The files that the documentation has its reader write, put where their imports resolve. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { codeBlocks } from "./markdown.ts";

/** The repository's root. */
export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** The blocks of a page on disk. */
export interface Blocks extends Disposable {
  /** By name: what the block's first line says (`// watch.ts`), or the page's name and a number. */
  readonly files: ReadonlyMap<string, string>;
  /** The file of this name. */
  path(name: string): string;
}

/**
 * Writes every block of TypeScript of a page into one directory of the tree that no tool looks into, since its name begins
 * with a dot. The package's public names resolve there, and so do the blocks' imports of each other.
 *
 * @param page - from the root: `docs/read-events.md`.
 * @param change - edits the code, so that a test has pins and devices of its own.
 */
export function writeBlocks(page: string, change: (code: string) => string = (code) => code): Blocks {
  const directory = join(ROOT, "examples", uniqueName());
  mkdirSync(directory, { recursive: true });
  const named = codeBlocks(join(ROOT, page), "ts").map((code, index) => {
    const [, name = `${basename(page, ".md")}-${index + 1}.ts`] = /^\/\/ ([\w-]+\.ts)\n/.exec(code) ?? [];
    writeFileSync(join(directory, name), change(code));
    return [name, join(directory, name)] as const;
  });
  const files = new Map(named);
  if (files.size !== named.length) throw new Error(`${page}: two blocks have the same name`);
  return {
    files,
    path(name) {
      const path = files.get(name);
      if (path === undefined) throw new Error(`${page} has no block ${name}`);
      return path;
    },
    [Symbol.dispose]() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The code of docs/writing-a-program.md on disk, whose files belong to different directories of the project. */
export interface Page extends Disposable {
  readonly program: string;
  readonly test: string;
  readonly example: string;
}

/**
 * Writes the code of docs/writing-a-program.md into directories of the tree that no tool looks into, since their names begin with a dot.
 *
 * @param change - edits the code, as the page suggests.
 */
export function writePage(change: (code: string) => string = (code) => code): Page {
  const [program = "", testCode = "", example = ""] = codeBlocks(
    join(ROOT, "docs/writing-a-program.md"),
    "ts",
  );
  const name = uniqueName();
  const directories = ["src", "test", "examples"].map((parent) => join(ROOT, parent, name));
  const [inSource = "", inTest = "", inExamples = ""] = directories;
  for (const directory of directories) mkdirSync(directory, { recursive: true });
  const place = (directory: string, file: string, code: string): string => {
    const path = join(directory, file);
    writeFileSync(path, change(code));
    return path;
  };
  return {
    program: place(inSource, "count-protocols.ts", program),
    test: place(inTest, "count-protocols.test.ts", testCode.replace("src/programs/", `src/${name}/`)),
    // One directory deeper than the page's examples/count-protocols.ts.
    example: place(
      inExamples,
      "count-protocols.ts",
      example.replaceAll('"../src/', '"../../src/').replace("src/programs/", `src/${name}/`),
    ),
    [Symbol.dispose]() {
      for (const directory of directories) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A name for a directory that no tool looks into. */
export function uniqueName(): string {
  return `.docs-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
}
