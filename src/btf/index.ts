/**
 * BTF, the kernel's type format, as data: build types and encode them, decode blobs, look things up, print them.
 * Pure: bytes in, values out; nothing here touches a file or the kernel, and it runs in a browser.
 */

export {
  type BtfBase,
  type BtfBuilder,
  type BtfBuilderOptions,
  type BtfEnumOptions,
  type BtfFuncProtoOptions,
  type BtfIntOptions,
  type BtfMemberInit,
  type BtfMembers,
  createBtfBuilder,
} from "./builder.ts";
export { typeName } from "./c-declarator.ts";
export { type CopyOptions, createTypeCopier, mergeBtf, type TypeCopier } from "./copy.ts";
export { type Btf, type DecodeOptions, decodeBtf } from "./decode.ts";
export { BtfError, type BtfErrorOptions } from "./error.ts";
export {
  type DecodeInfoOptions,
  decodeFuncInfo,
  decodeLineInfo,
  encodeFuncInfo,
  encodeLineInfo,
  FUNC_INFO_SIZE,
  type FuncInfo,
  LINE_INFO_SIZE,
  type LineInfo,
  MAX_COLUMN,
  MAX_LINE,
} from "./ext.ts";
export { BTF_KIND, type BtfKind } from "./kind.ts";
export {
  alignOf,
  type Bitfield,
  enumValues,
  type Field,
  type FlatMember,
  type Found,
  findType,
  flatMembers,
  funcProto,
  getType,
  kernelStruct,
  resolve,
  type StructInfo,
  sizeOf,
  skipQualifiers,
  structInfo,
} from "./lookup.ts";
export { printC } from "./print-c.ts";
export { printTypeScript } from "./print-typescript.ts";
export {
  type BtfArray,
  type BtfDatasec,
  type BtfDatasecEntry,
  type BtfDeclTag,
  type BtfEnum,
  type BtfEnum64,
  type BtfEnum64Value,
  type BtfEnumValue,
  type BtfFloat,
  type BtfFunc,
  type BtfFuncProto,
  type BtfFwd,
  type BtfInt,
  type BtfIntEncoding,
  type BtfLinkage,
  type BtfMember,
  type BtfParam,
  type BtfPtr,
  type BtfQualifier,
  type BtfStruct,
  type BtfType,
  type BtfTypedef,
  type BtfTypeId,
  type BtfTypeOf,
  type BtfTypes,
  type BtfTypeTag,
  type BtfUnion,
  type BtfVar,
  type BtfVoid,
  type ByteOrder,
  VOID,
} from "./type.ts";
