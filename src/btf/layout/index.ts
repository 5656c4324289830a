/**
 * Layouts: one declaration of a value in memory gives its TypeScript type, its codec, the offsets for programs and its
 * BTF. Pure, like all of `btf`.
 */

export { type ArrayLayout, array, type BytesLayout, bytes } from "./array.ts";
export { compareWithBtf, type LayoutDifference } from "./compare.ts";
export { type DataLocLayout, dataLoc } from "./data-loc.ts";
export {
  type EnumAsNumberLayout,
  type EnumBase,
  type EnumInput,
  type EnumLayout,
  type EnumName,
  type EnumValues,
  enumOf,
} from "./enum.ts";
export { LayoutError } from "./error.ts";
export type { BitsInPlace, Field, Fields, OffsetPath, Offsets } from "./field.ts";
export { argumentsFromBtf, type BtfNames, structFromBtf } from "./from-btf.ts";
export { decode, encode, type Infer, type InferInput, type Layout } from "./layout.ts";
export {
  type Aligned,
  aligned,
  type BitField,
  type BitFieldBase,
  bits,
  type Member,
  type MemberInput,
  type MemberLayout,
  type Members,
  type MemberValue,
  type ValueNames,
} from "./member.ts";
export type {
  FloatLayout,
  Int64AsNumberLayout,
  Int64Layout,
  Integer,
  IntegerOrder,
  IntLayout,
} from "./number.ts";
export type { Placed, Placement, RecordOptions } from "./place.ts";
export { type PointerLayout, pointer } from "./pointer.ts";
export {
  kptr,
  type OpaqueLayout,
  padding,
  type ReservedLayout,
  refcount,
  spinLock,
  timer,
  workQueue,
} from "./reserved.ts";
export {
  type BoolLayout,
  be16,
  be32,
  be64,
  bool,
  f32,
  f64,
  le16,
  le32,
  le64,
  s8,
  s16,
  s32,
  s64,
  u8,
  u16,
  u32,
  u64,
} from "./scalar.ts";
export { type StructInput, type StructLayout, type StructValue, struct } from "./struct.ts";
export { type CharLayout, char, type TextLayout } from "./text.ts";
export { type UnionInput, type UnionLayout, type UnionValue, union, unionBytes } from "./union.ts";
