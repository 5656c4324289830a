import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { expect, it } from "vitest";
import { ROOT, typeMessages } from "../support/type-check.ts";

// The compile-time errors are sentences: the compiler is run on programs with one mistake each, and has to say the
// sentence in their first line. They are .txt files so that nothing else compiles them.

const folder = `${ROOT}test/types/fixtures/`;
const fixtures = new Map(
  readdirSync(folder).map((name) => [
    `${folder}${name.replace(/\.txt$/, "")}`,
    readFileSync(`${folder}${name}`, "utf8"),
  ]),
);
const messages = typeMessages(fixtures);

it.each([...fixtures.keys()].map((file) => [basename(file), file] as const))("%s", (_name, file) => {
  const sentence = /^\/\/ expect: (.+)$/m.exec(fixtures.get(file) ?? "")?.[1] ?? "";
  expect(sentence).not.toBe("");
  const said = messages.get(file) ?? [];
  expect(said.length).toBe(1);
  expect(said[0]?.text).toContain(sentence);
});
