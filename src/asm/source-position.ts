/** Where in a source file something was written. Lines and columns count from 1. */
export interface SourcePosition {
  /** Absolute path or URL of the file, as the JavaScript engine names it (after source maps). */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/**
 * A place in the source that is worked out only when somebody asks.
 *
 * Capturing keeps an `Error`, whose frames V8 collects cheaply (about a microsecond) and formats, through source maps,
 * only on the first access to its `stack`.
 */
export interface SourceRef {
  /** The position, or `undefined` where the engine's stack does not show one. */
  position(): SourcePosition | undefined;
}

let capturing = true;

/**
 * Switches the recording of source positions on or off for the instructions built from now on.
 *
 * It is on from the start. Switch it off where programs are generated in bulk and nobody will read their listing.
 *
 * @returns what the setting was before.
 */
export function setSourceCapture(on: boolean): boolean {
  const before = capturing;
  capturing = on;
  return before;
}

let shared: SourceRef | undefined;

/**
 * Builds instructions that all count as written in one place. The macros of this library use it: their instructions show
 * the line that used the macro, which is captured once instead of for each.
 */
export function withSource<Result>(source: SourceRef | undefined, build: () => Result): Result {
  const before = shared;
  shared = source;
  try {
    return build();
  } finally {
    shared = before;
  }
}

/**
 * Captures the place in the caller's own code: the first frame outside `asm` and `lang`. Inside {@link withSource} it is
 * the place given there.
 *
 * @param frames - how many frames, this function's included, may stand between; each costs at capture time.
 * @returns `undefined` while capturing is switched off.
 */
export function captureSource(frames = 8): SourceRef | undefined {
  if (!capturing || shared !== undefined) return shared;
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = frames;
  const error = new Error();
  Error.stackTraceLimit = limit;
  return new CapturedSource(error);
}

// A class for its private fields: two instructions that do the same compare equal wherever they were written.
class CapturedSource implements SourceRef {
  #error: Error | undefined;
  #position: SourcePosition | undefined;

  constructor(error: Error) {
    this.#error = error;
  }

  position(): SourcePosition | undefined {
    if (this.#error !== undefined) {
      const stack: unknown = this.#error.stack; // anything at all where a program has set Error.prepareStackTrace
      this.#position = typeof stack === "string" ? callerPosition(stack) : undefined;
      this.#error = undefined; // the frames keep functions alive: let them go
    }
    return this.#position;
  }
}

/**
 * Finds, in the text of a stack whose first frame is {@link captureSource}, the first frame of somebody else's code.
 * Exported for its tests.
 */
export function callerPosition(stack: string): SourcePosition | undefined {
  const [own, ...callers] = stack.split("\n").flatMap((line) => parseFrame(line) ?? []);
  if (own === undefined) return undefined;
  const isOwn = ownFiles(own.file);
  return callers.find(({ file }) => !isOwn(file) && !file.startsWith("node:"));
}

/** Tells our files, given the one that this module is in: `asm` and `lang`, or a bundle that we are part of. */
function ownFiles(file: string): (file: string) => boolean {
  const [, root] = /^(.*\/)asm\/[^/]+$/.exec(file) ?? [];
  if (root === undefined) return (other) => other === file;
  return (other) => other.startsWith(`${root}asm/`) || other.startsWith(`${root}lang/`);
}

/** Reads `at name (file:1:2)` and `at file:1:2` of V8, and `name@file:1:2` of other engines. */
function parseFrame(line: string): SourcePosition | undefined {
  const [, v8, named, other] =
    /^\s*at (?:async )?(?:(?:.*? \()(.+)\)$|(.+)$)|^(?:[^@]*@)?(.+)$/.exec(line) ?? [];
  const [, file, row, column] = /^(.+):(\d+):(\d+)$/.exec(v8 ?? named ?? other ?? "") ?? [];
  if (file === undefined || file.startsWith("eval at ")) return undefined;
  return { file: pathOf(file), line: Number(row), column: Number(column) };
}

/** A path where the engine gave a URL of a file; without the query that loaders add. */
function pathOf(file: string): string {
  if (!file.startsWith("file://")) return file;
  const path = file.slice("file://".length).replace(/[?#].*$/, "");
  return unescaped(path).replace(/^\/([A-Za-z]:)/, "$1");
}

function unescaped(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // a loader that writes paths into URLs as they are
  }
}
