import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError, show } from "./error.ts";
import type { Layout } from "./layout.ts";
import {
  type FloatLayout,
  float,
  type Int64Layout,
  type Integer,
  type IntLayout,
  int,
  int64,
} from "./number.ts";

/** A C `_Bool`: one byte; everything but 0 reads as true. */
export interface BoolLayout extends Layout<boolean, "bool">, Integer<"host"> {}

/** An unsigned byte. */
export const u8: IntLayout<"u8", "host"> = int("u8", "__u8", 8, "host");
/** An unsigned 16-bit integer in host byte order. */
export const u16: IntLayout<"u16", "host"> = int("u16", "__u16", 16, "host");
/** An unsigned 32-bit integer in host byte order. */
export const u32: IntLayout<"u32", "host"> = int("u32", "__u32", 32, "host");
/** An unsigned 64-bit integer in host byte order: a bigint, or with `u64.asNumber` a number. */
export const u64: Int64Layout<"u64", "host"> = int64("u64", "__u64", "host");
/** A signed byte. */
export const s8: IntLayout<"s8", "host"> = int("s8", "__s8", 8, "host");
/** A signed 16-bit integer in host byte order. */
export const s16: IntLayout<"s16", "host"> = int("s16", "__s16", 16, "host");
/** A signed 32-bit integer in host byte order. */
export const s32: IntLayout<"s32", "host"> = int("s32", "__s32", 32, "host");
/** A signed 64-bit integer in host byte order: a bigint, or with `s64.asNumber` a number. */
export const s64: Int64Layout<"s64", "host"> = int64("s64", "__s64", "host");

/** An unsigned 16-bit integer in network byte order. The value is what it means: port 80 is 80. */
export const be16: IntLayout<"be16", "big"> = int("be16", "__be16", 16, "big");
/** An unsigned 32-bit integer in network byte order. The value is what it means: 127.0.0.1 is 0x7f000001. */
export const be32: IntLayout<"be32", "big"> = int("be32", "__be32", 32, "big");
/** An unsigned 64-bit integer in network byte order: a bigint, or with `be64.asNumber` a number. */
export const be64: Int64Layout<"be64", "big"> = int64("be64", "__be64", "big");
/** An unsigned 16-bit integer whose low byte comes first on every machine. */
export const le16: IntLayout<"le16", "little"> = int("le16", "__le16", 16, "little");
/** An unsigned 32-bit integer whose low byte comes first on every machine. */
export const le32: IntLayout<"le32", "little"> = int("le32", "__le32", 32, "little");
/** An unsigned 64-bit integer whose low byte comes first on every machine: a bigint, or a number. */
export const le64: Int64Layout<"le64", "little"> = int64("le64", "__le64", "little");

/** A C `_Bool`. */
export const bool: BoolLayout = Object.freeze({
  kind: "bool",
  size: 1,
  align: 1,
  cName: "_Bool",
  order: "host",
  signed: false,
  read: (view: DataView, offset: number): boolean => view.getUint8(offset) !== 0,
  write: (view: DataView, offset: number, value: boolean): void => {
    if (typeof value !== "boolean") throw new LayoutError("bool", `${show(value)} is not true or false`);
    view.setUint8(offset, value ? 1 : 0);
  },
  btf: (builder: BtfBuilder): BtfTypeId => builder.int("_Bool", 1, "bool"),
} as const);

/** A C `float` in host byte order. */
export const f32: FloatLayout<"f32"> = float(
  "f32",
  "float",
  4,
  (view, offset) => view.getFloat32(offset, LITTLE_ENDIAN),
  (view, offset, value) => view.setFloat32(offset, value, LITTLE_ENDIAN),
);

/** A C `double` in host byte order. */
export const f64: FloatLayout<"f64"> = float(
  "f64",
  "double",
  8,
  (view, offset) => view.getFloat64(offset, LITTLE_ENDIAN),
  (view, offset, value) => view.setFloat64(offset, value, LITTLE_ENDIAN),
);
