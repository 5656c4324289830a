import type { ArrayLayout, BytesLayout } from "../btf/layout/array.ts";
import type { DataLocLayout } from "../btf/layout/data-loc.ts";
import type { Layout } from "../btf/layout/layout.ts";
import type { Aligned, BitField, Member, Members } from "../btf/layout/member.ts";
import type { PointerLayout } from "../btf/layout/pointer.ts";
import type { OpaqueLayout, ReservedLayout } from "../btf/layout/reserved.ts";
import type { StructLayout } from "../btf/layout/struct.ts";
import type { TextLayout } from "../btf/layout/text.ts";
import type { UnionLayout } from "../btf/layout/union.ts";
import type { ScalarKind } from "./kind.ts";
import type { Region } from "./region.ts";
import type { HostVal, internals, Memory, Operand, OrElse, Ref, where } from "./value.ts";

/** The kind that a scalar layout has in a program: `bool` counts as `u8`, a pointer as `u64`, an enum as `u32`. */
export type KindOf<L> = L extends { readonly kind: infer K }
  ? K extends ScalarKind
    ? K
    : K extends "bool"
      ? "u8"
      : K extends "pointer"
        ? "u64"
        : K extends "enum"
          ? "u32"
          : never
  : never;

/** A struct, an array or bytes in memory, seen through their layout. */
export type View<L extends Layout = Layout, M extends Memory = Memory> =
  L extends StructLayout<string, infer Inner>
    ? StructView<Inner, M>
    : L extends UnionLayout<string, infer Inner>
      ? StructView<Inner, M>
      : L extends BytesLayout | TextLayout
        ? BytesView<M>
        : L extends ArrayLayout<infer Element>
          ? ArrayView<Element, M>
          : L extends PointerLayout<infer To>
            ? PointerView<To, M>
            : L extends DataLocLayout
              ? TextPlace
              : KindOf<L> extends never
                ? AnyView<M>
                : Ref<KindOf<L>, M>;

/**
 * A pointer in memory. One to a struct is that struct where programs can go on: in a context, in the kernel's memory and in a
 * process's. Elsewhere, and to other things, it is an address.
 */
export type PointerView<To, M extends Memory> = [M] extends ["kernel" | "ctx" | "user"]
  ? To extends StructLayout<string, infer Inner>
    ? StructView<Inner, M extends "user" ? "user" : "kernel">
    : To extends UnionLayout<string, infer Inner>
      ? StructView<Inner, M extends "user" ? "user" : "kernel">
      : Ref<"u64", M>
  : Ref<"u64", M>;

/** A text of a tracepoint's record, for `$.copyText`. */
export interface TextPlace extends AnyView<"kernel"> {
  /** Bytes, the NUL included. */
  readonly length: HostVal<"u16">;
}

/** What is common to views: they have an address, for `$.copy` and for helpers. */
export interface AnyView<M extends Memory = Memory> {
  /** @internal */
  readonly [where]: M;
  /** @internal */
  readonly [internals]: ViewInternals;
}

/** What a view stands for inside. */
export interface ViewInternals {
  readonly region: Region;
  readonly offset: number;
  readonly layout: Layout;
}

/**
 * A struct or union: a property for each member. To read one loads it, there. Padding has none; a lock or a timer is there for
 * the helpers that take its address.
 */
export type StructView<M extends Members, Where extends Memory = Memory> = ViewOf<M, Where> & {
  readonly [Name in keyof M as FieldLayout<M[Name]> extends ReservedLayout
    ? FieldLayout<M[Name]> extends OpaqueLayout
      ? Name
      : never
    : Name]: View<FieldLayout<M[Name]>, Where>;
};

/** A view that knows its members, for the compiler alone. */
interface ViewOf<M extends Members, Where extends Memory> extends AnyView<Where> {
  /** @internal */
  readonly [members]: M;
}

declare const members: unique symbol;
declare const element: unique symbol;

/** What `$.assign` takes for a view: a value for each member that is given, or another view of the same. */
export type Assignable<V extends AnyView> = V extends { readonly [members]: infer M extends Members }
  ? StructInit<M> | StructView<M>
  : V extends { readonly [element]: infer Element extends Layout }
    ? readonly Init<Element>[] | AnyView
    : V extends BytesView
      ? Uint8Array | AnyView
      : AnyView;

type FieldLayout<M extends Member> =
  M extends BitField<infer Base> ? Base : M extends Aligned<infer Of> ? Of : M;

/** So many elements of one layout. */
export interface ArrayView<Element extends Layout, M extends Memory = Memory> extends AnyView<M> {
  /** @internal */
  readonly [element]: Element;
  /** Number of elements. */
  readonly length: number;
  /** The element at a constant index. */
  at(index: number): View<Element, M>;
  /** The element at an index that the program computed: `else` runs where it is not below the length, and ends the path. */
  at(index: HostVal<"u8" | "u16" | "u32" | "u64">, options: OrElse): View<Element, M>;
  /** The element at an index modulo the length, which must be a power of two: no check is needed. Not in the packet. */
  wrap(index: HostVal<"u8" | "u16" | "u32" | "u64">): View<Element, M>;
}

/** So many bytes. */
export interface BytesView<M extends Memory = Memory> extends AnyView<M> {
  /** Number of bytes. */
  readonly length: number;
  /** The byte at a constant index. */
  at(index: number): Ref<"u8", M>;
  /** The byte at an index that the program computed: `else` runs where it is not below the length, and ends the path. */
  at(index: HostVal<"u8" | "u16" | "u32" | "u64">, options: OrElse): Ref<"u8", M>;
  /** The byte at an index modulo the length, which must be a power of two: no check is needed. Not in the packet. */
  wrap(index: HostVal<"u8" | "u16" | "u32" | "u64">): Ref<"u8", M>;
}

/** What a view can be filled with: a value for each member that is given. */
export type Init<L extends Layout> =
  L extends StructLayout<string, infer Inner>
    ? StructInit<Inner> | StructView<Inner>
    : L extends UnionLayout<string, infer Inner>
      ? StructInit<Inner> | StructView<Inner>
      : L extends BytesLayout | TextLayout
        ? Uint8Array | AnyView
        : L extends ArrayLayout<infer Element>
          ? readonly Init<Element>[] | AnyView
          : KindOf<L> extends never
            ? AnyView
            : Operand<KindOf<L>>;

/** Values by member. */
export type StructInit<M extends Members> = {
  readonly [Name in keyof M as FieldLayout<M[Name]> extends ReservedLayout ? never : Name]?: Init<
    FieldLayout<M[Name]>
  >;
};
