import {
  BTF_KIND_ARRAY,
  BTF_KIND_CONST,
  BTF_KIND_DATASEC,
  BTF_KIND_DECL_TAG,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FLOAT,
  BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_FWD,
  BTF_KIND_INT,
  BTF_KIND_PTR,
  BTF_KIND_RESTRICT,
  BTF_KIND_STRUCT,
  BTF_KIND_TYPE_TAG,
  BTF_KIND_TYPEDEF,
  BTF_KIND_UNION,
  BTF_KIND_VAR,
  BTF_KIND_VOLATILE,
} from "../uapi/btf.ts";

/**
 * The numbers of the BTF format: header, kinds, flags and limits.
 *
 * ```
 * struct btf_header (24 bytes)             struct btf_type (12 bytes, then what the kind adds)
 *  0 u16 magic    0xeb9f                    0 u32 name_off   into the strings
 *  2 u8  version  1                         4 u32 info       31: kind_flag  24-28: kind  0-15: vlen
 *  3 u8  flags    0                         8 u32 size | type
 *  4 u32 hdr_len  24 (offsets count from here)
 *  8 u32 type_off, 12 u32 type_len
 * 16 u32 str_off,  20 u32 str_len
 * ```
 *
 * Newer kernels (headers of 7.2) widen `info` to 7 bits of kind and 24 of vlen, in bits that were zero, and may append
 * `u32 layout_off, layout_len` to the header: a table of record sizes by kind, with which a reader skips kinds that
 * it does not know. We read both and write what every kernel takes.
 *
 * Source: `include/uapi/linux/btf.h`, Documentation/bpf/btf.rst.
 */

/** `sizeof(struct btf_header)` as every kernel accepts it. */
export const BTF_HEADER_SIZE = 24;
/** Most members, values, parameters or variables of one type that every kernel takes. */
export const BTF_PORTABLE_MAX_VLEN = 0xffff;
/** Largest blob that `BPF_BTF_LOAD` takes, in bytes. */
export const BTF_MAX_SIZE: number = 16 * 1024 * 1024;

/** Bytes of the longest name that the kernel takes, its NUL included. */
export const KSYM_NAME_LEN = 512;

/** A kind of BTF type. */
export type BtfKind =
  | "int"
  | "ptr"
  | "array"
  | "struct"
  | "union"
  | "enum"
  | "fwd"
  | "typedef"
  | "volatile"
  | "const"
  | "restrict"
  | "func"
  | "funcProto"
  | "var"
  | "datasec"
  | "float"
  | "declTag"
  | "typeTag"
  | "enum64";

/** Kind numbers (bits 24-28 of `info`) by the name that `BtfType` uses. */
export const BTF_KIND: Readonly<Record<BtfKind, number>> = {
  int: BTF_KIND_INT,
  ptr: BTF_KIND_PTR,
  array: BTF_KIND_ARRAY,
  struct: BTF_KIND_STRUCT,
  union: BTF_KIND_UNION,
  enum: BTF_KIND_ENUM,
  fwd: BTF_KIND_FWD,
  typedef: BTF_KIND_TYPEDEF,
  volatile: BTF_KIND_VOLATILE,
  const: BTF_KIND_CONST,
  restrict: BTF_KIND_RESTRICT,
  func: BTF_KIND_FUNC,
  funcProto: BTF_KIND_FUNC_PROTO,
  var: BTF_KIND_VAR,
  datasec: BTF_KIND_DATASEC,
  float: BTF_KIND_FLOAT,
  declTag: BTF_KIND_DECL_TAG,
  typeTag: BTF_KIND_TYPE_TAG,
  enum64: BTF_KIND_ENUM64,
};

/** Kind names by number; index 0 is what no type has. */
export const BTF_KIND_NAMES: readonly (BtfKind | undefined)[] = kindNames();

function kindNames(): readonly (BtfKind | undefined)[] {
  const names: (BtfKind | undefined)[] = new Array<BtfKind | undefined>(20).fill(undefined);
  for (const [name, number] of Object.entries(BTF_KIND)) names[number] = name as BtfKind;
  return names;
}
