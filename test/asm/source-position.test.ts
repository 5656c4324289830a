import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it, onTestFinished } from "vitest";
import { add, mov, printk, r0, r1, r6, setSourceCapture } from "../../src/asm/index.ts";
import { callerPosition, withSource } from "../../src/asm/source-position.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const fixture = `${root}test/asm/fixtures/positions.ts`;

/** Line and column of a text that stands once in a file. */
function placeOf(file: string, text: string): { readonly line: number; readonly column: number } {
  const lines = readFileSync(file, "utf8").split("\n");
  const line = lines.findIndex((candidate) => candidate.includes(text));
  return { line: line + 1, column: (lines[line] ?? "").indexOf(text) + 1 };
}

describe("the line that wrote an instruction", () => {
  const here = fileURLToPath(import.meta.url);

  it("is the caller's, in this test runner", () => {
    const insn = add(r1, 12345);
    expect(insn.source?.position()).toEqual({ file: here, ...placeOf(here, "add(r1, 12345)") });
  });

  it("is the caller's of a macro that comes with the assembler", () => {
    const insns = printk("the answer is %d", r6);
    const position = { file: here, ...placeOf(here, 'printk("the answer is %d"') };
    expect(insns.map(({ source }) => source?.position())).toEqual(insns.map(() => position));
  });

  it("is the macro's own where the user wrote the macro", () => {
    const swap = () => [mov(r0, 54321), mov(r1, r0)];
    const [first] = swap();
    expect(first?.source?.position()).toMatchObject(placeOf(here, "mov(r0, 54321)"));
  });

  it("is one for all that is built with it", () => {
    const { source } = mov(r0, 9);
    const [first, inner, last] = withSource(source, () => [
      mov(r0, 0),
      withSource(undefined, () => mov(r0, 1)),
      mov(r1, 0),
    ]);
    expect([first?.source, last?.source]).toEqual([source, source]);
    expect(first?.source).toBe(source);
    expect(inner?.source).not.toBe(source);
    const fail = () => {
      throw new Error("inside");
    };
    expect(() => withSource(source, fail)).toThrow("inside");
    expect(mov(r0, 1).source).not.toBe(source);
  });

  it("is worked out once, on demand, and stays", () => {
    const { source } = add(r1, 1);
    expect(source?.position()).toBe(source?.position());
  });

  it("is no part of what an instruction is: equal instructions are equal wherever they stand", () => {
    const first = add(r1, 5);
    const second = add(r1, 5);
    expect(first.source?.position()).not.toEqual(second.source?.position());
    expect(first).toEqual(second);
    expect(first).not.toEqual(add(r1, 6));
  });

  it("is not recorded where that is switched off", () => {
    expect(setSourceCapture(false)).toBe(true);
    onTestFinished(() => void setSourceCapture(true));
    expect(add(r1, 1).source).toBeUndefined();
    expect(setSourceCapture(true)).toBe(false);
    expect(add(r1, 1).source).toBeDefined();
  });

  it("leaves the engine's settings as they were", () => {
    const limit = Error.stackTraceLimit;
    onTestFinished(() => {
      Error.stackTraceLimit = limit;
    });
    Error.stackTraceLimit = 3;
    add(r1, 1);
    expect(Error.stackTraceLimit).toBe(3);
    Error.stackTraceLimit = 0;
    expect(add(r1, 1).source?.position()).toBeDefined();
  });

  it("is unknown where a program formats stacks itself", () => {
    const { prepareStackTrace } = Error;
    onTestFinished(() => {
      Object.assign(Error, { prepareStackTrace });
    });
    Error.prepareStackTrace = (_error, sites) => sites;
    expect(add(r1, 1).source?.position()).toBeUndefined();
  });
});

