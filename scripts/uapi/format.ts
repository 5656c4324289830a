/** Formats generated text as the project's formatter does. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const project = fileURLToPath(new URL("../..", import.meta.url));

/** Formatted text. The file's name decides the language; the file itself is not read or written. */
export function format(name: string, text: string): string {
  const biome = fileURLToPath(new URL("../../node_modules/.bin/biome", import.meta.url));
  return execFileSync(biome, ["format", `--stdin-file-path=src/uapi/${name}`], {
    cwd: project,
    input: text,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
}
