import { LITTLE_ENDIAN } from "../../base/host.ts";
import { suggest } from "../../base/suggest.ts";
import { typeName } from "../c-declarator.ts";
import { type Field, resolve, sizeOf, skipQualifiers, structInfo } from "../lookup.ts";
import type { BtfParam, BtfTypeId, BtfTypes } from "../type.ts";
import { LayoutError } from "./error.ts";
import { checkRecord } from "./field.ts";
import type { Layout } from "./layout.ts";
import { type BitFieldBase, bits, isBitField, type Member, type Members, memberLayout } from "./member.ts";
import type { Placed } from "./place.ts";
import type { PointerLayout } from "./pointer.ts";
import { type StructLayout, structAt } from "./struct.ts";

/**
 * What members are called in BTF, where that is not their own name: a path such as `se.vruntime`, or several, of which the
 * first that is there is taken.
 */
export type BtfNames<M extends Members> = { readonly [Name in keyof M]?: string | readonly string[] };

/**
 * A struct of BTF, usually the running kernel's, with those of its members that are named, each where BTF has it. What the
 * members are is declared, for the types of TypeScript, and compared: sizes, what pointers point to, names of structs.
 * Anonymous structs and unions are seen through. Bit fields may be declared as plain integers.
 *
 * @param id - the struct, a union, or a typedef of either.
 * @throws LayoutError for a member that BTF does not have, or has as something else.
 */
export function structFromBtf<const Name extends string, M extends Members>(
  types: BtfTypes,
  id: BtfTypeId,
  name: Name,
  members: M,
  names: BtfNames<M> = {},
): StructLayout<Name, M> {
  const struct = structInfo(types, id);
  for (const renamed of Object.keys(names)) {
    if (!Object.hasOwn(members, renamed)) {
      throw new LayoutError(name, `'${renamed}' has another name, and is no member that is asked for`);
    }
  }
  const placed = checkRecord("struct", name, members, {}).map(([memberName, member]): Placed => {
    const given = names[memberName] ?? memberName;
    const paths = typeof given === "string" ? [given] : given;
    const path = paths.find((candidate) => struct.has(candidate));
    if (path === undefined) throw missing(name, paths, struct.names);
    return placeMember(types, name, memberName, member, struct.field(path));
  });
  const align = Math.max(...placed.map(({ member }) => memberLayout(member).align));
  return structAt(name, membersOf(placed) as M, { size: struct.size, align, placed });
}

/**
 * The arguments of a function of BTF as a struct of 64-bit words, as tracing programs are given them: those that are named,
 * by their names or, where BTF has none, as `arg0`, `arg1`...
 *
 * @throws LayoutError for an argument that the function does not have, or that is something else.
 */
export function argumentsFromBtf<const Name extends string, M extends Members>(
  types: BtfTypes,
  params: readonly BtfParam[],
  name: Name,
  members: M,
): StructLayout<Name, M> {
  const placed = checkRecord("struct", name, members, {}).map(([memberName, member]): Placed => {
    const index = params.findIndex(
      (param, at) => param.name === memberName || (param.name === "" && memberName === `arg${at}`),
    );
    const param = params[index];
    if (param === undefined) {
      const names = params.map((one, at) => (one.name === "" ? `arg${at}` : one.name));
      throw missing(name, [memberName], names, "argument");
    }
    const size = sizeOf(types, param.type);
    const layout = memberLayout(member);
    if (size > WORD || isBitField(member)) {
      throw new LayoutError(name, `argument '${memberName}' is ${typeName(types, param.type)}`, {
        hint: "Arguments of up to 64 bits are given: numbers and pointers.",
      });
    }
    checkType(types, `${name}.${memberName}`, layout, param.type, size);
    const shift = LITTLE_ENDIAN ? 0 : WORD - size;
    return { name: memberName, member, bitOffset: (index * WORD + shift) * 8, bitSize: size * 8 };
  });
  return structAt(name, members, { size: Math.max(1, params.length) * WORD, align: WORD, placed });
}

/** Bytes of an argument. */
const WORD = 8;

