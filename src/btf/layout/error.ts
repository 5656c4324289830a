import { TsbpfError, type TsbpfErrorOptions } from "../../base/error.ts";

/**
 * A value that does not fit its layout, bytes that do not, or a layout that cannot be declared.
 *
 * `path` says where: `event.peers[2].port`. Nothing is promised about bytes that were written before the error.
 */
export class LayoutError extends TsbpfError {
  /** Where in the value or the declaration: `event.peers[2].port`. */
  readonly path: string;
  /** What is wrong there, without the path. */
  readonly reason: string;
  readonly #steps: string;
  readonly #options: TsbpfErrorOptions;

  /**
   * @param root What the path starts with: a struct's name, or the kind of a layout that stands alone.
   * @param steps The rest of the path: `.peers[2].port`.
   */
  constructor(root: string, reason: string, options: TsbpfErrorOptions = {}, steps = "") {
    super(`${root}${steps}: ${reason}`, options);
    this.path = `${root}${steps}`;
    this.reason = reason;
    this.#steps = steps;
    this.#options = options;
  }

  /**
   * The same error as seen from the layout around the one that threw it: that one's place in it takes the place of its
   * own name.
   *
   * @internal
   */
  static within(root: string, step: string, error: unknown): unknown {
    if (!(error instanceof LayoutError)) return error;
    return new LayoutError(root, error.reason, error.#options, `${step}${error.#steps}`);
  }
}

/** A value as an error message shows it. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
    case "bigint":
      return `${value}n`;
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "no class"})`;
    default:
      return `a ${typeof value}`;
  }
}
