/** Code in the documentation, so that tests can run what readers are told to write. */
import { readFileSync } from "node:fs";

/** The fenced blocks of a language in a Markdown file, in order, without their fences. */
export function codeBlocks(path: string, language: string): readonly string[] {
  const blocks: string[] = [];
  let block: string[] | undefined;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (block === undefined) {
      if (line === `\`\`\`${language}`) block = [];
    } else if (line === "```") {
      blocks.push(`${block.join("\n")}\n`);
      block = undefined;
    } else {
      block.push(line);
    }
  }
  return blocks;
}