function placeMember(types: BtfTypes, root: string, name: string, member: Member, field: Field): Placed {
  const path = `${root}.${name}`;
  const { bitfield } = field;
  if (bitfield !== undefined) {
    const own = asBits(member, bitfield.width);
    if (own === undefined) {
      throw new LayoutError(path, `it is a bit field of ${bitfield.width} bits`, {
        hint: `Declare it as a number of ${field.size * 8} bits, or with bits(…, ${bitfield.width}).`,
      });
    }
    const fromStart = LITTLE_ENDIAN ? bitfield.shift : field.size * 8 - bitfield.shift - bitfield.width;
    return { name, member: own, bitOffset: field.offset * 8 + fromStart, bitSize: bitfield.width };
  }
  if (isBitField(member)) {
    throw new LayoutError(path, `it is no bit field but ${typeName(types, field.type)}`, {
      hint: "Declare it as a whole.",
    });
  }
  const layout = memberLayout(member);
  checkType(types, path, layout, field.type, field.size);
  return { name, member: layout, bitOffset: field.offset * 8, bitSize: layout.size * 8 };
}

/** A member as a bit field so wide, if it can be one. */
function asBits(member: Member, width: number): Member | undefined {
  if (isBitField(member)) return member.width === width ? member : undefined;
  const layout = memberLayout(member) as Layout & Partial<BitFieldBase>;
  const isInteger = layout.order === "host" && layout.kind !== "bool";
  return isInteger && layout.size * 8 >= width ? bits(layout as BitFieldBase, width) : undefined;
}

/** Refuses a layout that BTF has something else for. Signs are the declarer's business, as the values are. */
function checkType(types: BtfTypes, path: string, layout: Layout, id: BtfTypeId, size: number): void {
  const type = types.type(resolve(types, id));
  const is = typeName(types, id);
  switch (layout.kind) {
    case "struct":
    case "union": {
      const { name } = layout as StructLayout;
      const named = "name" in type ? type.name : "";
      const same = type.kind === layout.kind || type.kind === "struct" || type.kind === "union";
      if (!same || layout.size !== size || (name !== "" && named !== "" && name !== named)) {
        throw different(path, layout, is, size);
      }
      return;
    }
    case "array":
    case "text":
    case "bytes":
      // A flexible array has no length: whoever names one knows how much is there.
      if (size !== 0 && layout.size > size) throw different(path, layout, is, size);
      if (layout.kind !== "bytes" && type.kind !== "array") throw different(path, layout, is, size);
      return;
    case "pointer": {
      if (type.kind !== "ptr") throw different(path, layout, is, size);
      const { to } = layout as PointerLayout;
      if (to?.kind !== "struct" && to?.kind !== "union") return;
      const target = types.type(resolve(types, skipQualifiers(types, type.type)));
      const named = "name" in target ? target.name : "";
      const { name } = to as StructLayout;
      if (named !== "" && name !== named) {
        throw new LayoutError(path, `it is ${is}, and is declared as a pointer to ${to.cName}`, {
          hint: `Declare it as pointer(kernelLayout("${named}", { … })), or as a u64 that $.view takes.`,
        });
      }
      return;
    }
    case "reserved":
    case "data_loc":
      throw new LayoutError(path, "it is declared as what only other structs have");
    default: {
      const isScalar = ["int", "enum", "enum64", "ptr", "float"].includes(type.kind);
      if (!isScalar || layout.size !== size) throw different(path, layout, is, size);
    }
  }
}

function different(path: string, layout: Layout, is: string, size: number): LayoutError {
  return new LayoutError(
    path,
    `it is ${is} of ${size} bytes, and is declared as ${layout.cName} of ${layout.size}`,
  );
}

function missing(
  root: string,
  paths: readonly string[],
  known: readonly string[],
  what = "member",
): LayoutError {
  const [path = ""] = paths;
  const all =
    known.length <= 40
      ? `It has ${known.join(", ")}.`
      : "bpftool btf dump file /sys/kernel/btf/vmlinux shows it.";
  const hint = suggest(path, [...known]) ?? all;
  return new LayoutError(root, `it has no ${what} '${paths.join("', nor '")}'`, { hint });
}

function membersOf(placed: readonly Placed[]): Members {
  return Object.freeze(Object.fromEntries(placed.map(({ name, member }) => [name, member])));
}
