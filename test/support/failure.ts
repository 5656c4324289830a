import { TsbpfError } from "../../src/base/error.ts";

/**
 * The error that a function throws, to be asserted on.
 *
 * @throws whatever is no error of tsbpf; an error when nothing was thrown.
 */
export function failure(fn: () => unknown): TsbpfError {
  try {
    fn();
  } catch (error) {
    if (error instanceof TsbpfError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}
