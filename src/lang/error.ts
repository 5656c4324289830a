import type { SourceRef } from "../asm/source-position.ts";
import { TsbpfError } from "../base/error.ts";

/**
 * A program of the structured language that cannot be built: what is wrong, the line that wrote it, and what to do.
 *
 * @example
 * ```ts
 * try {
 *   xdp("wide", ($) => $.return($.let(u8, 256)));
 * } catch (error) {
 *   if (error instanceof LangError) console.log(error.message, error.source?.position()?.line);
 * }
 * ```
 */
export class LangError extends TsbpfError {
  /** The line of TypeScript that it is about; `undefined` where capturing is switched off. */
  readonly source: SourceRef | undefined;

  constructor(reason: string, source: SourceRef | undefined, hint?: string) {
    const at = source?.position();
    super(reason, { details: at === undefined ? "" : `  at ${at.file}:${at.line}:${at.column}`, hint });
    this.source = source;
  }
}
