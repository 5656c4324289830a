import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError, show } from "./error.ts";
import type { Layout } from "./layout.ts";

/** Byte order of an integer: this machine's, or one that a protocol fixes. */
export type IntegerOrder = "host" | "big" | "little";

/** What is common to integers: they can be compared and computed with once their byte order is known. */
export interface Integer<Order extends IntegerOrder = IntegerOrder> {
  readonly order: Order;
  readonly signed: boolean;
}

/** An integer of at most 32 bits: a number. */
export interface IntLayout<Kind extends string, Order extends IntegerOrder>
  extends Layout<number, Kind>,
    Integer<Order> {}

/** A 64-bit integer: reads as a bigint; writes bigints and safe integers. */
export interface Int64Layout<Kind extends string, Order extends IntegerOrder>
  extends Layout<bigint, Kind, bigint | number>,
    Integer<Order> {
  /** The same integer read as a number, for counters, sizes and times that stay below 2^53. */
  readonly asNumber: Int64AsNumberLayout<Kind, Order>;
}

/**
 * A 64-bit integer that reads as a number and writes bigints and safe integers. To read one beyond 2^53 - 1 throws a
 * `LayoutError`: a number would round it.
 */
export interface Int64AsNumberLayout<Kind extends string, Order extends IntegerOrder>
  extends Layout<number, Kind, bigint | number>,
    Integer<Order> {}

/** A floating-point number. BPF programs have no arithmetic for it; it is for data that passes through. */
export interface FloatLayout<Kind extends string> extends Layout<number, Kind> {}

type Read<T> = (view: DataView, offset: number) => T;
type Write<T> = (view: DataView, offset: number, value: T) => void;
type Bits = 8 | 16 | 32;

const TWO_32 = 0x1_0000_0000;

/** `__be32` is a typedef of `__u32`, which is one of `unsigned int`: as in the kernel's headers. */
const C_INTEGERS = {
  __u8: "unsigned char",
  __u16: "unsigned short",
  __u32: "unsigned int",
  __u64: "unsigned long long",
  __s8: "signed char",
  __s16: "short",
  __s32: "int",
  __s64: "long long",
} as const;
type CInteger = keyof typeof C_INTEGERS;
type CName = CInteger | `__${"be" | "le"}${16 | 32 | 64}`;

function integerBtf(cName: CName, size: number, signed: boolean): (builder: BtfBuilder) => BtfTypeId {
  const host = cName in C_INTEGERS ? (cName as CInteger) : (`__u${size * 8}` as CInteger);
  return (builder) => {
    const int = builder.int(C_INTEGERS[host], size, signed ? "signed" : "unsigned");
    const typedef = builder.typedef(host, int);
    return cName === host ? typedef : builder.typedef(cName, typedef);
  };
}

function isLittle(order: IntegerOrder): boolean {
  return order === "host" ? LITTLE_ENDIAN : order === "little";
}

/** Makes an integer of at most 32 bits. */
export function int<Kind extends string, Order extends IntegerOrder>(
  kind: Kind,
  cName: CName,
  bits: Bits,
  order: Order,
): IntLayout<Kind, Order> {
  const signed = cName.startsWith("__s");
  const min = signed ? -(2 ** (bits - 1)) : 0;
  const max = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const little = isLittle(order);
  const set = setter(bits, little);
  const size = bits / 8;
  return Object.freeze({
    kind,
    size,
    align: size,
    cName,
    order,
    signed,
    read: getter(bits, signed, little),
    write: (view: DataView, offset: number, value: number): void => {
      if (!Number.isInteger(value) || value < min || value > max) throw notAnInteger(kind, value, min, max);
      set(view, offset, value);
    },
    btf: integerBtf(cName, size, signed),
  });
}

function notAnInteger(kind: string, value: unknown, min: number | bigint, max: number | bigint): LayoutError {
  return new LayoutError(kind, `${show(value)} is not an integer from ${min} to ${max}`);
}

