import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test, vi } from "vitest";
import { tsdocExamples, writeExamples } from "./tsdoc.ts";
import { typeErrors } from "./type-errors.ts";

describe("@example", () => {
  const examples = tsdocExamples();
  const written = writeExamples(examples);
  afterAll(() => written[Symbol.dispose]());

  test("each is found", () => {
    expect(examples.length).toBeGreaterThan(50);
  });

  test("each compiles", { timeout: 120_000 }, () => {
    // Which of the imports that are added are types, the compiler may find out.
    const errors = typeErrors([...written.files.values()], { verbatimModuleSyntax: false });
    const wrong = [...written.files].flatMap(([place, path]) =>
      (errors.get(path) ?? []).map((error) => `${place} ${error}`),
    );
    expect(wrong).toEqual([]);
  });

  test("those that need no kernel run", async () => {
    expect(written.pure.length).toBeGreaterThan(10);
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    try {
      for (const place of written.pure) {
        const path = written.files.get(place) ?? "";
        await expect(import(pathToFileURL(path).href), place).resolves.toBeDefined();
      }
    } finally {
      log.mockRestore();
    }
  });
});
