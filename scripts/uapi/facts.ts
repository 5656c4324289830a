/** The shape of `facts.json`: what the extractor found in the kernel's headers, as names, numbers and prototypes. */

/**
 * A constant's value: a number, or an integer's text where it reads better in hexadecimal (flags, opcodes) or is too
 * large for a double.
 */
export type Value = number | string;

/** Constants in header order, as the C source groups them. */
export interface ConstantGroup {
  /** The enum's name; null for an anonymous enum; absent for `#define`s. */
  readonly enum?: string | null;
  /** Name and value. `#define`s of a string literal stand in `strings`. */
  readonly values: Readonly<Record<string, Value>>;
  readonly strings?: Readonly<Record<string, string>>;
}

/** One header's constants. */
export interface HeaderFacts {
  readonly header: string;
  readonly groups: readonly ConstantGroup[];
}

/** One member of a struct or union; members of unnamed structs and unions are listed as the outer one's. */
export interface FieldFacts {
  readonly name: string;
  /** Bytes from the start of the outermost struct. */
  readonly offset: number;
  /** Bytes; of a bit-field, of its declared type. */
  readonly size: number;
  /** C type; "struct" or "union" where the type has no name and `fields` says what is in it. */
  readonly type: string;
  /** Bits from the start of the outermost struct, and how many; bit-fields only. */
  readonly bitOffset?: number;
  readonly bitSize?: number;
  readonly fields?: readonly FieldFacts[];
}

export interface StructFacts {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly FieldFacts[];
}

export interface HelperFacts {
  readonly name: string;
  readonly id: number;
  readonly signature: string;
}

export interface ErrnoFacts {
  readonly name: string;
  readonly number: number;
  readonly text: string;
}

export interface Facts {
  /** Version of the package the headers came in. */
  readonly version: string;
  readonly constants: Readonly<Record<string, readonly HeaderFacts[]>>;
  readonly structs: readonly StructFacts[];
  readonly attr: { readonly size: number; readonly commands: readonly StructFacts[] };
  readonly helpers: readonly HelperFacts[];
  readonly errno: readonly ErrnoFacts[];
  readonly syscalls: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** What a running kernel said about its helpers: `helper-prog-types.json`. */
export interface HelperProgTypes {
  /** Release of the kernel that was asked. */
  readonly kernel: string;
  /** Program type (lower case, no prefix) -> helper ids it may call, for the types the kernel let us load. */
  readonly callable: Readonly<Record<string, readonly number[]>>;
  /** Program types that could not be asked: everything counts as callable there. */
  readonly unknown: readonly string[];
  /** Helpers that this kernel has for no type: its configuration or policy leaves them out (see absent-helpers.ts). */
  readonly absent: readonly number[];
  /** Helpers refused to programs whose licence is not GPL compatible. */
  readonly gplOnly: readonly number[];
}
