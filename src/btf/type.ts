import type { BtfKind } from "./kind.ts";

/** Order of the bytes in a word. */
export type ByteOrder = "little" | "big";

/**
 * Number of a type within its BTF. 0 is `void` and has no record; the first record is 1. In split BTF the ids go on
 * where the base ends.
 */
export type BtfTypeId = number;

/** The id of `void`. */
export const VOID: BtfTypeId = 0;

/** How an integer's bits are meant. The kernel takes exactly one. */
export type BtfIntEncoding = "unsigned" | "signed" | "char" | "bool";

/** An integer: `unsigned int`, `char`, `_Bool`. */
export interface BtfInt {
  readonly kind: "int";
  readonly name: string;
  /** Bytes: 1, 2, 4, 8 or 16. */
  readonly size: number;
  readonly encoding: BtfIntEncoding;
  /** Bits in use, `size * 8` except for bitfields as compilers before 2019 wrote them. */
  readonly bits: number;
  /** First bit in use, 0 except for such bitfields. */
  readonly bitOffset: number;
}

/** A pointer. */
export interface BtfPtr {
  readonly kind: "ptr";
  /** What it points to. */
  readonly type: BtfTypeId;
}

/** An array; an array of arrays is an array whose element is one. */
export interface BtfArray {
  readonly kind: "array";
  /** The element. */
  readonly type: BtfTypeId;
  /** An integer type that no one looks at; the kernel insists on it. */
  readonly indexType: BtfTypeId;
  /** Number of elements; 0 for a flexible array. */
  readonly length: number;
}

/** A member of a struct or union. */
export interface BtfMember {
  /** Empty for an anonymous struct or union, and for padding bitfields. */
  readonly name: string;
  readonly type: BtfTypeId;
  /** Bits from the start of the struct. On a big-endian machine a bitfield's offset counts from the most significant bit. */
  readonly bitOffset: number;
  /** Bits of a bitfield; 0 for a member that is none. */
  readonly bitfieldSize: number;
}

/** A struct. */
export interface BtfStruct {
  readonly kind: "struct";
  /** Empty for an anonymous one. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly members: readonly BtfMember[];
}

/** A union. */
export interface BtfUnion {
  readonly kind: "union";
  /** Empty for an anonymous one. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly members: readonly BtfMember[];
}

/** One value of an `enum`. */
export interface BtfEnumValue {
  readonly name: string;
  /** 32 bits, signed or not as the enum is. */
  readonly value: number;
}

/** An enumeration whose values fit 32 bits. With no values: an `enum` that is only declared. */
export interface BtfEnum {
  readonly kind: "enum";
  /** Empty for an anonymous one. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Compilers and pahole write this flag since Linux 6.0; before, it was always false, and negative values appear as large. */
  readonly signed: boolean;
  readonly values: readonly BtfEnumValue[];
}

/** One value of an `enum64`. */
export interface BtfEnum64Value {
  readonly name: string;
  /** 64 bits, signed or not as the enum is. */
  readonly value: bigint;
}

/** An enumeration with values beyond 32 bits (Linux 6.0). */
export interface BtfEnum64 {
  readonly kind: "enum64";
  /** Empty for an anonymous one. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly values: readonly BtfEnum64Value[];
}

/** A struct or union that is declared and defined elsewhere. */
export interface BtfFwd {
  readonly kind: "fwd";
  readonly name: string;
  readonly of: "struct" | "union";
}

/** A second name for a type. */
export interface BtfTypedef {
  readonly kind: "typedef";
  readonly name: string;
  readonly type: BtfTypeId;
}

/** `volatile`, `const` or `restrict` around a type. */
export interface BtfQualifier {
  readonly kind: "volatile" | "const" | "restrict";
  readonly type: BtfTypeId;
}

/** Who sees a function or variable. The kernel loads no `extern`: loaders resolve those first. */
export type BtfLinkage = "static" | "global" | "extern";

/** A function: its name and its prototype. */
export interface BtfFunc {
  readonly kind: "func";
  readonly name: string;
  /** A `funcProto`. */
  readonly type: BtfTypeId;
  readonly linkage: BtfLinkage;
}

/** A parameter of a function prototype. */
export interface BtfParam {
  /** May be empty in a prototype that no `func` uses. */
  readonly name: string;
  readonly type: BtfTypeId;
}

/** A function's signature. */
export interface BtfFuncProto {
  readonly kind: "funcProto";
  /** What it returns. */
  readonly type: BtfTypeId;
  readonly params: readonly BtfParam[];
  /** Ends in `...`. */
  readonly variadic: boolean;
}

/** A global variable. */
export interface BtfVar {
  readonly kind: "var";
  readonly name: string;
  readonly type: BtfTypeId;
  readonly linkage: BtfLinkage;
}

/** Where a variable lies in its section. */
export interface BtfDatasecEntry {
  /** A `var` (or, in object files, a `func`). */
  readonly type: BtfTypeId;
  /** Bytes from the start of the section. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** A section of variables: `.rodata`, `.data`, `.bss`, `.maps`, `license`. */
export interface BtfDatasec {
  readonly kind: "datasec";
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly entries: readonly BtfDatasecEntry[];
}

/** A floating-point number (Linux 5.13). */
export interface BtfFloat {
  readonly kind: "float";
  readonly name: string;
  /** Bytes: 2, 4, 8, 12 or 16. */
  readonly size: number;
}

/** An annotation on a declaration: `__attribute__((btf_decl_tag("value")))` (Linux 5.16). */
export interface BtfDeclTag {
  readonly kind: "declTag";
  readonly value: string;
  /** The struct, union, func, var or typedef it is on. */
  readonly type: BtfTypeId;
  /** Which member or parameter; -1 for the declaration itself. */
  readonly component: number;
  /** The value is a whole `__attribute__((value))`, not only a tag (kind_flag, Linux 6.15). */
  readonly attribute: boolean;
}

/** An annotation on a type: `__attribute__((btf_type_tag("value")))`, as in `__user`, `__rcu` (Linux 5.17). */
export interface BtfTypeTag {
  readonly kind: "typeTag";
  readonly value: string;
  readonly type: BtfTypeId;
  /** The value is a whole `__attribute__((value))`, not only a tag (kind_flag, Linux 6.15). */
  readonly attribute: boolean;
}

/** `void`: what id 0 decodes to. It has no record in a blob. */
export interface BtfVoid {
  readonly kind: "void";
}

/** A BTF type with a record of its own. */
export type BtfType =
  | BtfInt
  | BtfPtr
  | BtfArray
  | BtfStruct
  | BtfUnion
  | BtfEnum
  | BtfFwd
  | BtfTypedef
  | BtfQualifier
  | BtfFunc
  | BtfFuncProto
  | BtfVar
  | BtfDatasec
  | BtfFloat
  | BtfDeclTag
  | BtfTypeTag
  | BtfEnum64;

/** The type of one kind: `BtfTypeOf<"struct">` is {@link BtfStruct}. */
export type BtfTypeOf<Kind extends BtfKind> = Extract<BtfType, { readonly kind: Kind }>;

/**
 * Types by id: what both a builder and a decoded blob are, so that sizes, lookups and printing work on either.
 */
export interface BtfTypes {
  /** One more than the highest id. Ids run from 0 (`void`). */
  readonly typeCount: number;
  /** Order of the bytes in memory that these types describe. */
  readonly byteOrder: ByteOrder;
  /** Bytes of a pointer. */
  readonly pointerSize: number;
  /** The type of an id; throws `BtfError` if there is none. */
  type(id: BtfTypeId): BtfType | BtfVoid;
}
