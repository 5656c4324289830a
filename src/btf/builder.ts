import { BTF_MAX_TYPE } from "../uapi/btf.ts";
import { checkType } from "./check.ts";
import { createStringTable, encodeBlob, encodeType } from "./encode.ts";
import { BtfError } from "./error.ts";
import {
  type BtfDatasecEntry,
  type BtfIntEncoding,
  type BtfLinkage,
  type BtfMember,
  type BtfParam,
  type BtfType,
  type BtfTypeId,
  type BtfTypes,
  type BtfVoid,
  type ByteOrder,
  VOID,
} from "./type.ts";

/**
 * Collects types and gives them ids. A type that is structurally the same as one it has gets that one's id, so a
 * builder can be asked for `int("int", 4, "signed")` again and again.
 *
 * What the kernel would refuse with a bare EINVAL (names, sizes, overlapping variables, values that do not fit) is
 * refused here, by a `BtfError` that says what and where.
 */
export interface BtfBuilder extends BtfTypes {
  /** An integer; `bits` and `bitOffset` are only for bitfields as compilers before 2019 wrote them. */
  int(name: string, size: number, encoding?: BtfIntEncoding, options?: BtfIntOptions): BtfTypeId;
  /** A pointer to a type; with no argument `void *`. */
  ptr(to?: BtfTypeId): BtfTypeId;
  /** An array of `length` elements. The index type that the format wants is made if it is not given. */
  array(element: BtfTypeId, length: number, indexType?: BtfTypeId): BtfTypeId;
  /**
   * A struct of `size` bytes. Members in a function get the struct's own id, to point to; the function may be called
   * more than once.
   */
  struct(name: string, size: number, members: BtfMembers): BtfTypeId;
  /** A union of `size` bytes; every member's bit offset is 0. */
  union(name: string, size: number, members: BtfMembers): BtfTypeId;
  /** An enumeration of 32-bit values; signed if one is negative. */
  enum(name: string, values: Readonly<Record<string, number>>, options?: BtfEnumOptions): BtfTypeId;
  /** An enumeration of 64-bit values (Linux 6.0); signed if one is negative. */
  enum64(name: string, values: Readonly<Record<string, bigint>>, options?: BtfEnumOptions): BtfTypeId;
  /** A struct or union that is only declared. */
  fwd(name: string, of: "struct" | "union"): BtfTypeId;
  /** A second name for a type. */
  typedef(name: string, type: BtfTypeId): BtfTypeId;
  /** `const` around a type. */
  const(type: BtfTypeId): BtfTypeId;
  /** `volatile` around a type. */
  volatile(type: BtfTypeId): BtfTypeId;
  /** `restrict` around a pointer. */
  restrict(type: BtfTypeId): BtfTypeId;
  /** A signature. Parameters of a prototype that a `func` uses need names. */
  funcProto(returns: BtfTypeId, params?: readonly BtfParam[], options?: BtfFuncProtoOptions): BtfTypeId;
  /**
   * A function, named and with a prototype; `static` unless told otherwise. The kernel verifies a `static` one with each of its callers and a
   * `global` one by itself, from its parameter types alone.
   */
  func(name: string, proto: BtfTypeId, linkage?: BtfLinkage): BtfTypeId;
  /** A global variable; `global` unless told otherwise. */
  var(name: string, type: BtfTypeId, linkage?: BtfLinkage): BtfTypeId;
  /** A section of variables, ordered by offset. */
  datasec(name: string, size: number, entries: readonly BtfDatasecEntry[]): BtfTypeId;
  /** A floating-point number (Linux 5.13). */
  float(name: string, size: number): BtfTypeId;
  /** A tag on a declaration (5.16), or on its member or parameter number `component`. */
  declTag(value: string, type: BtfTypeId, component?: number): BtfTypeId;
  /** A tag on a type (5.17), between the pointer and what it points to: `kptr`, `percpu`, `rcu`, `user`. */
  typeTag(value: string, type: BtfTypeId): BtfTypeId;

  /** Any type as data: its id, old or new. */
  add(type: BtfType): BtfTypeId;
  /** An id for a type that will be given with `define`: how types that refer to each other are made. */
  reserve(): BtfTypeId;
  /** Gives the type of a reserved id. */
  define(id: BtfTypeId, type: BtfType): void;
  /** Adds a string that belongs to no type, as line info needs them; gives its offset in the string section. */
  string(text: string): number;

