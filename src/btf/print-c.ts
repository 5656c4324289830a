import { cDeclaration, charge, cParameters, type DeclarationStyle, spellBase } from "./c-declarator.ts";
import { BtfError } from "./error.ts";
import { alignOf, recordAlignment, resolve, sizeOf } from "./lookup.ts";
import type {
  BtfEnum,
  BtfEnum64,
  BtfFunc,
  BtfStruct,
  BtfType,
  BtfTypeId,
  BtfTypes,
  BtfUnion,
  BtfVoid,
} from "./type.ts";

/**
 * Types as C: their definitions and those of everything they need, in an order that a C compiler takes. What is only
 * pointed to is declared and not defined. Sizes and offsets come out as they are in BTF: gaps become unnamed
 * bit-fields, and a struct is `packed` where it must be.
 *
 * A second type of the same name gets `___2` appended, as in bpftool, and a `func` becomes a prototype.
 *
 * @throws BtfError for types that contain themselves, or are nested too deep.
 *
 * @example
 * ```ts
 * printC(btf, getType(btf, "struct", "ethhdr").id);
 * // typedef unsigned char ... struct ethhdr { unsigned char h_dest[6]; ... };
 * ```
 */
export function printC(types: BtfTypes, ids: BtfTypeId | readonly BtfTypeId[]): string {
  const printer = createPrinter(types);
  for (const id of typeof ids === "number" ? [ids] : ids) printer.add(id);
  return printer.text();
}

interface Printer {
  add(id: BtfTypeId): void;
  text(): string;
}

// Nesting in C source is a dozen levels at most; a type that needs more is made to hurt.
const MAX_DEPTH = 100;

