/** Finds constants in the output of `gcc -E -dD`: what each file defines, in the order of its lines. */

/** A name and the text that gives it its value; an enumerator without one has an empty body. */
export interface ScannedName {
  readonly name: string;
  readonly body: string;
}

/** One `#define` or one enum. */
export type Scanned =
  | ({ readonly kind: "define" } & ScannedName)
  | { readonly kind: "enum"; readonly name: string | null; readonly members: readonly ScannedName[] };

/** Scans preprocessed text. Keys are the files' paths as the line markers give them. */
export function scanPreprocessed(text: string): Map<string, Scanned[]> {
  const found: { at: number; file: string; item: Scanned }[] = [];
  const starts: { at: number; file: string }[] = [];
  let code = "";
  let file = "";
  for (const line of text.split("\n")) {
    const marker = /^# \d+ "([^"]*)"/.exec(line);
    const define = /^#define (\w+)(\(?)\s*(.*)$/.exec(line);
    if (marker?.[1] !== undefined) {
      file = marker[1];
      starts.push({ at: code.length, file });
    } else if (define !== null) {
      const [, name = "", paren, body = ""] = define;
      // A directive inside an enum's braces belongs to the enum's place, after it.
      if (paren === "" && body !== "")
        found.push({ at: code.length, file, item: { kind: "define", name, body } });
    } else if (!line.startsWith("#")) {
      code += `${line}\n`;
    }
  }
  for (const match of code.matchAll(/\benum\s*(\w+)?\s*\{([^}]*)\}/g)) {
    const members = splitTopLevel(match[2] ?? "")
      .map((text) => /^\s*(\w+)\s*(?:=\s*(.*))?/s.exec(text))
      .flatMap((member) => (member?.[1] === undefined ? [] : [{ name: member[1], body: member[2] ?? "" }]));
    const at = match.index;
    const place = starts.findLast((start) => start.at <= at);
    found.push({
      at: at - 0.5,
      file: place?.file ?? "",
      item: { kind: "enum", name: match[1] ?? null, members },
    });
  }
  const byFile = new Map<string, Scanned[]>();
  for (const { file, item } of found.sort((a, b) => a.at - b.at)) {
    const items = byFile.get(file) ?? [];
    items.push(item);
    byFile.set(file, items);
  }
  return byFile;
}

/** Splits at commas outside parentheses. */
function splitTopLevel(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = "";
  for (const char of text) {
    if (char === "(") depth++;
    if (char === ")") depth--;
    if (char === "," && depth === 0) {
      parts.push(part);
      part = "";
    } else {
      part += char;
    }
  }
  parts.push(part);
  return parts;
}
