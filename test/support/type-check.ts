/** The compiler, asked about files that only the test has. */
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** The repository's root, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** An error of the compiler. */
export interface TypeMessage {
  /** The first line is 1. */
  readonly line: number;
  /** All of its lines. */
  readonly text: string;
}

/**
 * Compiles texts as if they were files of the repository, with its options, and gives what the compiler says of each.
 *
 * @param texts - by absolute path.
 */
export function typeMessages(
  texts: ReadonlyMap<string, string>,
): ReadonlyMap<string, readonly TypeMessage[]> {
  const { config } = ts.readConfigFile(`${ROOT}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (name) => texts.has(name) || fileExists(name);
  host.readFile = (name) => texts.get(name) ?? readFile(name);
  host.getSourceFile = (name, target, ...rest) => {
    const text = texts.get(name);
    return text === undefined
      ? getSourceFile(name, target, ...rest)
      : ts.createSourceFile(name, text, target);
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  const messagesOf = (path: string): readonly TypeMessage[] =>
    program.getSemanticDiagnostics(program.getSourceFile(path)).map(({ file, start = 0, messageText }) => ({
      line: (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1,
      text: ts.flattenDiagnosticMessageText(messageText, "\n"),
    }));
  return new Map([...texts.keys()].map((path) => [path, messagesOf(path)]));
}
