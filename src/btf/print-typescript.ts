import { typeName } from "./c-declarator.ts";
import { BtfError } from "./error.ts";
import { flatMembers, resolve } from "./lookup.ts";
import type { BtfEnum, BtfEnum64, BtfStruct, BtfTypeId, BtfTypes, BtfUnion } from "./type.ts";

/**
 * Structs, unions and enums as TypeScript, in the form of `src/uapi`: a struct is an object of byte offsets and its
 * `size`, an enum an object of values and the type of a value. Anonymous members' fields stand beside the others; a
 * field that is itself called `size` becomes `size_`; the comment on each field is its C type.
 *
 * @throws BtfError for a type that is none of these, or has no name (typedefs name what they stand for).
 *
 * @example
 * ```ts
 * printTypeScript(btf, getType(btf, "struct", "ethhdr").id);
 * // export const ethhdr = { h_dest: 0, h_source: 6, h_proto: 12, size: 14 } as const;
 * ```
 */
export function printTypeScript(types: BtfTypes, ids: BtfTypeId | readonly BtfTypeId[]): string {
  const list = typeof ids === "number" ? [ids] : ids;
  return list.map((id) => printOne(types, id)).join("\n");
}

function printOne(types: BtfTypes, id: BtfTypeId): string {
  const named = types.type(id);
  const type = types.type(resolve(types, id));
  const name = "name" in named ? named.name : "";
  const title = inComment(types, id);
  if (name === "")
    throw new BtfError(`type ${id} (${named.kind}) has no name to print it under`, { typeId: id });
  switch (type.kind) {
    case "struct":
    case "union":
      return printRecord(types, id, type, name, title);
    case "enum":
    case "enum64":
      return printEnum(type, name, title);
    default:
      throw new BtfError(`${title} is no struct, union or enum: it has no form in TypeScript`, {
        typeId: id,
      });
  }
}

function printRecord(
  types: BtfTypes,
  id: BtfTypeId,
  { size }: BtfStruct | BtfUnion,
  name: string,
  title: string,
): string {
  const lines = [`/** ${title}, ${size} bytes. */`, `export const ${identifier(name)} = {`];
  for (const { name, type, bitOffset, bitfieldSize } of flatMembers(types, id)) {
    const bits = bitfieldSize === 0 ? "" : `, ${bitfieldSize} bits from bit ${bitOffset % 8}`;
    lines.push(`  /** ${inComment(types, type)}${bits} */`);
    lines.push(`  ${key(name === "size" ? "size_" : name)}: ${Math.floor(bitOffset / 8)},`);
  }
  lines.push(`  size: ${size},`, "} as const;", "");
  return joined(lines);
}

function printEnum({ values }: BtfEnum | BtfEnum64, name: string, title: string): string {
  const constant = identifier(name);
  const lines = [`/** ${title} */`, `export const ${constant} = {`];
  for (const { name, value } of values)
    lines.push(`  ${key(name)}: ${value}${typeof value === "bigint" ? "n" : ""},`);
  lines.push("} as const;");
  lines.push(`/** A value of ${title}. */`);
  lines.push(`export type ${constant} = (typeof ${constant})[keyof typeof ${constant}];`, "");
  return joined(lines);
}

/** Bytes that no compiler wrote can stand for more text than there is memory. */
function joined(lines: readonly string[]): string {
  const length = lines.reduce((sum, line) => sum + line.length, 0);
  if (length > MAX_TEXT) throw new BtfError(`${length} characters of TypeScript are too many`);
  return lines.join("\n");
}

const MAX_TEXT = 2 ** 26;

function key(name: string): string {
  if (name === "__proto__") return `["__proto__"]`;
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

/** A C type for a comment, which nothing in it may end. */
function inComment(types: BtfTypes, id: BtfTypeId): string {
  return `\`${typeName(types, id).replaceAll("*/", "* /")}\``;
}

/** C's names are TypeScript's, but for dots and TypeScript's own words. */
function identifier(name: string): string {
  const plain = name.replace(/[^\w$]/g, "_");
  return RESERVED.has(plain) ? `${plain}_` : plain;
}

const RESERVED = new Set(
  (
    "await break case catch class const continue debugger default delete do else enum export extends false finally for " +
    "function if implements import in instanceof interface let new null package private protected public return " +
    "static super switch this throw true try typeof var void while with yield any boolean never number object string " +
    "symbol unknown bigint undefined"
  ).split(" "),
);
