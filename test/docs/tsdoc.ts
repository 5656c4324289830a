/** The `@example`s of TSDoc, as modules that can be compiled and run: with the imports that a reader would add. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT, uniqueName } from "./page.ts";

/** An example in the comment of an export. */
export interface TsdocExample {
  /** Where it is: `src/kernel/map.ts:36`. */
  readonly place: string;
  /** The file: `src/kernel/map.ts`. */
  readonly source: string;
  /** What it is an example of: `getBatch`. */
  readonly name: string;
  readonly code: string;
}

/** Every `@example` of the sources that is TypeScript; one whose block says that it is something else (`text`) is left out. */
export function tsdocExamples(): readonly TsdocExample[] {
  return sourceFiles().flatMap((file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    return [...text.matchAll(/^[ \t]*\* @example\n((?:[ \t]*\*(?!\/)(?! @).*\n)*)/gm)].flatMap((match) => {
      const lines = (match[1] ?? "").split("\n").map((line) => line.replace(/^[ \t]*\* ?/, ""));
      const code = lines.join("\n").trim();
      const fenced = /^```(\w*)\n([\s\S]*?)\n```/.exec(code);
      if (fenced !== null && fenced[1] !== "ts") return [];
      const line = text.slice(0, match.index).split("\n").length;
      const [, name = ""] = DECLARED.exec(text.slice(match.index)) ?? [];
      return [{ place: `${file}:${line}`, source: file, name, code: fenced?.[2] ?? code }];
    });
  });
}

/** What the comment is on: the name in the line after its end. */
const DECLARED =
  /\*\/\n\s*(?:(?:export|declare|abstract|static|async|function\*?|class|const|interface|type) )*(\w+)/;

function sourceFiles(): readonly string[] {
  // Without the directories that other tests write into src/ meanwhile: their names begin with a dot.
  return readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.startsWith("."))
    .map((name) => `src/${name}`)
    .sort();
}

/** How examples are written. */
export interface WriteOptions {
  /**
   * The beginning of a module that gives an example these names, which are those of what the documentation takes for granted that
   * it uses. Default: their declarations (example-names.ts), for the compiler.
   */
  readonly grant?: (example: TsdocExample, names: readonly string[]) => string;
  /** Edits the code, so that a test has pins and cgroups of its own. */
  readonly change?: (code: string) => string;
}

/** Examples on disk, with their imports. */
export interface WrittenExamples extends Disposable {
  /** By place. */
  readonly files: ReadonlyMap<string, string>;
  /** Places of those that use nothing but what is pure and what they declare: they run anywhere. */
  readonly pure: readonly string[];
}

/**
 * Writes each example as a module that imports what it uses and does not declare: what the documentation takes for granted
 * (example-names.ts), then what the package exports, its own subpath first, then what is exported inside of it.
 */
export function writeExamples(
  examples: readonly TsdocExample[],
  { grant = declareNames, change = (code) => code }: WriteOptions = {},
): WrittenExamples {
  const directory = join(ROOT, "examples", uniqueName());
  mkdirSync(directory, { recursive: true });
  const granted = exportsOf("test/docs/example-names.ts");
  const sources = sourceFiles();
  const pure: string[] = [];
  const subpaths = publicSubpaths().map(({ name, file }) => ({ name, file, names: exportsOf(file) }));
  const files = examples.map((example, index) => {
    const { place, source, code } = example;
    const own = subpaths.filter(({ file }) => source.startsWith(file.replace(/index\.ts$/, "")));
    const nearest = [...own.sort((a, b) => b.file.length - a.file.length), ...subpaths];
    const free = freeNames(code);
    const names = free.filter((name) => granted.has(name));
    const imports = free.flatMap((name) => {
      if (granted.has(name)) return [];
      const subpath = nearest.find(({ names }) => names.has(name));
      if (subpath !== undefined) return [`import { ${name} } from "${subpath.name}";`];
      const inside = [source, ...sources].find((file) => exportsOf(file).has(name));
      return inside === undefined ? [] : [`import { ${name} } from "../../${inside}";`];
    });
    const path = join(directory, `example-${index}.ts`);
    // The marker keeps an example without imports a module of its own.
    const isPure = imports.every((line) => PURE.test(line)) && !code.includes("import ");
    if (isPure && names.length === 0) pure.push(place);
    const body = change(code.replaceAll("{ ... }", "{}"));
    writeFileSync(path, [...imports, grant(example, names), body, "export {};", ""].join("\n"));
    return [place, path] as const;
  });
  return {
    files: new Map(files),
    pure,
    [Symbol.dispose]() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const declareNames = (_: TsdocExample, names: readonly string[]): string =>
  names.length === 0 ? "" : `import { ${names.join(", ")} } from "../../test/docs/example-names.ts";`;

/** The subpaths of package.json, and the file of each. */
function publicSubpaths(): readonly { readonly name: string; readonly file: string }[] {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    exports: Record<string, { source?: string }>;
  };
  return Object.entries(exports).flatMap(([key, target]) => {
    const { source = "" } = target;
    const name = `tsbpf${key.slice(1)}`;
    if (source === "") return [];
    if (!source.includes("*")) return [{ name, file: source.slice(2) }];
    return readdirSync(join(ROOT, source.replace(/\*.*/, "")))
      .filter((file) => file.endsWith(".ts"))
      .map((file) => file.replace(/\.ts$/, ""))
      .map((stem) => ({ name: name.replace("*", stem), file: source.slice(2).replace("*", stem) }));
  });
}

/** An import of what touches no kernel. */
const PURE = / from "tsbpf\/(asm|btf|lang|lang\/net|layout|programs|uapi\/[\w-]+)";$/;

const parse = (file: string, text: string): ts.SourceFile =>
  ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);

const exported = new Map<string, ReadonlySet<string>>();

/** Names that a file exports. */
function exportsOf(file: string): ReadonlySet<string> {
  const known = exported.get(file);
  if (known !== undefined) return known;
  const names = new Set<string>();
  for (const statement of parse(file, readFileSync(join(ROOT, file), "utf8")).statements) {
    if (ts.isExportDeclaration(statement) && statement.exportClause !== undefined) {
      if (ts.isNamedExports(statement.exportClause)) {
        for (const { name } of statement.exportClause.elements) names.add(name.text);
      }
    } else if (ts.canHaveModifiers(statement)) {
      const modifiers = ts.getModifiers(statement) ?? [];
      if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) continue;
      if (ts.isVariableStatement(statement)) {
        for (const { name } of statement.declarationList.declarations) {
          if (ts.isIdentifier(name)) names.add(name.text);
        }
      } else if ("name" in statement && statement.name !== undefined) {
        names.add((statement.name as ts.Identifier).text);
      }
    }
  }
  exported.set(file, names);
  return names;
}

/** Names that code uses and does not declare. */
function freeNames(code: string): readonly string[] {
  const used = new Set<string>();
  const declared = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isMember =
        (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
        (ts.isPropertyAssignment(parent) && parent.name === node) ||
        (ts.isBindingElement(parent) && parent.propertyName === node) ||
        ts.isPropertySignature(parent);
      const isDeclaration =
        "name" in parent && parent.name === node && !isMember && !ts.isShorthandPropertyAssignment(parent);
      if (isDeclaration) declared.add(node.text);
      else if (!isMember) used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(parse("example.ts", code));
  return [...used].filter((name) => !declared.has(name)).sort();
}
