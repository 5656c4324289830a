import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createSourceText } from "../../src/kernel/source-text.ts";

const folder = mkdtempSync(join(tmpdir(), "tsbpf-source-text-"));
const file = join(folder, "program.ts");
writeFileSync(
  file,
  ["first", "\tif (x) {", "\t\tmov(r6, r1),", "", "\t}", ...Array(4).fill("    ;"), "    last"].join("\n"),
);
afterAll(() => rmSync(folder, { recursive: true }));

describe("frame", () => {
  test.each([
    ["the first line", 1, 1, ["> 1 | first", "    | ^"]],
    [
      "tabs stay in front of the caret",
      3,
      3,
      ["  1 | first", "  2 | \tif (x) {", "> 3 | \t\tmov(r6, r1),", "    | \t\t^"],
    ],
    ["a blank line among indented ones", 5, 2, ["  3 | \tmov(r6, r1),", "  4 |", "> 5 | }", "    | ^"]],
    ["numbers of different width", 10, 7, ["   8 | ;", "   9 | ;", "> 10 | last", "     |   ^"]],
    ["a column behind the line", 1, 9, ["> 1 | first", "    |      ^"]],
    ["a line behind the file", 99, 1, []],
  ])("%s", (_name, line, column, expected) => {
    expect(createSourceText().frame({ file, line, column })).toEqual(expected);
  });

  test("a file that is not there", () => {
    const text = createSourceText();
    expect(text.frame({ file: join(folder, "gone.ts"), line: 1, column: 1 })).toEqual([]);
    expect(text.line({ file: join(folder, "gone.ts"), line: 1, column: 1 })).toBe("");
  });
});
