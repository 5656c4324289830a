import { suggest } from "../base/suggest.ts";
import { typeName } from "./c-declarator.ts";
import type { Btf } from "./decode.ts";
import { BtfError } from "./error.ts";
import type { BtfKind } from "./kind.ts";
import type {
  BtfFuncProto,
  BtfMember,
  BtfStruct,
  BtfType,
  BtfTypeId,
  BtfTypeOf,
  BtfTypes,
  BtfUnion,
  BtfVoid,
} from "./type.ts";

/** A type together with its id. */
export interface Found<Type extends BtfType = BtfType> {
  readonly id: BtfTypeId;
  readonly type: Type;
}

/**
 * The first type of a kind and name, or undefined. Kernels hold several structs of one name now and then; `btf.ids`
 * gives all.
 */
export function findType<Kind extends BtfKind>(
  btf: Btf,
  kind: Kind,
  name: string,
): Found<BtfTypeOf<Kind>> | undefined {
  const [id] = btf.ids(name, kind);
  if (id === undefined) return undefined;
  return { id, type: btf.type(id) as BtfTypeOf<Kind> };
}

/** Like {@link findType}, for a type that must be there: throws `BtfError` saying what there is instead. */
export function getType<Kind extends BtfKind>(btf: Btf, kind: Kind, name: string): Found<BtfTypeOf<Kind>> {
  const found = findType(btf, kind, name);
  if (found !== undefined) return found;
  const others = btf.ids(name).map((id) => btf.kind(id));
  const hint = others.length === 0 ? undefined : `The name is there as ${[...new Set(others)].join(", ")}.`;
  throw new BtfError(`BTF has no ${kind} '${name}'`, { hint });
}

/**
 * What is left of a type when `const`, `volatile`, `restrict` and type tags are taken off.
 *
 * @throws BtfError if they form a loop.
 */
export function skipQualifiers(types: BtfTypes, id: BtfTypeId): BtfTypeId {
  return follow(types, id, isQualifier);
}

/**
 * What a type really is: typedefs followed, `const`, `volatile`, `restrict` and type tags taken off.
 *
 * @throws BtfError if they form a loop.
 */
export function resolve(types: BtfTypes, id: BtfTypeId): BtfTypeId {
  return follow(types, id, (type) => isQualifier(type) || type.kind === "typedef");
}

/**
 * Bytes that a value of a type takes. A flexible array takes 0.
 *
 * @throws BtfError for what has no size: void, a function, a struct that is only declared, types that contain
 * themselves.
 */
export function sizeOf(types: BtfTypes, id: BtfTypeId): number {
  let count = 1;
  let at = resolve(types, id);
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const type = types.type(at);
    switch (type.kind) {
      case "array":
        count *= type.length;
        at = resolve(types, type.type);
        break;
      case "var":
        at = resolve(types, type.type);
        break;
      case "ptr":
        return count * types.pointerSize;
      case "int":
      case "float":
      case "struct":
      case "union":
      case "enum":
      case "enum64":
      case "datasec":
        return count * type.size;
      default:
        throw new BtfError(`${describeType(types, id)} has no size`, { typeId: id });
    }
  }
  throw new BtfError(`${describeType(types, id)} is nested deeper than ${MAX_DEPTH}`, { typeId: id });
}

/**
 * Bytes that the address of a value of a type is a multiple of, as far as BTF tells: alignment attributes leave no
 * trace but offsets, and a struct whose members do not lie where their own alignment wants them is packed: 1.
 *
 * @throws BtfError for what has no size.
 */
export function alignOf(types: BtfTypes, id: BtfTypeId): number {
  return alignment(types, id, new Map(), 0);
}

/** How a struct or union must have been declared to have the layout that it has. */
export interface RecordAlignment {
  /** Bytes; 1 if packed. */
  readonly align: number;
  /** Its members do not lie, or its size does not end, where their own alignment wants it. */
  readonly packed: boolean;
}

/** @param alignOfMember the alignment of a member's type */
export function recordAlignment(
  types: BtfTypes,
  record: BtfStruct | BtfUnion,
  alignOfMember: (type: BtfTypeId) => number = (type) => alignOf(types, type),
): RecordAlignment {
  let align = 1;
  let packed = false;
  for (const { type, bitOffset, bitfieldSize } of record.members) {
    const own = alignOfMember(type);
    align = Math.max(align, own);
    if (bitfieldSize === 0) packed ||= bitOffset % (own * 8) !== 0;
    else packed ||= (bitOffset % (own * 8)) + bitfieldSize > own * 8;
  }
  packed ||= record.size % align !== 0;
  return { align: packed ? 1 : align, packed };
}

