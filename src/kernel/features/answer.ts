/**
 * Whether the running kernel has something, found out by trying it.
 *
 * `unknown` is neither: the attempt failed for another reason, which `reason` tells. Lack of permission is the usual one,
 * and is never taken for a `no`.
 */
export interface Answer {
  readonly answer: "yes" | "no" | "unknown";
  /** What the kernel said, or what stood in the way; always there for `unknown`. */
  readonly reason?: string;
  /** The kernel that brought it: `5.8`. Distributions backport, so a `yes` on an older one is no contradiction. */
  readonly since: string;
}

/** An answer without its kernel version: what a probe concludes. */
export type Verdict = Omit<Answer, "since">;

/** A conclusion, with the reason where there is something to say. */
export function yes(reason?: string): Verdict {
  return reason === undefined ? YES : { answer: "yes", reason };
}

/** As {@link yes}. */
export function no(reason?: string): Verdict {
  return reason === undefined ? { answer: "no" } : { answer: "no", reason };
}

/** What could not be found out, and why. */
export function unknown(reason: string): Verdict {
  return { answer: "unknown", reason };
}

const YES: Verdict = { answer: "yes" };
