/** Compiles code of the documentation as a user of the package does. */
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "./page.ts";

/**
 * What the compiler says about files, with the repository's options: by file, all of them compiled once. What only a
 * library needs is not asked of them: types of exports, and that every variable is used (`using` holds what it names).
 *
 * @param more - further options of the compiler.
 */
export function typeErrors(
  files: readonly string[],
  more: ts.CompilerOptions = {},
): ReadonlyMap<string, readonly string[]> {
  const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files }, ts.sys, ROOT);
  const own = { isolatedDeclarations: false, declaration: false, noUnusedLocals: false };
  const program = ts.createProgram([...files], { ...options, ...own, ...more });
  const errorsOf = (file: string): string[] =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText, start = 0, file: source }) => {
        const line = source?.getLineAndCharacterOfPosition(start).line ?? 0;
        return `line ${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
      });
  return new Map(files.map((file) => [file, errorsOf(file)]));
}