/** A member as it lies in the outermost struct: anonymous structs and unions are seen through. */
export interface FlatMember extends BtfMember {
  /** Bits from the start of the outermost struct. */
  readonly bitOffset: number;
}

/**
 * The named members of a struct or union in the order of declaration; those of anonymous structs and unions within it
 * count as its own, as in C.
 *
 * @throws BtfError if `id` is no struct or union (typedefs are followed), or if it nests without end.
 */
export function flatMembers(types: BtfTypes, id: BtfTypeId): FlatMember[] {
  const flat: FlatMember[] = [];
  let visited = 0;
  const collect = (record: BtfStruct | BtfUnion, base: number, depth: number): void => {
    for (const member of record.members) {
      if (visited++ > MAX_MEMBERS) throw tooLarge();
      const bitOffset = base + member.bitOffset;
      if (member.name !== "") {
        flat.push({ ...member, bitOffset });
      } else if (member.bitfieldSize === 0) {
        const inner = types.type(resolve(types, member.type));
        if (inner.kind !== "struct" && inner.kind !== "union") continue;
        if (depth === MAX_DEPTH) throw tooLarge();
        collect(inner, bitOffset, depth + 1);
      }
    }
  };
  const tooLarge = (): BtfError =>
    new BtfError(`${describeType(types, id)} nests anonymous structs without end`, { typeId: id });
  collect(recordOf(types, id), 0, 0);
  return flat;
}

/** Where a field of a struct is and how it is read. */
export interface Field {
  /** As it was asked for: `sk.__sk_common.skc_family`. */
  readonly path: string;
  readonly type: BtfTypeId;
  /** Bytes from the start of the struct; for a bitfield, of the load that contains it. */
  readonly offset: number;
  /** Bytes; for a bitfield, of the load that contains it: 1, 2, 4 or 8 unless it straddles (16). */
  readonly size: number;
  /** Only for a bitfield. */
  readonly bitfield?: Bitfield;
}

/** Which bits of the loaded value a bitfield is: `(value >> shift) & ((1 << width) - 1)`. */
export interface Bitfield {
  /** From the least significant bit of the loaded value, whatever the byte order. */
  readonly shift: number;
  /** Bits. */
  readonly width: number;
  /** The topmost of its bits is a sign. */
  readonly signed: boolean;
}

/** A struct or union with its fields by name. */
export interface StructInfo {
  readonly id: BtfTypeId;
  readonly name: string;
  readonly kind: "struct" | "union";
  /** Bytes. */
  readonly size: number;
  /** Names of its fields, those of anonymous members included. */
  readonly names: readonly string[];
  /** Whether there is such a field; the path is as for {@link field}. */
  has(path: string): boolean;
  /**
   * Where a field is. The path goes into members by dots and into arrays by index: `se.vruntime`, `comm[0]`. It does
   * not go through pointers: what is behind one is elsewhere in memory.
   *
   * @throws BtfError saying which part of the path is missing, or is a pointer.
   */
  field(path: string): Field;
}

/**
 * A struct (or union, or a typedef of either) by name: the way to ask where a field is in the running kernel.
 *
 * @throws BtfError if there is no such struct.
 *
 * @example
 * ```ts
 * const task = kernelStruct(btf, "task_struct");
 * const { offset, size } = task.field("pid");
 * if (task.has("bpf_ctx")) { ... }
 * ```
 */
export function kernelStruct(btf: Btf, name: string): StructInfo {
  const found =
    findType(btf, "struct", name) ?? findType(btf, "union", name) ?? findType(btf, "typedef", name);
  return structInfo(btf, (found ?? getType(btf, "struct", name)).id);
}

