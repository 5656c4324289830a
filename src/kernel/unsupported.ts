import { release } from "node:os";
import { TsbpfError } from "../base/error.ts";

/** What {@link UnsupportedError} tells. */
export interface UnsupportedOptions {
  /** What is not there, as a noun: `netkit links`, `replacing the program of a tracepoint`. */
  readonly feature: string;
  /** The first kernel that has it, as in `6.7`; absent where none has. */
  readonly since?: string | undefined;
  /** What it takes besides the version: a configuration option of the kernel, a kind of machine. */
  readonly needs?: string | undefined;
  /** What to do instead. */
  readonly hint?: string | undefined;
  /** The refusal that led here. */
  readonly cause?: unknown;
}

/**
 * Something that this kernel does not have, or that no kernel has for the object at hand.
 *
 * It is never the result of comparing version numbers: the kernel was asked to do it and refused. The version in
 * {@link UnsupportedError.since} is there to explain; distributions bring features to older kernels, and leave some out.
 */
export class UnsupportedError extends TsbpfError {
  /** What is not there. */
  readonly feature: string;
  /** The first kernel that has it; `undefined` where none has. */
  readonly since: string | undefined;

  /** @param what - what failed, as a sentence: `cannot attach 'count' to netkit0: this kernel has no netkit links`. */
  constructor(what: string, { feature, since, needs, hint, cause }: UnsupportedOptions) {
    const first = cause instanceof Error ? `  ${cause.message.split("\n")[0]}` : "";
    super(what, { details: first, hint: hintText(since, needs, hint), cause });
    this.feature = feature;
    this.since = since;
  }
}

function hintText(since: string | undefined, needs: string | undefined, hint: string | undefined) {
  const comes =
    since === undefined
      ? needs && `It takes ${needs}.`
      : `It came with kernel ${since}${needs === undefined ? "" : ` and takes ${needs}`}; this one is ${release()}.`;
  const parts = [comes, hint].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : parts.join(" ");
}