  /**
   * The blob for `BPF_BTF_LOAD`. The builder may be used on afterwards.
   *
   * @throws BtfError if a reserved id was never defined, or if the blob is larger than the kernel takes.
   */
  encode(): Uint8Array;
}

/** Members of a struct or union, or a function that makes them from the struct's own id. */
export type BtfMembers = readonly BtfMemberInit[] | ((self: BtfTypeId) => readonly BtfMemberInit[]);

/** A {@link BtfMember} whose `bitfieldSize` may be left out when it is no bitfield. */
export type BtfMemberInit = Omit<BtfMember, "bitfieldSize"> & { readonly bitfieldSize?: number };

/** The unusual parts of an integer. */
export interface BtfIntOptions {
  readonly bits?: number;
  readonly bitOffset?: number;
}

/** The parts of an enumeration that have defaults. */
export interface BtfEnumOptions {
  /** Bytes; 4, and 8 for `enum64`. */
  readonly size?: number;
  readonly signed?: boolean;
}

/** The parts of a prototype that have defaults. */
export interface BtfFuncProtoOptions {
  /** Ends in `...`. */
  readonly variadic?: boolean;
}

/** How to make a builder. */
export interface BtfBuilderOptions {
  /** Makes split BTF: ids and strings go on where this one's end, and its types may be referred to. */
  readonly base?: BtfBase;
  /** `little` unless told otherwise: what the kernel that loads the blob has. */
  readonly byteOrder?: ByteOrder;
  /** Bytes of a pointer; 8, as in BPF. */
  readonly pointerSize?: number;
}

/** What split BTF needs of its base. */
export interface BtfBase extends BtfTypes {
  /** Length of the string section, in bytes. */
  readonly stringsLength: number;
}

/**
 * A builder with no types in it yet.
 *
 * @example
 * ```ts
 * const btf = createBtfBuilder();
 * const u32 = btf.int("unsigned int", 4);
 * const node = btf.struct("node", 16, (self) => [
 *   { name: "next", type: btf.ptr(self), bitOffset: 0 },
 *   { name: "value", type: u32, bitOffset: 64 },
 * ]);
 * const blob = btf.encode();
 * ```
 */