/** {@link kernelStruct} by id, also for types in a builder. */
export function structInfo(types: BtfTypes, id: BtfTypeId): StructInfo {
  const recordId = resolve(types, id);
  const record = recordOf(types, recordId);
  const cache = new Map<BtfTypeId, Map<string, FlatMember>>();
  const membersOf = (id: BtfTypeId): Map<string, FlatMember> => {
    let members = cache.get(id);
    if (members === undefined) {
      members = new Map(flatMembers(types, id).map((member) => [member.name, member]));
      cache.set(id, members);
    }
    return members;
  };
  const find = (path: string): Field | BtfError => {
    const steps = parsePath(path);
    if (steps instanceof BtfError) return steps;
    let at: { type: BtfTypeId; bitOffset: number; bitfieldSize: number } = {
      type: recordId,
      bitOffset: 0,
      bitfieldSize: 0,
    };
    let walked = "";
    for (const step of steps) {
      const within = resolve(types, at.type);
      const type = types.type(within);
      if (typeof step === "number") {
        if (type.kind !== "array")
          return noSuch(path, `${walked} is no array but ${typeName(types, at.type)}`);
        // A flexible array has length 0 and no end.
        if (type.length > 0 && step >= type.length) {
          return noSuch(path, `${walked} has ${type.length} elements`);
        }
        at = {
          type: type.type,
          bitOffset: at.bitOffset + step * sizeOf(types, type.type) * 8,
          bitfieldSize: 0,
        };
        walked += `[${step}]`;
        continue;
      }
      if (type.kind === "ptr") {
        return noSuch(
          path,
          `${walked} is a pointer (${typeName(types, at.type)}): look into what it points to`,
        );
      }
      if (type.kind !== "struct" && type.kind !== "union") {
        return noSuch(path, `${walked} is no struct but ${typeName(types, at.type)}`);
      }
      const member = membersOf(within).get(step);
      if (member === undefined) {
        const owner = walked === "" ? "" : `${describeType(types, at.type)} has no '${step}'`;
        return noSuch(path, owner, suggest(step, [...membersOf(within).keys()].filter(isReadable)));
      }
      at = { ...member, bitOffset: at.bitOffset + member.bitOffset };
      walked += walked === "" ? step : `.${step}`;
    }
    return fieldAt(types, path, at);
  };
  const noSuch = (path: string, why: string, hint?: string): BtfError => {
    const what = `${describeType(types, id)} has no field '${path}'`;
    return new BtfError(why === "" ? what : `${what}: ${why}`, { typeId: recordId, hint });
  };
  return {
    id: recordId,
    name: record.name,
    kind: record.kind,
    size: record.size,
    get names() {
      return [...membersOf(recordId).keys()];
    },
    has: (path) => !(find(path) instanceof BtfError),
    field(path) {
      const field = find(path);
      if (field instanceof BtfError) throw field;
      return field;
    },
  };
}

/**
 * The values of an enum by name: numbers, or bigints for an `enum64`.
 *
 * @throws BtfError if there is no enum of that name (a typedef of one will do).
 */
export function enumValues(btf: Btf, name: string): ReadonlyMap<string, number | bigint> {
  const found =
    findType(btf, "enum", name) ?? findType(btf, "enum64", name) ?? findType(btf, "typedef", name);
  const type = found === undefined ? undefined : btf.type(resolve(btf, found.id));
  if (type?.kind !== "enum" && type?.kind !== "enum64") throw new BtfError(`BTF has no enum '${name}'`);
  const values = new Map<string, number | bigint>();
  for (const { name, value } of type.values) values.set(name, value);
  return values;
}

/**
 * The prototype of a function by name: what an fentry program gets as its arguments, what a kfunc takes.
 *
 * @throws BtfError if there is no such function.
 */
export function funcProto(btf: Btf, name: string): Found<BtfFuncProto> {
  const { id, type } = getType(btf, "func", name);
  const proto = btf.type(type.type);
  if (proto.kind !== "funcProto") {
    throw new BtfError(`BTF func '${name}' has a ${proto.kind} for a prototype`, { typeId: id });
  }
  return { id: type.type, type: proto };
}

// The kernel's own limit for what it resolves (MAX_RESOLVE_DEPTH) is 32.
const MAX_DEPTH = 64;
/** More than any real struct has; what nests anonymous structs in each other twice over gets there soon. */
const MAX_MEMBERS = 0xffff;

function isQualifier(
  type: BtfType | BtfVoid,
): type is BtfTypeOf<"const" | "volatile" | "restrict" | "typeTag"> {
  return (
    type.kind === "const" || type.kind === "volatile" || type.kind === "restrict" || type.kind === "typeTag"
  );
}

function follow(
  types: BtfTypes,
  id: BtfTypeId,
  transparent: (type: BtfType | BtfVoid) => boolean,
): BtfTypeId {
  let at = id;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const type = types.type(at);
    if (!transparent(type) || !("type" in type)) return at;
    at = type.type;
  }
  throw new BtfError(`type ${id} is a chain of more than ${MAX_DEPTH} typedefs and qualifiers`, {
    typeId: id,
  });
}

function recordOf(types: BtfTypes, id: BtfTypeId): BtfStruct | BtfUnion {
  const type = types.type(resolve(types, id));
  if (type.kind === "struct" || type.kind === "union") return type;
  throw new BtfError(`${describeType(types, id)} is no struct or union`, { typeId: id });
}

