import { basename } from "node:path";

/** How this program was called, for help texts and hints that can be typed as they stand. */
export const INVOCATION: string =
  basename(process.argv[1] ?? "") === "main.ts" ? "npx tsx src/main.ts" : "tsbpf";