function createPrinter(types: BtfTypes): Printer {
  const chunks: string[] = [];
  const defined = new Set<BtfTypeId>();
  const inProgress = new Set<BtfTypeId>();
  const declaredTags = new Set<string>();
  const names = createNames(types);
  const budget = { left: 1_000_000 + 100 * types.typeCount };

  /**
   * Sees to it that a type can be used: completely, so that a value of it can be declared, or only by name, so that
   * a pointer to it can.
   */
  function need(id: BtfTypeId, complete: boolean, depth: number): void {
    if (depth > MAX_DEPTH || budget.left-- <= 0) {
      throw new BtfError(`type ${id} is nested too deep to print`, { typeId: id });
    }
    const type = types.type(id);
    switch (type.kind) {
      case "ptr":
        need(type.type, false, depth + 1);
        return;
      case "array":
        // Even a pointer to an array needs the element's size.
        need(type.type, true, depth + 1);
        return;
      case "const":
      case "volatile":
      case "restrict":
      case "typeTag":
      case "declTag":
      case "var":
        need(type.type, complete, depth + 1);
        return;
      case "funcProto":
        need(type.type, false, depth + 1);
        for (const param of type.params) need(param.type, false, depth + 1);
        return;
      case "func":
        need(type.type, false, depth + 1);
        return;
      case "typedef":
        defineTypedef(id, type.name, type.type, depth);
        if (complete) need(type.type, true, depth + 1);
        return;
      case "fwd":
        declareTag(`${type.of} ${type.name}`);
        return;
      case "enum":
      case "enum64":
        if (type.name !== "") defineEnum(id, type);
        return;
      case "struct":
      case "union":
        if (type.name === "") needMembers(id, type, depth);
        else if (complete) defineRecord(id, type, depth);
        else if (!defined.has(id)) declareTag(`${type.kind} ${names.tag(id)}`);
        return;
    }
  }

  function needMembers(id: BtfTypeId, record: BtfStruct | BtfUnion, depth: number): void {
    if (inProgress.has(id)) throw new BtfError(`type ${id} contains itself`, { typeId: id });
    inProgress.add(id);
    for (const member of record.members) need(member.type, true, depth + 1);
    inProgress.delete(id);
  }

  function declareTag(tag: string): void {
    if (declaredTags.has(tag)) return;
    declaredTags.add(tag);
    chunks.push(`${tag};`);
  }

  function defineRecord(id: BtfTypeId, record: BtfStruct | BtfUnion, depth: number): void {
    if (defined.has(id)) return;
    needMembers(id, record, depth);
    defined.add(id);
    const tag = `${record.kind} ${names.tag(id)}`;
    declaredTags.add(tag);
    chunks.push(`${tag} ${recordBody(id, record, 0)};`);
  }

  function defineEnum(id: BtfTypeId, type: BtfEnum | BtfEnum64): void {
    if (defined.has(id)) return;
    defined.add(id);
    const name = names.tag(id);
    chunks.push(type.values.length === 0 ? `enum ${name};` : `enum ${name} ${enumBody(type, 0)};`);
  }

  function defineTypedef(id: BtfTypeId, name: string, target: BtfTypeId, depth: number): void {
    if (defined.has(id)) return;
    if (inProgress.has(id))
      throw new BtfError(`typedef '${name}' (type ${id}) is made of itself`, { typeId: id });
    inProgress.add(id);
    need(target, false, depth + 1);
    inProgress.delete(id);
    defined.add(id);
    // Compilers have this one built in.
    if (name === "__builtin_va_list") return;
    chunks.push(`typedef ${declare(target, names.ordinary(id, name), 0)};`);
  }

  function declare(id: BtfTypeId, name: string, indent: number): string {
    return cDeclaration(types, id, name, styleAt(indent));
  }

  function styleAt(indent: number): DeclarationStyle {
    return { spell: (id, type) => spell(id, type, indent), tags: true, budget };
  }

  function spell(id: BtfTypeId, type: BtfType | BtfVoid, indent: number): string {
    switch (type.kind) {
      case "struct":
      case "union":
        if (type.name === "") return `${type.kind} ${recordBody(id, type, indent)}`;
        return `${type.kind} ${names.tag(id)}`;
      case "enum":
      case "enum64":
        if (type.name !== "") return `enum ${names.tag(id)}`;
        // What a parameter's anonymous enum has for values no one could name.
        if (type.values.length === 0) return "unsigned int";
        defined.add(id);
        return `enum ${enumBody(type, indent)}`;
      case "typedef":
        return names.ordinary(id, type.name);
      default:
        return spellBase(type);
    }
  }

  function recordBody(id: BtfTypeId, record: BtfStruct | BtfUnion, indent: number): string {
    if (indent > MAX_DEPTH) throw new BtfError(`type ${id} is nested too deep to print`, { typeId: id });
    const { align, packed } = recordAlignment(types, record);
    const inside = "\t".repeat(indent + 1);
    const lines: string[] = [];
    const pad = (from: number, to: number): void => {
      const widest = record.members.length === 0 ? 8 : align;
      for (const line of padding(from, to, widest)) lines.push(`${inside}${line};`);
    };
    let end = 0;
    for (const member of record.members) {
      const bits = member.bitfieldSize || legacyWidth(types, member.type);
      const at = member.bitOffset;
      const natural = bits > 0 ? end : roundUp(end, packed ? 8 : alignOf(types, member.type) * 8);
      if (record.kind === "struct" && at > natural) pad(end, at);
      const declaration = declare(member.type, member.name, indent + 1);
      lines.push(`${inside}${declaration}${bits > 0 ? `: ${bits}` : ""};`);
      const memberEnd = at + (bits > 0 ? bits : sizeOfMember(types, member.type) * 8);
      end = record.kind === "struct" ? memberEnd : Math.max(end, memberEnd);
    }
    const natural = roundUp(end, align * 8);
    let attributes = packed ? " __attribute__((packed))" : "";
    if (record.size * 8 > natural) {
      if (record.kind === "struct") pad(end, record.size * 8);
      // Nothing but alignment makes a union larger than its largest member.
      else attributes += ` __attribute__((aligned(${lowestBit(record.size)})))`;
    }
    if (lines.length === 0) return `{}${attributes}`;
    return `{\n${lines.join("\n")}\n${"\t".repeat(indent)}}${attributes}`;
  }

  function enumBody(type: BtfEnum | BtfEnum64, indent: number): string {
    const inside = "\t".repeat(indent + 1);
    const suffix = type.kind === "enum64" ? (type.signed ? "LL" : "ULL") : "";
    const lines = type.values.map(({ name, value }) => {
      charge(budget, name);
      if (budget.left-- <= 0) throw new BtfError(`enum '${type.name}' is too large to print`);
      return `${inside}${names.enumerator(name)} = ${literal(value, suffix)},`;
    });
    return `{\n${lines.join("\n")}\n${"\t".repeat(indent)}}${enumMode(type)}`;
  }

  function declareFunc(id: BtfTypeId, func: BtfFunc): void {
    if (defined.has(id)) return;
    const proto = types.type(func.type);
    if (proto.kind !== "funcProto")
      throw new BtfError(`func '${func.name}' has no prototype`, { typeId: id });
    defined.add(id);
    need(func.type, false, 0);
    const style = styleAt(0);
    const name = `${names.ordinary(id, func.name)}(${cParameters(types, proto, style)})`;
    chunks.push(
      `${func.linkage === "static" ? "static" : "extern"} ${cDeclaration(types, proto.type, name, style)};`,
    );
  }

  return {
    add(id) {
      const type = types.type(id);
      if (type.kind === "func") {
        declareFunc(id, type);
      } else if (type.kind === "var") {
        need(type.type, true, 0);
        if (defined.has(id)) return;
        defined.add(id);
        chunks.push(`extern ${declare(type.type, names.ordinary(id, type.name), 0)};`);
      } else if ((type.kind === "enum" || type.kind === "enum64") && type.name === "") {
        if (defined.has(id) || type.values.length === 0) return;
        defined.add(id);
        chunks.push(`enum ${enumBody(type, 0)};`);
      } else {
        need(id, true, 0);
      }
    },
    text: () => layOut(chunks),
  };
}

