import type { MapDef, MapTypeName } from "../../asm/map-def.ts";
import type { Helper } from "../../uapi/helper.ts";
import type { MemoryClass } from "../ir/ir.ts";
import type { HostKind, ScalarKind } from "../kind.ts";
import type { Addressable, FunctionInternals, internals, Nullable, Operand, Pointer } from "../value.ts";

/**
 * What the language must know of a helper to offer it as a method: what each register takes, what comes back, and what
 * memory the call touches. The table of all is `generated/helper-shapes.ts`; the methods' types, made from the same facts,
 * are `generated/helper-methods.ts`.
 */
export interface HelperShape {
  readonly helper: Helper;
  /** What goes into r1 to r5, in this order. The program's context is no argument of the method. */
  readonly params: readonly HelperParam[];
  /** True where more 64-bit numbers may follow, up to five arguments in all (`bpf_trace_printk`). */
  readonly variadic: boolean;
  readonly result: HelperResult;
  /** Memory that it may read beside what its parameters say. */
  readonly reads: readonly MemoryClass[];
  /** Memory that it may write beside what its parameters say. */
  readonly writes: readonly MemoryClass[];
  /**
   * True where the verifier forgets every packet pointer after the call (`bpf_helper_changes_pkt_data()` in
   * net/core/filter.c). A tail call counts, since some kernels from 6.13 on say so: the program that it
   * goes to may move the packet.
   */
  readonly movesPacket: boolean;
  /** True where a call whose result nobody uses can be left out. */
  readonly removable: boolean;
  /** True where two calls with the same arguments in one run of the program give the same result. */
  readonly pure: boolean;
}

/** What one register of a call takes. */
export type HelperParam =
  | CtxParam
  | MapParam
  | ScalarParam
  | AddressParam
  | MemoryParam
  | PointerParam
  | CallbackParam;

/** The program's context; no argument of the method. */
export interface CtxParam {
  readonly kind: "ctx";
  readonly name: string;
  /**
   * Set where some program types give a pointer to an object of this kind instead: the last argument of the method, which
   * may be left out.
   */
  readonly or: string | undefined;
}

/** The address of a map. */
export interface MapParam {
  readonly kind: "map";
  readonly name: string;
  /** The map types that the verifier takes; `undefined` where it takes any. */
  readonly types: readonly MapTypeName[] | undefined;
}

/** A number. */
export interface ScalarParam {
  readonly kind: "scalar";
  readonly name: string;
  readonly scalar: ScalarKind;
}

/** An address that the helper itself checks: any number, or a pointer to an object of the kernel. */
export interface AddressParam {
  readonly kind: "address";
  readonly name: string;
}

/** The address of memory that the program may access. */
export interface MemoryParam {
  readonly kind: "memory";
  readonly name: string;
  /** What the helper does with it. What is only written need not be initialised. */
  readonly access: "read" | "write" | "readwrite";
  /**
   * Bytes that must be there: a number, or the map's key or value, or what the parameter of this index says
   * (`bytes` in {@link HelperShape.params}).
   */
  readonly size: number | "key" | "value" | { readonly param: number };
  /** True where null is fine. */
  readonly nullable: boolean;
}

/** A pointer to an object of the kernel. */
export interface PointerParam {
  readonly kind: "pointer";
  readonly name: string;
  /** What it may point to; `undefined`: anything. */
  readonly tags: readonly string[] | undefined;
  /** True where null is fine. */
  readonly nullable: boolean;
}

/** A function that the helper calls. */
export interface CallbackParam {
  readonly kind: "callback";
  readonly name: string;
}

/** What is in r0 after the call. */
export type HelperResult =
  | { readonly kind: "void" }
  | { readonly kind: "scalar"; readonly scalar: HostKind }
  | { readonly kind: "pointer"; readonly tag: string; readonly nullable: boolean };

/** The definition of a map of one of these types. */
export type MapOf<Types extends MapTypeName> = MapDef<Types>;

/** What is given for {@link AddressParam}. */
export type AddressArgument = Operand<"u64"> | Pointer;

/** What is given for {@link PointerParam}, where null is not fine. */
export type PointerArgument<Tag extends string = string> = Pointer<Tag>;

/** What is given for {@link PointerParam}, where null is fine. */
export type NullablePointerArgument<Tag extends string = string> = Pointer<Tag> | Nullable<Tag> | null;

/** What is given for {@link MemoryParam}, where null is fine. */
export type OptionalMemory = Addressable | null;

/** What is given for {@link CallbackParam}: a function of the language, built. */
export interface Callback {
  /** @internal */
  readonly [internals]: FunctionInternals;
}
