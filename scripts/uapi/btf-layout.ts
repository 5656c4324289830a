/** Reads struct layouts and enumerators out of BTF: what gcc's `-gbtf` wrote, or `/sys/kernel/btf/vmlinux`. */
import { type Btf, type BtfType, type BtfVoid, decodeBtf } from "../../src/btf/index.ts";
import type { FieldFacts, StructFacts } from "./facts.ts";

/** What a script asks of a BTF blob. */
export interface BtfLayouts {
  /** The layout of `struct NAME` or `union NAME`; undefined if the blob has no such definition. */
  layout(name: string): StructFacts | undefined;
  /** Every enumerator. */
  enumerators(): ReadonlyMap<string, bigint>;
  /** Names and type ids of the functions or typedefs whose name matches. */
  named(kind: "func" | "typedef", pattern: RegExp): number[];
}

/** Reads a BTF blob. */
export function readBtf(blob: Uint8Array): BtfLayouts {
  const btf = decodeBtf(blob);
  return {
    layout(name) {
      const id = [...btf.ids(name, "struct"), ...btf.ids(name, "union")][0];
      if (id === undefined) return undefined;
      return { name, size: sizeOf(btf, id), fields: fieldsOf(btf, id, 0) };
    },
    enumerators() {
      const found = new Map<string, bigint>();
      for (let id = 1; id < btf.typeCount; id++) {
        const type = btf.type(id);
        if (type.kind !== "enum" && type.kind !== "enum64") continue;
        for (const { name, value } of type.values) if (!found.has(name)) found.set(name, BigInt(value));
      }
      return found;
    },
    named(kind, pattern) {
      const ids = Array.from({ length: btf.typeCount - 1 }, (_, index) => index + 1);
      return ids.filter((id) => btf.kind(id) === kind && pattern.test(btf.name(id)));
    },
  };
}

function fieldsOf(btf: Btf, id: number, baseBits: number): FieldFacts[] {
  const outer = btf.type(id);
  if (outer.kind !== "struct" && outer.kind !== "union") throw new Error(`BTF type ${id} has no members`);
  return outer.members.flatMap((member): FieldFacts[] => {
    const type = btf.type(member.type);
    const bits = baseBits + member.bitOffset;
    const unnamedComposite = (type.kind === "struct" || type.kind === "union") && type.name === "";
    if (member.name === "") return unnamedComposite ? fieldsOf(btf, member.type, bits) : [];
    const field = {
      name: member.name,
      offset: Math.floor(bits / 8),
      size: sizeOf(btf, member.type),
      type: typeText(btf, type),
    };
    if (member.bitfieldSize > 0) return [{ ...field, bitOffset: bits, bitSize: member.bitfieldSize }];
    if (unnamedComposite) return [{ ...field, fields: fieldsOf(btf, member.type, bits) }];
    return [field];
  });
}

function sizeOf(btf: Btf, id: number): number {
  const type = btf.type(id);
  if ("size" in type) return type.size;
  if (type.kind === "ptr") return btf.pointerSize;
  if (type.kind === "array") return type.length * sizeOf(btf, type.type);
  if ("type" in type) return sizeOf(btf, type.type);
  return 0;
}

function typeText(btf: Btf, type: BtfType | BtfVoid, dimensions = ""): string {
  if (type.kind === "array") return typeText(btf, btf.type(type.type), `${dimensions}[${type.length}]`);
  return `${elementText(btf, type)}${dimensions}`;
}

function elementText(btf: Btf, type: BtfType | BtfVoid): string {
  switch (type.kind) {
    case "ptr": {
      const target = typeText(btf, btf.type(type.type));
      return target.endsWith("*") ? `${target}*` : `${target} *`;
    }
    case "struct":
    case "union":
      return `${type.kind} ${type.name}`.trimEnd();
    case "enum":
    case "enum64":
      return `enum ${type.name}`.trimEnd();
    case "fwd":
      return `struct ${type.name}`;
    case "const":
      return `const ${typeText(btf, btf.type(type.type))}`;
    case "volatile":
    case "restrict":
    case "typeTag":
      return typeText(btf, btf.type(type.type));
    case "void":
      return "void";
    default:
      return "name" in type ? type.name : type.kind;
  }
}