function getter(bits: Bits, signed: boolean, little: boolean): Read<number> {
  switch (bits) {
    case 8:
      return signed ? (view, offset) => view.getInt8(offset) : (view, offset) => view.getUint8(offset);
    case 16:
      return signed
        ? (view, offset) => view.getInt16(offset, little)
        : (view, offset) => view.getUint16(offset, little);
    case 32:
      return signed
        ? (view, offset) => view.getInt32(offset, little)
        : (view, offset) => view.getUint32(offset, little);
  }
}

// Storing takes the value modulo 2^bits: signed and unsigned are the same.
function setter(bits: Bits, little: boolean): Write<number> {
  switch (bits) {
    case 8:
      return (view, offset, value) => view.setUint8(offset, value);
    case 16:
      return (view, offset, value) => view.setUint16(offset, value, little);
    case 32:
      return (view, offset, value) => view.setUint32(offset, value, little);
  }
}

/** Makes a 64-bit integer. */
export function int64<Kind extends string, Order extends IntegerOrder>(
  kind: Kind,
  cName: CName,
  order: Order,
): Int64Layout<Kind, Order> {
  const signed = cName.startsWith("__s");
  const min = signed ? -(2n ** 63n) : 0n;
  const max = signed ? 2n ** 63n - 1n : 2n ** 64n - 1n;
  const little = isLittle(order);
  const low = little ? 0 : 4;
  const high = 4 - low;

  // Two 32-bit accesses are several times faster than a BigInt one.
  const readNumber: Read<number> = signed
    ? (view, offset) => view.getUint32(offset + low, little) + view.getInt32(offset + high, little) * TWO_32
    : (view, offset) => view.getUint32(offset + low, little) + view.getUint32(offset + high, little) * TWO_32;
  const readBigInt: Read<bigint> = signed
    ? (view, offset) => view.getBigInt64(offset, little)
    : (view, offset) => view.getBigUint64(offset, little);
  const write: Write<bigint | number> = (view, offset, value) => {
    if (typeof value === "bigint") {
      if (value < min || value > max) throw notAnInteger(kind, value, min, max);
      view.setBigUint64(offset, value, little);
      return;
    }
    if (!Number.isSafeInteger(value) || (value < 0 && !signed)) throw notA64BitInteger(value);
    view.setUint32(offset + low, value, little);
    view.setUint32(offset + high, Math.floor(value / TWO_32), little);
  };
  const notA64BitInteger = (value: unknown): LayoutError => {
    if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      const reason = `${value} is beyond what a number holds exactly (2^53 - 1)`;
      return new LayoutError(kind, reason, { hint: "Give it as a bigint." });
    }
    return notAnInteger(kind, value, min, max);
  };

  const common = {
    kind,
    size: 8,
    align: 8,
    cName,
    order,
    signed,
    write,
    btf: integerBtf(cName, 8, signed),
  } as const;
  const asNumber = Object.freeze({
    ...common,
    read: (view: DataView, offset: number): number => {
      const value = readNumber(view, offset);
      if (Number.isSafeInteger(value)) return value;
      const exact = readBigInt(view, offset);
      throw new LayoutError(kind, `${exact} is beyond what a number holds exactly (2^53 - 1)`, {
        hint: `Declare it as ${kind}, without asNumber, to read a bigint.`,
      });
    },
  });
  return Object.freeze({ ...common, read: readBigInt, asNumber });
}

/** Makes a floating-point number. */
export function float<Kind extends string>(
  kind: Kind,
  cName: string,
  size: number,
  read: Read<number>,
  write: Write<number>,
): FloatLayout<Kind> {
  return Object.freeze({
    kind,
    size,
    align: size,
    cName,
    read,
    write: (view: DataView, offset: number, value: number): void => {
      if (typeof value !== "number") throw new LayoutError(kind, `${show(value)} is not a number`);
      write(view, offset, value);
    },
    btf: (builder: BtfBuilder): BtfTypeId => builder.float(cName, size),
  });
}