export function createBtfBuilder(options: BtfBuilderOptions = {}): BtfBuilder {
  const { base, byteOrder = base?.byteOrder ?? "little", pointerSize = base?.pointerSize ?? 8 } = options;
  const firstId = base?.typeCount ?? 1;
  const strings = createStringTable(base?.stringsLength);
  const slots: Slot[] = [];
  const idsByRecord = new Map<string, BtfTypeId>();
  const selfReferring = new Map<string, BtfTypeId[]>();

  const typeCount = (): number => firstId + slots.length;

  const typeAt = (id: BtfTypeId): BtfType | BtfVoid | undefined => {
    if (id === VOID) return { kind: "void" };
    if (base !== undefined && id < firstId) return base.type(id);
    const slot = slots[id - firstId];
    if (slot === undefined)
      throw new BtfError(`no type has the id ${id}: there are ${typeCount()}`, { typeId: id });
    return slot === RESERVED ? undefined : slot.type;
  };

  const toSlot = (type: BtfType): Defined => {
    checkType(type, { typeCount: typeCount(), typeAt });
    return { type: freeze(type), words: encodeType(type, strings.offset) };
  };

  const append = (slot: Slot): BtfTypeId => {
    const id = typeCount();
    if (id > BTF_MAX_TYPE) throw new BtfError(`BTF has room for ${BTF_MAX_TYPE} types`);
    slots.push(slot);
    return id;
  };

  const add = (type: BtfType): BtfTypeId => {
    const slot = toSlot(type);
    const key = recordKey(slot);
    const known = idsByRecord.get(key);
    if (known !== undefined) return known;
    const id = append(slot);
    idsByRecord.set(key, id);
    return id;
  };

  const reserve = (): BtfTypeId => append(RESERVED);

  const define = (id: BtfTypeId, type: BtfType): void => {
    if (slots[id - firstId] !== RESERVED) {
      throw new BtfError(`type ${id} is not reserved, or defined already`, { typeId: id });
    }
    const slot = toSlot(type);
    slots[id - firstId] = slot;
    const key = recordKey(slot);
    if (!idsByRecord.has(key)) idsByRecord.set(key, id);
  };

  const composite = (
    kind: "struct" | "union",
    name: string,
    size: number,
    members: BtfMembers,
  ): BtfTypeId => {
    const make = (list: readonly BtfMemberInit[]): BtfType => ({
      kind,
      name,
      size,
      members: list.map((member) => ({ bitfieldSize: 0, ...member })),
    });
    if (typeof members !== "function") return add(make(members));
    // A record that points to itself contains its own id, so to be recognised the second time it must be made with
    // the first one's.
    const key = `${kind} ${name} ${size}`;
    const candidates = selfReferring.get(key) ?? [];
    for (const id of candidates) {
      if (idsByRecord.get(recordKey(toSlot(make(members(id))))) === id) return id;
    }
    const self = reserve();
    define(self, make(members(self)));
    selfReferring.set(key, [...candidates, self]);
    return self;
  };

  return {
    get typeCount() {
      return typeCount();
    },
    byteOrder,
    pointerSize,
    type(id) {
      const type = typeAt(id);
      if (type === undefined)
        throw new BtfError(`type ${id} is reserved and not defined yet`, { typeId: id });
      return type;
    },
    add,
    reserve,
    define,
    string: strings.offset,
    int: (name, size, encoding = "unsigned", { bits = size * 8, bitOffset = 0 } = {}) =>
      add({ kind: "int", name, size, encoding, bits, bitOffset }),
    ptr: (to = VOID) => add({ kind: "ptr", type: to }),
    array: (
      element,
      length,
      indexType = add({
        kind: "int",
        name: "__ARRAY_SIZE_TYPE__",
        size: 4,
        encoding: "unsigned",
        bits: 32,
        bitOffset: 0,
      }),
    ) => add({ kind: "array", type: element, indexType, length }),
    struct: (name, size, members) => composite("struct", name, size, members),
    union: (name, size, members) => composite("union", name, size, members),
    enum: (name, values, { size = 4, signed } = {}) => {
      const list = Object.entries(values).map(([name, value]) => ({ name, value }));
      return add({
        kind: "enum",
        name,
        size,
        signed: signed ?? list.some(({ value }) => value < 0),
        values: list,
      });
    },
    enum64: (name, values, { size = 8, signed } = {}) => {
      const list = Object.entries(values).map(([name, value]) => ({ name, value }));
      return add({
        kind: "enum64",
        name,
        size,
        signed: signed ?? list.some(({ value }) => value < 0n),
        values: list,
      });
    },
    fwd: (name, of) => add({ kind: "fwd", name, of }),
    typedef: (name, type) => add({ kind: "typedef", name, type }),
    const: (type) => add({ kind: "const", type }),
    volatile: (type) => add({ kind: "volatile", type }),
    restrict: (type) => add({ kind: "restrict", type }),
    funcProto: (returns, params = [], { variadic = false } = {}) =>
      add({ kind: "funcProto", type: returns, params, variadic }),
    func: (name, proto, linkage = "static") => add({ kind: "func", name, type: proto, linkage }),
    var: (name, type, linkage = "global") => add({ kind: "var", name, type, linkage }),
    datasec: (name, size, entries) => add({ kind: "datasec", name, size, entries }),
    float: (name, size) => add({ kind: "float", name, size }),
    declTag: (value, type, component = -1) =>
      add({ kind: "declTag", value, type, component, attribute: false }),
    typeTag: (value, type) => add({ kind: "typeTag", value, type, attribute: false }),
    encode: () => {
      const records = slots.map((slot, index) => {
        if (slot === RESERVED) {
          const typeId = firstId + index;
          throw new BtfError(`type ${typeId} is reserved but was never defined`, { typeId });
        }
        return slot.words;
      });
      return encodeBlob(records, strings.bytes(), byteOrder);
    },
  };
}

const RESERVED = Symbol("reserved");

interface Defined {
  readonly type: BtfType;
  readonly words: readonly number[];
}

/** Kind, name and references are all in the words, so equal words are equal types. */
const recordKey = (slot: Defined): string => slot.words.join();

type Slot = Defined | typeof RESERVED;

/** A copy that no one can change, so that what `type(id)` gives stays what was encoded. */
function freeze(type: BtfType): BtfType {
  const entries = Object.entries(type).map(([key, value]) => [
    key,
    Array.isArray(value) ? Object.freeze(value.map((element) => Object.freeze({ ...element }))) : value,
  ]);
  return Object.freeze(Object.fromEntries(entries)) as BtfType;
}