/** One-liners stand together, bodies apart. */
function layOut(chunks: readonly string[]): string {
  let text = "";
  let previousIsBody = false;
  for (const chunk of chunks) {
    const isBody = chunk.includes("\n");
    if (text !== "" && (isBody || previousIsBody)) text += "\n";
    text += `${chunk}\n`;
    previousIsBody = isBody;
  }
  return text;
}

/** Which names are taken: tags are one name space in C, typedefs, functions and enumerators another. */
interface Names {
  tag(id: BtfTypeId): string;
  ordinary(id: BtfTypeId, name: string): string;
  enumerator(name: string): string;
}

function createNames(types: BtfTypes): Names {
  const tags = new Map<BtfTypeId, string>();
  const tagUses = new Map<string, number>();
  const ordinary = new Map<BtfTypeId, string>();
  const ordinaryUses = new Map<string, number>();
  const claim = (uses: Map<string, number>, name: string): string => {
    const count = (uses.get(name) ?? 0) + 1;
    uses.set(name, count);
    return count === 1 ? name : `${name}___${count}`;
  };
  const once = (known: Map<BtfTypeId, string>, id: BtfTypeId, make: () => string): string => {
    const name = known.get(id) ?? make();
    known.set(id, name);
    return name;
  };
  return {
    tag: (id) => {
      const type = types.type(id);
      return once(tags, id, () => claim(tagUses, "name" in type ? type.name : ""));
    },
    ordinary: (id, name) => once(ordinary, id, () => claim(ordinaryUses, name)),
    enumerator: (name) => claim(ordinaryUses, name),
  };
}

/**
 * Unnamed bit-fields over a gap: they move what follows and leave the alignment of the struct alone. A gap that would
 * take many of them is an array.
 */
function padding(from: number, to: number, align: number): string[] {
  const lines: string[] = [];
  let at = from;
  while (at < to) {
    if (at % 8 === 0 && to - at > MAX_PAD_BITS) {
      const bytes = Math.floor((to - at) / 8);
      lines.push(`char __pad_${at / 8}[${bytes}]`);
      at += bytes * 8;
      continue;
    }
    const unit = PAD_UNITS.find(({ bits }) => bits <= align * 8 && at % bits === 0 && at + bits <= to);
    const bits = unit?.bits ?? Math.min(8 - (at % 8), to - at);
    lines.push(`${unit?.type ?? "char"}: ${bits}`);
    at += bits;
  }
  return lines;
}

const MAX_PAD_BITS = 64 * 8;
const PAD_UNITS = [
  { type: "long long", bits: 64 },
  { type: "int", bits: 32 },
  { type: "short", bits: 16 },
  { type: "char", bits: 8 },
] as const;

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function lowestBit(value: number): number {
  return value & -value;
}

function legacyWidth(types: BtfTypes, id: BtfTypeId): number {
  const type = types.type(resolve(types, id));
  return type.kind === "int" && type.bits !== type.size * 8 ? type.bits : 0;
}

function sizeOfMember(types: BtfTypes, id: BtfTypeId): number {
  const type = types.type(resolve(types, id));
  return type.kind === "array" && type.length === 0 ? 0 : sizeOf(types, id);
}

/** C gives an enum the size of an int unless told otherwise. */
function enumMode({ kind, size }: BtfEnum | BtfEnum64): string {
  if (size === 1) return " __attribute__((mode(byte)))";
  if (size === 2) return " __attribute__((mode(HI)))";
  if (size === 8 && kind === "enum") return " __attribute__((mode(DI)))";
  return "";
}

function literal(value: number | bigint, suffix: string): string {
  // The most negative number is written as its neighbour less one: C has no negative literals.
  if (value === -(2n ** 63n)) return `${value + 1n}${suffix} - 1`;
  return `${value}${suffix}`;
}
