import { readFileSync } from "node:fs";
import { isAbsolute, relative } from "node:path";
import type { SourcePosition } from "../asm/source-position.ts";

/** Reads lines of the source files that wrote a program, each file once. */
export interface SourceText {
  /** The text of the line, trimmed; empty where the file cannot be read. */
  line(position: SourcePosition): string;
  /** The line among the ones before it, with its number, a mark and a caret; empty where the file cannot be read. */
  frame(position: SourcePosition): readonly string[];
  /** The file's name for people: relative to the working directory where it is below it. */
  fileName(position: SourcePosition): string;
}

/** A reader with nothing in it yet. Keep it for one program: it remembers whole files. */
export function createSourceText(): SourceText {
  const files = new Map<string, readonly string[]>();
  const linesOf = (file: string): readonly string[] => {
    let lines = files.get(file);
    if (lines === undefined) {
      lines = readLines(file);
      files.set(file, lines);
    }
    return lines;
  };
  return {
    line: ({ file, line }) => linesOf(file)[line - 1]?.trim() ?? "",
    frame: (position) => frame(linesOf(position.file), position),
    fileName: ({ file }) => displayPath(file),
  };
}

/** Lines of context above the one that a frame is about. */
const FRAME_CONTEXT = 2;

function frame(lines: readonly string[], { line, column }: SourcePosition): string[] {
  const first = Math.max(1, line - FRAME_CONTEXT);
  const shown = lines.slice(first - 1, line);
  if (shown.length !== line - first + 1) return []; // the file is not the one that was run
  const width = String(line).length;
  // The caret stands behind the same tabs as its line. What a frame has of indentation, all of its lines have.
  const indent = Math.min(...shown.filter((text) => text.trim() !== "").map((text) => text.search(/\S/)));
  const rows = shown.map((text, index) => {
    const mark = first + index === line ? ">" : " ";
    return `${mark} ${String(first + index).padStart(width)} | ${text.slice(indent)}`.trimEnd();
  });
  const before = (lines[line - 1] ?? "").slice(indent, column - 1).replace(/[^\t]/g, " ");
  return [...rows, `  ${" ".repeat(width)} | ${before}^`];
}

/** A path for people: relative to the working directory where it is below it, else as it is. */
export function displayPath(file: string): string {
  if (!isAbsolute(file)) return file;
  const path = relative(process.cwd(), file);
  return path.startsWith("..") ? file : path;
}

function readLines(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch {
    return []; // the source may not be shipped: a listing without its text is still a listing
  }
}