describe("in another process", () => {
  const expected = ["mov(r0, 2)", "exit()", 'printk("hi")', "add(r1, index)"].map((text) =>
    placeOf(fixture, text),
  );

  function positions(args: readonly string[]): unknown {
    return JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }));
  }

  it("is right under tsx", () => {
    expect(positions(["--import", "tsx", fixture])).toEqual(
      expected.map((place) => ({ file: fixture, ...place })),
    );
  });

  it("is right in compiled JavaScript with source maps", () => {
    const folder = mkdtempSync(join(tmpdir(), "tsbpf-positions-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    for (const part of [
      "src/base",
      "src/uapi",
      "src/btf",
      "src/btf/layout",
      "src/asm",
      "test/asm/fixtures",
    ]) {
      mkdirSync(join(folder, part), { recursive: true });
      for (const name of readdirSync(join(root, part)).filter((name) => name.endsWith(".ts"))) {
        const { outputText } = ts.transpileModule(readFileSync(join(root, part, name), "utf8"), {
          fileName: join(root, part, name),
          compilerOptions: {
            target: ts.ScriptTarget.ES2023,
            module: ts.ModuleKind.ESNext,
            rewriteRelativeImportExtensions: true,
            inlineSourceMap: true,
          },
        });
        writeFileSync(join(folder, part, name.replace(/\.ts$/, ".js")), outputText);
      }
    }
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    const compiled = join(folder, "test/asm/fixtures/positions.js");
    const mapped = join(folder, "test/asm/fixtures/positions.ts");
    expect(positions(["--enable-source-maps", compiled])).toEqual(
      expected.map((place) => ({ file: mapped, ...place })),
    );
    // Without source maps the place in the JavaScript is the best there is.
    const [first] = positions([compiled]) as { readonly file: string }[];
    expect(first?.file).toBe(compiled);
  });
});

describe("the first frame of somebody else's code", () => {
  const own =
    "Error\n    at captureSource (file:///p/src/asm/source-position.ts:41:17)\n    at insn (/p/src/asm/insn.ts:1:1)\n";

  it.each([
    ["    at main (/home/me/a.ts:3:4)", "/home/me/a.ts:3:4"],
    ["    at /home/me/a.ts:3:4", "/home/me/a.ts:3:4"],
    ["    at Object.<anonymous> (/home/me (copy)/a.ts:3:4)", "/home/me (copy)/a.ts:3:4"],
    ["    at async main (file:///home/me/a%20b.ts?v=3:4:5)", "/home/me/a b.ts:4:5"],
    ["    at file:///home/100%/a.ts:4:5", "/home/100%/a.ts:4:5"],
    ["    at new Foo [as bar] (/home/me/a.ts:3:4)", "/home/me/a.ts:3:4"],
    ["    at file:///C:/me/a.ts:3:4", "C:/me/a.ts:3:4"],
    ["    at Array.map (<anonymous>)\n    at main (/home/me/a.ts:3:4)", "/home/me/a.ts:3:4"],
    ["    at eval (eval at x (/b.ts:1:1), <anonymous>:1:1)\n    at /home/me/a.ts:3:4", "/home/me/a.ts:3:4"],
    ["    at node:internal/modules/run_main:1:2\n    at /home/me/a.ts:3:4", "/home/me/a.ts:3:4"],
    ["    at lower (/p/src/lang/lower.ts:1:2)\n    at /home/me/a.ts:3:4", "/home/me/a.ts:3:4"],
    ["    at main (/p/src/assembler-user.ts:3:4)", "/p/src/assembler-user.ts:3:4"],
    ["    at async Promise.all (index 0)", undefined],
    ["", undefined],
  ])("%s", (frames, expected) => {
    const position = callerPosition(own + frames);
    expect(position && `${position.file}:${position.line}:${position.column}`).toBe(expected);
  });

  it("is read from other engines' stacks too", () => {
    const stack =
      "captureSource@http://h/asm/source-position.js:1:2\nmov@http://h/asm/alu.js:3:4\nmain@http://h/app.js:5:6\n";
    expect(callerPosition(stack)).toEqual({ file: "http://h/app.js", line: 5, column: 6 });
  });

  it("is in another file where everything of ours is one bundle", () => {
    const stack =
      "Error\n    at a (/app/bundle.js:1:2)\n    at b (/app/bundle.js:3:4)\n    at c (/app/user.js:5:6)";
    expect(callerPosition(stack)).toEqual({ file: "/app/user.js", line: 5, column: 6 });
    expect(callerPosition("not a stack")).toBeUndefined();
  });
});
