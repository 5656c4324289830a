/** What a body throws as a LangError: its reason, and the line of the test that it names. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { LangError } from "../../src/lang/error.ts";

/** The reason of what building throws; checks that the error names a line of the calling test's file. */
export function refusal(file: string, body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (!(error instanceof LangError)) throw error;
    expect(error.source?.position()?.file).toBe(file);
    return error.message.split("\n")[0] ?? "";
  }
  return "nothing";
}

/**
 * Declares tests of a file: building this throws a LangError of this first line and this hint, about the line that is marked
 * with `// here`.
 *
 * @param url - `import.meta.url` of the file.
 */
export function refusals(url: string): (what: string, hint: string, build: () => unknown) => void {
  const file = fileURLToPath(url);
  const lines = readFileSync(file, "utf8").split("\n");
  return (what, hint, build) => {
    test(what, () => {
      let error: unknown;
      try {
        build();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(LangError);
      const { message, source, hint: given } = error as LangError;
      const at = source?.position();
      expect({ message, hint: given }).toEqual({
        message: `${what}\n  at ${at?.file}:${at?.line}:${at?.column}\n  ${hint}`,
        hint,
      });
      expect(at?.file).toBe(file);
      expect(lines[(at?.line ?? 0) - 1]).toMatch(/ \/\/ here$/);
    });
  };
}