function alignment(types: BtfTypes, id: BtfTypeId, known: Map<BtfTypeId, number>, depth: number): number {
  const at = resolve(types, id);
  const cached = known.get(at);
  if (cached !== undefined) return cached;
  if (depth > MAX_DEPTH) throw new BtfError(`${describeType(types, id)} is nested deeper than ${MAX_DEPTH}`);
  const type = types.type(at);
  let align: number;
  switch (type.kind) {
    case "int":
    case "float":
    case "enum":
    case "enum64":
      align = scalarAlignment(type.size, types.pointerSize);
      break;
    case "ptr":
      align = types.pointerSize;
      break;
    case "array":
    case "var":
      align = alignment(types, type.type, known, depth + 1);
      break;
    case "struct":
    case "union":
      align = recordAlignment(types, type, (member) => alignment(types, member, known, depth + 1)).align;
      break;
    default:
      throw new BtfError(`${describeType(types, id)} has no alignment`, { typeId: id });
  }
  known.set(at, align);
  return align;
}

// `__int128` and `long double` are aligned to 16 on a 64-bit machine; there is no larger scalar.
function scalarAlignment(size: number, pointerSize: number): number {
  if (size === 12) return 4;
  return Math.min(size, pointerSize * 2);
}

interface Place {
  readonly type: BtfTypeId;
  readonly bitOffset: number;
  readonly bitfieldSize: number;
}

function fieldAt(types: BtfTypes, path: string, { type, bitOffset, bitfieldSize }: Place): Field {
  const legacy = legacyBitfield(types, type);
  const width = bitfieldSize === 0 ? legacy.bits : bitfieldSize;
  if (width === 0) {
    if (bitOffset % 8 !== 0) {
      throw new BtfError(`field '${path}' starts at bit ${bitOffset} and is no bitfield`, { typeId: type });
    }
    return { path, type, offset: bitOffset / 8, size: sizeOrZero(types, type) };
  }
  const start = bitOffset + legacy.bitOffset;
  // The smallest aligned load of at least the declared type's size that has all the bits, as CO-RE does it.
  let size = sizeOf(types, type);
  if (![1, 2, 4, 8, 16].includes(size)) {
    throw new BtfError(`bitfield '${path}' is declared as ${typeName(types, type)}`, { typeId: type });
  }
  let offset = Math.floor(start / 8 / size) * size;
  while (start + width > (offset + size) * 8) {
    if (size >= 16) throw new BtfError(`bitfield '${path}' fits no load of 16 bytes`, { typeId: type });
    size *= 2;
    offset = Math.floor(start / 8 / size) * size;
  }
  const fromStart = start - offset * 8;
  const shift = types.byteOrder === "little" ? fromStart : size * 8 - fromStart - width;
  return { path, type, offset, size, bitfield: { shift, width, signed: isSigned(types, type) } };
}

/** Before 2019 compilers put a bitfield's width in an `int` type of its own. */
function legacyBitfield(types: BtfTypes, id: BtfTypeId): { bits: number; bitOffset: number } {
  const type = types.type(resolve(types, id));
  if (type.kind !== "int" || (type.bits === type.size * 8 && type.bitOffset === 0))
    return { bits: 0, bitOffset: 0 };
  return { bits: type.bits, bitOffset: type.bitOffset };
}

function isSigned(types: BtfTypes, id: BtfTypeId): boolean {
  const type = types.type(resolve(types, id));
  if (type.kind === "enum" || type.kind === "enum64") return type.signed;
  return type.kind === "int" && type.encoding === "signed";
}

/** A struct may end in an array of structs that are only declared: its size is never asked for. */
function sizeOrZero(types: BtfTypes, id: BtfTypeId): number {
  const type = types.type(resolve(types, id));
  if (type.kind === "array" && type.length === 0) return 0;
  return sizeOf(types, id);
}

/** `a.b[2].c` as ["a", "b", 2, "c"]. */
function parsePath(path: string): (string | number)[] | BtfError {
  const steps: (string | number)[] = [];
  for (const [index, part] of path.split(".").entries()) {
    const match = /^([^[\]]*)((?:\[\d+\])*)$/.exec(part);
    const name = match?.[1] ?? "";
    if (match === null || (name === "" && !(index === 0 && match[2] !== ""))) {
      return new BtfError(`'${path}' is no path to a field: write a.b[2].c`);
    }
    if (name !== "") steps.push(name);
    for (const [, number] of (match[2] ?? "").matchAll(/\[(\d+)\]/g)) steps.push(Number(number));
  }
  return steps;
}

/** Names that no one can have meant are not worth comparing. */
const isReadable = (name: string): boolean => name.length <= 128;

function describeType(types: BtfTypes, id: BtfTypeId): string {
  const type = types.type(id);
  const isAnonymous = "name" in type && type.name === "";
  return isAnonymous ? `anonymous ${type.kind} (type ${id})` : typeName(types, id);
}
