import type { Assembled } from "./assemble.ts";
import { type Dialect, insnText } from "./disassemble.ts";
import { encode } from "./encode.ts";
import type { SourcePosition } from "./source-position.ts";

/** An instruction of a {@link Listing}; plain data that survives `JSON.stringify`. */
export interface ListingLine {
  /** Instruction words before it. */
  readonly offset: number;
  /** Its 8 or 16 bytes in hexadecimal, in the program's byte order. */
  readonly bytes: string;
  readonly function: string;
  readonly block: string;
  /** Names of the blocks that begin here: one, or more where blocks before it are empty. */
  readonly labels: readonly string[];
  /** As {@link insnText} puts it. */
  readonly text: string;
  /** The line of TypeScript that wrote it; `null` where it was not recorded. */
  readonly source: SourcePosition | null;
}

/** A program to read: every instruction with its place, bytes, words and source line. */
export interface Listing {
  readonly program: string;
  readonly type: string;
  readonly lines: readonly ListingLine[];
}

/** Options of {@link listing}. */
export interface ListingOptions {
  /** Default `kernel`. */
  readonly dialect?: Dialect;
}

/**
 * Lists an assembled program as data, for `JSON.stringify` or {@link formatListing}.
 *
 * @example
 * ```ts
 * const pass = xdp("pass_all", { entry: [mov32(r0, XDP_PASS), exit()] });
 * console.log(formatListing(listing(assemble(pass))));
 * ```
 */
export function listing(assembled: Assembled, options: ListingOptions = {}): Listing {
  const { program, lines, blocks, endian } = assembled;
  const labels = new Map<number, string[]>();
  for (const { offset, name } of blocks) labels.set(offset, [...(labels.get(offset) ?? []), name]);
  return {
    program: program.name,
    type: program.type,
    lines: lines.map(({ offset, insn, function: fn, block }) => ({
      offset,
      bytes: Array.from(encode([insn], endian), (byte) => byte.toString(16).padStart(2, "0")).join(""),
      function: fn,
      block,
      labels: labels.get(offset) ?? [],
      text: insnText(insn, offset, options),
      source: insn.source?.position() ?? null,
    })),
  };
}

/** How {@link formatListing} writes. */
export interface FormatListingOptions {
  /** Leave out the columns of bytes, or of source lines; default both are there. */
  readonly bytes?: boolean;
  readonly source?: boolean;
  /** How to write a file's name, for instance relative to the working directory; default as it is. */
  readonly fileName?: (file: string) => string;
  /**
   * The text of a source line, where it can be read: the line then stands above the instructions that it wrote, instead of its
   * number behind each of them.
   */
  readonly sourceText?: (position: SourcePosition) => string;
}

/**
 * Writes a {@link Listing} as text: a line for each function and block, and below it the instructions, as in
 *
 * ```text
 * xdp_same_cpu:
 *   entry:
 *      0  85 00 00 00 08 00 00 00  call bpf_get_smp_processor_id#8  ; src/programs/same-cpu.ts:12:7
 * ```
 *
 * or, with the text of the source,
 *
 * ```text
 * xdp_same_cpu:
 *   entry:
 *   ; src/programs/same-cpu.ts:12  const cpu = $.bpf_get_smp_processor_id();
 *      0  85 00 00 00 08 00 00 00  call bpf_get_smp_processor_id#8
 * ```
 *
 * @returns lines without the newline at the end of the last one.
 */
export function formatListing(listing: Listing, options: FormatListingOptions = {}): string {
  const { bytes = true, source = true, fileName = (file: string) => file, sourceText } = options;
  const offsetWidth = Math.max(4, `${listing.lines.at(-1)?.offset ?? 0}`.length);
  const textWidth = listing.lines.reduce((width, { text }) => Math.max(width, text.length), 0);
  let current: string | undefined;
  let above: string | undefined;
  return listing.lines
    .flatMap((line) => {
      const heads = line.function === current ? [] : [`${line.function}:`];
      current = line.function;
      for (const label of line.labels) heads.push(`  ${label}:`);
      if (heads.length > 0) above = undefined;
      // The second word of a 64-bit immediate load gets a line of its own, so that the columns stay narrow.
      const [first = "", ...rest] = bytes ? hexRows(line.bytes) : [];
      const at = line.source;
      if (source && at !== null && sourceText !== undefined) {
        const written = `  ; ${fileName(at.file)}:${at.line}  ${sourceText(at)}`.trimEnd();
        if (written !== above) heads.push(written);
        above = written;
      }
      const origin =
        source && at !== null && sourceText === undefined
          ? `  ; ${fileName(at.file)}:${at.line}:${at.column}`
          : "";
      const text = origin === "" ? line.text : line.text.padEnd(textWidth);
      const gap = " ".repeat(offsetWidth + 4);
      const row = `  ${`${line.offset}`.padStart(offsetWidth)}  ${first === "" ? "" : `${first}  `}${text}${origin}`;
      return [...heads, row, ...rest.map((more) => `${gap}${more}`)];
    })
    .join("\n");
}

function hexRows(hex: string): readonly string[] {
  const rows = hex.match(/.{16}/g) ?? [];
  return rows.map((row) => (row.match(/../g) ?? []).join(" "));
}
