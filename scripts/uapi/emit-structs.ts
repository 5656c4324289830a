import type { Facts, FieldFacts, StructFacts } from "./facts.ts";
import { attrCommands } from "./units.ts";

/** `structs.ts`: per struct a flat object of byte offsets, and all of them with sizes and types in `structLayouts`. */
export function renderStructs(facts: Facts): string {
  const structs = facts.structs.flatMap((struct) => unnest(struct.name, `\`struct ${struct.name}\``, struct));
  return [
    "// Layouts of the structs that programs and the bpf() syscall touch, on 64-bit machines.",
    "//",
    "// `iphdr.saddr` is the field's byte offset, `iphdr.size` the size of the struct; a field that is itself called size",
    "// is `size_`. Members of unnamed structs and unions stand beside the others. A named member of an unnamed struct or",
    "// union type has an object of its own, `bpf_link_info_xdp`, with offsets from the start of the outer struct and, as",
    "// `size`, where the member ends. A bit-field's offset is that of the byte with its first bit.",
    "",
    ...structs.map(renderOffsets),
    "/** One field of a struct. */",
    "export interface FieldLayout {",
    "  /** Bytes from the start of the (outer) struct; of a bit-field, of the byte with its first bit. */",
    "  readonly offset: number;",
    "  /** Bytes; of a bit-field, of its declared type. */",
    "  readonly size: number;",
    "  /** The C type, arrays as in `__u8[6]`. */",
    "  readonly type: string;",
    "  /** Bits from the start of the struct, counted from the lowest bit of a little-endian machine's first byte. */",
    "  readonly bitOffset?: number;",
    "  /** Width in bits. */",
    "  readonly bitSize?: number;",
    "}",
    "",
    "/** One struct. */",
    "export interface StructLayout {",
    "  /** Bytes. */",
    "  readonly size: number;",
    "  /** The fields by name, in order of declaration. */",
    "  readonly fields: Readonly<Record<string, FieldLayout>>;",
    "}",
    "",
    "/** Every struct above with its fields' offsets, sizes and C types. */",
    "export const structLayouts = {",
    ...structs.map(
      ({ name, size, fields }) =>
        `  ${name}: { size: ${size}, fields: {${fields.map(renderField).join(",")}} },`,
    ),
    "} as const;",
    "",
  ].join("\n");
}

/** `bpf-attr.ts`: the members of `union bpf_attr`. */
export function renderAttr(facts: Facts): string {
  const commands = facts.attr.commands.flatMap((command) =>
    unnest(
      `bpf_attr_${command.name}`,
      `\`union bpf_attr\` for ${attrCommands[command.name] ?? command.name}`,
      command,
    ),
  );
  return [
    "// `union bpf_attr`, one object of byte offsets per member. `size` is where the last field ends: the bytes of the attr",
    "// that the newest kernel reads for the command. A kernel takes a longer attr if all bytes it does not know are 0, and a",
    "// shorter one as if the rest were 0. `bpf_attr_link_create_tcx` and its like add the fields of one variant, with",
    "// offsets from the start of the attr.",
    "",
    "/** `sizeof(union bpf_attr)` in bytes. */",
    `export const bpf_attr_size = ${facts.attr.size};`,
    "",
    ...commands.map(renderOffsets),
  ].join("\n");
}

interface NamedStruct extends StructFacts {
  readonly title: string;
}

/** A struct and, after it, one for each named member of an unnamed type. */
function unnest(
  name: string,
  title: string,
  struct: { size: number; fields: readonly FieldFacts[] },
): NamedStruct[] {
  const inner = struct.fields.flatMap((field) => {
    if (field.fields === undefined) return [];
    const size = field.offset + field.size;
    return unnest(`${name}_${field.name}`, `${title}, member \`${field.name}\``, {
      size,
      fields: field.fields,
    });
  });
  return [{ name, title, size: struct.size, fields: struct.fields }, ...inner];
}

function renderOffsets({ name, title, size, fields }: NamedStruct): string {
  const lines = fields.map((field) => `  ${field.name === "size" ? "size_" : field.name}: ${field.offset},`);
  return [
    `/** ${title}. */`,
    `export const ${name} = {`,
    ...lines,
    `  size: ${size},`,
    "} as const;",
    "",
  ].join("\n");
}

function renderField({ name, offset, size, type, bitOffset, bitSize }: FieldFacts): string {
  const bits = bitSize === undefined ? "" : `, bitOffset: ${bitOffset}, bitSize: ${bitSize}`;
  return `${name}: { offset: ${offset}, size: ${size}, type: ${JSON.stringify(type)}${bits} }`;
}
