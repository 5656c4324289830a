/** The programs of test/vectors/lang/c, compiled. */
import { fileURLToPath } from "node:url";
import type { MapDef } from "../../src/asm/map-def.ts";
import type { Program } from "../../src/asm/program.ts";
import type { Layout } from "../../src/btf/layout/index.ts";
import { type Clang, compileC, programOfObject } from "../support/clang.ts";
import type { Case } from "./cases.ts";
import * as mapDefs from "./maps.ts";

/** Where the C files are. */
export const cProgramsDirectory: URL = new URL("../vectors/lang/c/", import.meta.url);

const maps = Object.values<MapDef | Layout>(mapDefs).filter((def) => def.kind === "map") as readonly MapDef[];
const compiled = new Map<string, Program>();

/** The instruction sets that a clang knows: `v4` came with version 17. Its instructions are for kernel 6.6 and newer. */
export function cpusOf({ version }: Clang): readonly ("v3" | "v4")[] {
  return version >= 17 ? ["v3", "v4"] : ["v3"];
}

/** Compiles the C file of a case, once for each compiler, instruction set and set of arguments. */
export function compileCase(
  clang: Clang,
  { name, type, attachType }: Case,
  cpu: "v3" | "v4",
  args: readonly string[] = [],
): Program {
  const key = [clang.path, name, cpu, ...args].join(" ");
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const object = compileC(clang, `${fileURLToPath(cProgramsDirectory)}${name}.c`, { cpu, args });
  const program = programOfObject(object, { type, entry: name, maps, ...(attachType && { attachType }) });
  compiled.set(key, program);
  return program;
}
