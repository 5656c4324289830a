/**
 * The base class of every error that tsbpf throws.
 *
 * The message is layered for people: the first line says what failed, on what, and in whose words; the lines below it
 * say what to do (`hint`). The same facts are fields for programs.
 */
export class TsbpfError extends Error {
  /** What to do about it, in plain words; one sentence or a few. */
  readonly hint: string | undefined;

  constructor(what: string, options: TsbpfErrorOptions = {}) {
    const { hint, details, cause } = options;
    const lines = [what];
    if (details !== undefined && details !== "") lines.push(details);
    if (hint !== undefined) lines.push(`  ${hint}`);
    super(lines.join("\n"), cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.hint = hint;
  }
}

/** How to build a {@link TsbpfError}. */
export interface TsbpfErrorOptions {
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** Further lines between the first line and the hint: a source frame, registers, the kernel's log. */
  readonly details?: string | undefined;
  /** The error that led to this one. */
  readonly cause?: unknown;
}
