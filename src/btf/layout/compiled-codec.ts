// Reading a struct member by member, through a list of fields, costs some 30 ns for each: V8 can neither inline a call whose
// target differs from turn to turn nor keep the shape of an object whose properties have computed names. So a struct that is used
// often gets functions of its own, written out as one would by hand, which are about ten times faster. They only know the case
// in which all is well: everything else is left to the list, whose errors name the member.
import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { Field } from "./field.ts";
import type { Layout } from "./layout.ts";
import type { Integer } from "./number.ts";
import { be16, be32, be64, le16, le32, le64, s8, s16, s32, s64, u8, u16, u32, u64 } from "./scalar.ts";

/** Functions for one struct. */
export interface CompiledCodec {
  /** Reads a struct. Throws whatever it likes if that cannot be done. */
  read(view: DataView, offset: number): Record<string, unknown>;
  /** Writes a struct. Gives `false`, or throws whatever it likes, if that cannot be done; some of it may be written then. */
  write(view: DataView, offset: number, value: object): boolean;
}

/**
 * Compiles the codec of a struct of these fields. `undefined` where code may not be made of strings (`node
 * --disallow-code-generation-from-strings`).
 *
 * @param fields - those that are part of the value, in order.
 * @param zeroed - offsets of the bytes that are written as zero.
 */
export function compileCodec(fields: readonly Field[], zeroed: readonly number[]): CompiledCodec | undefined {
  // Names are C identifiers, so there is nothing in the text that could be anything but what is written here.
  const reads = fields.map((field, i) => `"${field.name}": ${readOf(field, i)}`);
  const writes = fields.map((field, i) => `x = r["${field.name}"]; ${writeOf(field, i)}`);
  const source = `"use strict";
    return {
      read: (v, o) => ({ ${reads.join(", ")} }),
      write: (v, o, r) => {
        let n = 0, x;
        for (const _ in r) n++;
        if (n > ${fields.length}) return false;
        ${zeroed.map((at) => `v.setUint8(o + ${at}, 0);`).join(" ")}
        ${writes.join("\n        ")}
        return true;
      },
    };`;
  try {
    return new Function("f", "join", source)(fields, join) as CompiledCodec;
  } catch (error) {
    if (error instanceof EvalError) return undefined;
    throw error;
  }
}

/** A 64-bit integer of its halves, if a number holds it exactly. */
function join(low: number, high: number): number {
  const value = low + high * 0x1_0000_0000;
  if (!Number.isSafeInteger(value)) throw new RangeError("beyond 2^53 - 1");
  return value;
}

/** The expression that reads a field. */
function readOf(field: Field, index: number): string {
  const integer = integerOf(field);
  if (integer === undefined) return `f[${index}].read(v, o)`;
  const { signed, little } = integer;
  const { offset, size, layout } = field;
  const kind = signed ? "Int" : "Uint";
  if (size < 8) return `v.get${kind}${size * 8}(o + ${offset}, ${little})`;
  if ("asNumber" in layout) return `v.getBig${kind}64(o + ${offset}, ${little})`;
  const [low, high] = little ? [offset, offset + 4] : [offset + 4, offset];
  return `join(v.getUint32(o + ${low}, ${little}), v.get${kind}32(o + ${high}, ${little}))`;
}

/** The statement that writes `x` to a field. */
function writeOf(field: Field, index: number): string {
  const integer = integerOf(field);
  const { offset, size } = field;
  if (integer === undefined || size === 8) {
    return `if (x === undefined) return false; f[${index}].write(v, o, x);`;
  }
  const { signed, little } = integer;
  const bits = size * 8;
  // What the value becomes when it is stored and read again: itself, if it fits and is an integer.
  const shift = 32 - bits;
  const stored = signed ? `x << ${shift} >> ${shift}` : `x << ${shift} >>> ${shift}`;
  return `if ((${stored}) !== x) return false; v.set${signed ? "Int" : "Uint"}${bits}(o + ${offset}, x, ${little});`;
}

/** The 64-bit ones are in it twice: those that read as a bigint and those that read as a number. */
const INTEGERS: ReadonlyMap<Layout, { readonly little: boolean; readonly signed: boolean }> = new Map(
  [
    ...[u8, u16, u32, s8, s16, s32, be16, be32, le16, le32],
    ...[u64, s64, be64, le64].flatMap((layout): (Layout & Integer)[] => [layout, layout.asNumber]),
  ].map((layout: Layout & Integer) => {
    const { order, signed } = layout;
    return [layout, { signed, little: order === "host" ? LITTLE_ENDIAN : order === "little" }];
  }),
);

/** A field that is one of the integers above; layouts that only look like one have a codec of their own. */
function integerOf(field: Field): { readonly little: boolean; readonly signed: boolean } | undefined {
  return "shift" in field ? undefined : INTEGERS.get(field.layout);
}
