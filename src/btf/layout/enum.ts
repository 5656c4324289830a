import { suggest } from "../../base/suggest.ts";
import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError, show } from "./error.ts";
import type { Infer, Layout } from "./layout.ts";
import type { Integer } from "./number.ts";

/** Values of an enum by name; bigints only where a number would not hold them. */
export type EnumValues = Readonly<Record<string, number | bigint>>;

/** The integer that an enum is: its size and sign, and whether it reads as a number or a bigint. */
export type EnumBase = Layout<number | bigint> & Integer<"host">;

/** What an enum can be written from: a name, digits, or a number. */
export type EnumInput<Values extends EnumValues> = EnumName<Values> | number | bigint;

/** A value's name, or the digits of a value that has none. */
export type EnumName<Values extends EnumValues> = (keyof Values & string) | `${number}`;

/**
 * A C enum that reads as a name. A value that has none reads as its digits, `"7"`: nothing is lost, and to compare the
 * value with a number does not compile.
 */
export interface EnumLayout<Name extends string, Base extends EnumBase, Values extends EnumValues>
  extends Layout<EnumName<Values>, "enum", EnumInput<Values>>,
    Integer<"host"> {
  /** The C tag: `xdp_action` of `enum xdp_action`. */
  readonly name: Name;
  /** The numbers by name, for programs: `mov32(r0, action.values.XDP_PASS)`. */
  readonly values: Values;
  /** The same enum read as a number. */
  readonly asNumber: EnumAsNumberLayout<Name, Base, Values>;
}

/** A C enum that reads as a number: what its integer reads. */
export interface EnumAsNumberLayout<Name extends string, Base extends EnumBase, Values extends EnumValues>
  extends Layout<Infer<Base>, "enum", EnumInput<Values>>,
    Integer<"host"> {
  /** The C tag. */
  readonly name: Name;
  /** The numbers by name. */
  readonly values: Values;
}

/**
 * Declares an enum. Where two names have the same value, the first is the one that is read.
 *
 * @param base Its integer; a C compiler takes `u32`, or `s32` if a value is negative.
 * @throws LayoutError if the name is no C identifier or a value does not fit the integer.
 * @example
 * ```ts
 * const action = enumOf("action", u32, { DROP: 1, PASS: 2 });
 * decode(action, Uint8Array.of(2, 0, 0, 0)); // "PASS"
 * decode(action, Uint8Array.of(7, 0, 0, 0)); // "7"
 * decode(action.asNumber, Uint8Array.of(2, 0, 0, 0)); // 2
 * ```
 */
export function enumOf<const Name extends string, Base extends EnumBase, const Values extends EnumValues>(
  name: Name,
  base: Base,
  values: Values,
): EnumLayout<Name, Base, Values> {
  const root = name || "enum";
  const entries = Object.entries(values);
  const memory = new DataView(new ArrayBuffer(8));
  const names = new Map<number | bigint, string>();
  for (const [valueName, value] of entries) {
    try {
      base.write(memory, 0, value);
    } catch (error) {
      throw LayoutError.within(root, `.${valueName}`, error);
    }
    const asRead = base.read(memory, 0);
    if (!names.has(asRead)) names.set(asRead, valueName);
  }

  const common = {
    kind: "enum",
    size: base.size,
    align: base.align,
    cName: `enum ${name}`.trimEnd(),
    name,
    values,
    order: "host",
    signed: base.signed,
    write: (view: DataView, offset: number, value: EnumInput<Values>): void => {
      const number = typeof value === "string" ? numberOf(root, values, value) : value;
      try {
        base.write(view, offset, number);
      } catch (error) {
        throw LayoutError.within(root, "", error);
      }
    },
    btf: (builder: BtfBuilder): BtfTypeId => enumBtf(builder, name, base, entries),
  } as const;
  const readNumber = (view: DataView, offset: number): Infer<Base> => base.read(view, offset) as Infer<Base>;
  return Object.freeze({
    ...common,
    read: (view: DataView, offset: number): EnumName<Values> => {
      const value = base.read(view, offset);
      return (names.get(value) ?? String(value)) as EnumName<Values>;
    },
    asNumber: Object.freeze({ ...common, read: readNumber }),
  });
}

function numberOf(root: string, values: EnumValues, text: string): number | bigint {
  const value = Object.hasOwn(values, text) ? values[text] : undefined;
  if (value !== undefined) return value;
  if (/^-?\d+$/.test(text)) {
    const number = Number(text);
    return Number.isSafeInteger(number) ? number : BigInt(text);
  }
  const known = Object.keys(values);
  const hint = suggest(text, known) ?? `It has ${known.join(", ")}.`;
  throw new LayoutError(root, `${show(text)} is not one of its names`, { hint });
}

// enum64 came with Linux 6.0: it is used only where a value needs it.
function enumBtf(
  builder: BtfBuilder,
  name: string,
  { size, signed }: EnumBase,
  entries: readonly (readonly [string, number | bigint])[],
): BtfTypeId {
  const [min, max] = signed ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  if (entries.every(([, value]) => value >= min && value <= max)) {
    const values = Object.fromEntries(entries.map(([key, value]) => [key, Number(value)]));
    return builder.enum(name, values, { size, signed });
  }
  const values = Object.fromEntries(entries.map(([key, value]) => [key, BigInt(value)]));
  return builder.enum64(name, values, { size, signed });
}
