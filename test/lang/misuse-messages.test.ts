import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ROOT, typeMessages } from "../support/type-check.ts";

// test/types/lang.test-d.ts has one misuse of the language below each `@ts-expect-error`. The compiler itself checks that
// there is an error; here it is run without those comments, to see that it says the sentence behind them.

const MARK = "// @ts-expect-error ";
const path = `${ROOT}test/types/lang.test-d.ts`;
const lines = readFileSync(path, "utf8").split("\n");
const expected = lines.flatMap((text, index) => {
  const at = text.indexOf(MARK);
  return at < 0 ? [] : [{ line: index + 1, sentence: text.slice(at + MARK.length) }];
});
const said = typeMessages(new Map([[path, lines.join("\n").replaceAll(MARK, "// expect ")]])).get(path) ?? [];

test("there are thirty or more", () => {
  expect(expected.length).toBeGreaterThanOrEqual(30);
});

test.each(expected)("$sentence", ({ line, sentence }) => {
  expect(said.filter((message) => message.line === line + 1).map(({ text }) => text)).toEqual([
    expect.stringContaining(sentence),
  ]);
});

test("nothing else in the file is wrong", () => {
  const pinned = new Set(expected.map(({ line }) => line + 1));
  expect(said.filter(({ line }) => !pinned.has(line))).toEqual([]);
});
