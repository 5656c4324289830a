import { BtfError } from "./error.ts";
import type { BtfFuncProto, BtfType, BtfTypeId, BtfTypes, BtfTypeTag, BtfVoid } from "./type.ts";

/**
 * A type in C without a name, as in a cast: `struct task_struct`, `const char *`, `u32[4]`, `int (*)(void *)`. Anonymous
 * structs are `struct {...}`; type tags are left out.
 */
export function typeName(types: BtfTypes, id: BtfTypeId): string {
  return cDeclaration(types, id, "", {
    spell: (_, type) => spellBase(type),
    tags: false,
    budget: { left: 1000 },
  });
}

/** How {@link cDeclaration} writes what it does not decide itself. */
export interface DeclarationStyle {
  /** The innermost type: what stands before the `*`s, brackets and parentheses. */
  readonly spell: (id: BtfTypeId, type: BtfType | BtfVoid) => string;
  /** Whether type tags are written as attributes. */
  readonly tags: boolean;
  /** What may still be walked through, so that types that nest without end come to one. */
  readonly budget: { left: number };
}

/**
 * A C declaration: `unsigned char h_dest[6]`, `int (*fn)(void *)`. Pointers, arrays, functions and qualifiers are
 * wound around the name from the inside out.
 *
 * @throws BtfError if the budget runs out.
 */
export function cDeclaration(types: BtfTypes, id: BtfTypeId, name: string, style: DeclarationStyle): string {
  let inner = name;
  let qualifiers = "";
  let at = id;
  charge(style.budget, name);
  for (;;) {
    if (style.budget.left-- <= 0) throw new BtfError(`type ${id} is too large or endless`, { typeId: id });
    const type = types.type(at);
    switch (type.kind) {
      case "ptr":
        inner = `*${inner === "" ? qualifiers.trimEnd() : qualifiers}${inner}`;
        if (bindsTighter(types, type.type, style)) inner = `(${inner})`;
        qualifiers = "";
        at = type.type;
        break;
      case "array":
        inner += `[${type.length}]`;
        at = type.type;
        break;
      case "funcProto":
        inner += `(${cParameters(types, type, style)})`;
        qualifiers = "";
        at = type.type;
        break;
      case "const":
      case "volatile":
      case "restrict":
        qualifiers += `${type.kind === "restrict" ? "__restrict" : type.kind} `;
        at = type.type;
        break;
      case "typeTag":
        if (style.tags) qualifiers += `${attribute(type)} `;
        at = type.type;
        break;
      case "var":
      case "func":
      case "declTag":
        at = type.type;
        break;
      default: {
        const base = qualifiers + style.spell(at, type);
        charge(style.budget, base);
        if (inner === "") return base;
        return inner.startsWith("[") ? base + inner : `${base} ${inner}`;
      }
    }
  }
}

/** What stands between the parentheses of a function's declaration. */
export function cParameters(types: BtfTypes, proto: BtfFuncProto, style: DeclarationStyle): string {
  const params = proto.params.map(({ name, type }) => cDeclaration(types, type, name, style));
  if (proto.variadic) params.push("...");
  return params.length === 0 ? "void" : params.join(", ");
}

/** `struct sock`, `enum xdp_action`, `u32`, `void`. */
export function spellBase(type: BtfType | BtfVoid): string {
  switch (type.kind) {
    case "void":
      return "void";
    case "struct":
    case "union":
    case "enum":
    case "enum64": {
      const keyword = type.kind === "enum64" ? "enum" : type.kind;
      return `${keyword} ${type.name === "" ? "{...}" : type.name}`;
    }
    case "fwd":
      return `${type.of} ${type.name}`;
    case "datasec":
      return `section ${type.name}`;
    default:
      return "name" in type ? type.name : type.kind;
  }
}

/** Takes a text's length off the budget: bytes can make many members share one name of a megabyte. */
export function charge(budget: { left: number }, text: string): void {
  budget.left -= text.length >>> 6;
}

function attribute({ value, attribute }: BtfTypeTag): string {
  return attribute ? `__attribute__((${value}))` : `__attribute__((btf_type_tag(${JSON.stringify(value)})))`;
}

/** Whether a pointer to this type needs parentheses: arrays and functions bind tighter than `*`. */
function bindsTighter(types: BtfTypes, id: BtfTypeId, { budget }: DeclarationStyle): boolean {
  let at = id;
  while (budget.left-- > 0) {
    const type = types.type(at);
    switch (type.kind) {
      case "const":
      case "volatile":
      case "restrict":
      case "typeTag":
        at = type.type;
        break;
      default:
        return type.kind === "array" || type.kind === "funcProto";
    }
  }
  return false;
}
