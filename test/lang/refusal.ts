/** What a body throws as a LangError: its reason, and the line of the test that it names. */
import { expect } from "vitest";
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
