import { suggest } from "../../base/suggest.ts";
import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { type CompiledCodec, compileCodec } from "./compiled-codec.ts";
import { LayoutError, show } from "./error.ts";
import {
  btfMembers,
  checkRecord,
  type Field,
  type Fields,
  fieldsOf,
  type Offsets,
  offsetsOf,
} from "./field.ts";
import type { Layout } from "./layout.ts";
import type { MemberInput, MemberLayout, Members, MemberValue } from "./member.ts";
import { type Placement, placeInOrder, type RecordOptions } from "./place.ts";
import type { ReservedLayout } from "./reserved.ts";

/** A C struct. Reads and writes plain objects with a property for each member that is not reserved. */
export interface StructLayout<Name extends string = string, M extends Members = Members>
  extends Layout<StructValue<M>, "struct", StructInput<M>> {
  /** The C tag: `event` of `struct event`. */
  readonly name: Name;
  /** The members as declared. */
  readonly members: M;
  /** Where each member lies, with a codec for it alone: `event.fields.cpu.size`. */
  readonly fields: Fields<M>;
  /** Byte offsets: `event.offset.cpu`, and of a nested struct's member `event.offset["peer.port"]`. */
  readonly offset: Offsets<M>;
  /** Where each member lies, in bits, in the order of declaration. */
  readonly placement: Placement;
}

/** What a struct of these members reads. */
export type StructValue<M extends Members> = {
  -readonly [Name in keyof M as MemberLayout<M[Name]> extends ReservedLayout ? never : Name]: MemberValue<
    M[Name]
  >;
};

/** What a struct of these members writes. */
export type StructInput<M extends Members> = {
  readonly [Name in keyof M as MemberLayout<M[Name]> extends ReservedLayout ? never : Name]: MemberInput<
    M[Name]
  >;
};

/**
 * Declares a struct. Members lie as a C compiler for a 64-bit machine would have them, in the order given.
 *
 * @throws LayoutError if a name is no C identifier or there are no members.
 * @example
 * ```ts
 * const event = struct("event", {
 *   cpu: u32,
 *   ts: u64.asNumber,       // 4 bytes of padding before it
 *   comm: array(char, 16),
 *   verdict: bits(u32, 3),
 *   port: be16,
 * });
 * type Event = Infer<typeof event>; // { cpu: number; ts: number; comm: string; verdict: number; port: number }
 *
 * ldxw(r1, [r6, event.offset.cpu]);
 * const { comm } = decode(event, record);
 * ```
 */
export function struct<const Name extends string, M extends Members>(
  name: Name,
  members: M,
  options: RecordOptions = {},
): StructLayout<Name, M> {
  return structAt(name, members, placeInOrder(checkRecord("struct", name, members, options), options));
}

/** A struct whose members lie where a placement says. They may lie one upon the other, and leave holes. */
export function structAt<const Name extends string, M extends Members>(
  name: Name,
  members: M,
  placement: Placement,
): StructLayout<Name, M> {
  const { size, align, placed } = placement;
  const fields = fieldsOf(placed, size);
  return Object.freeze({
    kind: "struct",
    size,
    align,
    cName: `struct ${name}`.trimEnd(),
    name,
    members,
    fields: Object.freeze(Object.fromEntries(fields.map((field) => [field.name, field]))) as Fields<M>,
    offset: offsetsOf(placed) as Offsets<M>,
    placement,
    ...structCodec(name || "struct", fields, placement),
    btf: (builder: BtfBuilder): BtfTypeId => builder.struct(name, size, btfMembers(placed, builder)),
  } as const) as StructLayout<Name, M>;
}

interface Codec {
  read(view: DataView, offset: number): Record<string, unknown>;
  write(view: DataView, offset: number, value: unknown): void;
}

/** How often a struct is read and written before functions of its own are made for it: that takes as long as some hundred of these. */
const WARM = 200;

/** Member by member, until functions of its own are worth it; from then on for what those do not take, to say what is wrong with it. */
function structCodec(root: string, fields: readonly Field[], { placed, size }: Placement): Codec {
  const valueFields = fields.filter(({ layout }) => layout.kind !== "reserved");
  const zeroed = bytesToZero(
    size,
    placed.filter((_, index) => valueFields.includes(fields[index] as Field)),
  );
  const members = memberCodec(root, fields, valueFields, zeroed);
  let uses = 0;
  let compiled: CompiledCodec | undefined;
  const warm = (): CompiledCodec | undefined => {
    if (compiled === undefined && ++uses === WARM) compiled = compileCodec(valueFields, zeroed);
    return compiled;
  };
  return {
    read: (view, offset) => {
      const own = warm();
      if (own !== undefined) {
        try {
          return own.read(view, offset);
        } catch {
          // Below, with the member's name.
        }
      }
      return members.read(view, offset);
    },
    write: (view, offset, value) => {
      const own = warm();
      if (own !== undefined && typeof value === "object" && value !== null) {
        try {
          if (own.write(view, offset, value)) return;
        } catch {
          // Below, with the member's name.
        }
      }
      members.write(view, offset, value);
    },
  };
}

function memberCodec(
  root: string,
  fields: readonly Field[],
  valueFields: readonly Field[],
  zeroed: readonly number[],
): Codec {
  const names = valueFields.map(({ name }) => name);
  return {
    read: (view, offset) => {
      const value: Record<string, unknown> = {};
      let index = 0;
      try {
        for (; index < valueFields.length; index++) {
          const field = valueFields[index] as Field;
          value[field.name] = field.read(view, offset);
        }
      } catch (error) {
        throw LayoutError.within(root, `.${names[index]}`, error);
      }
      return value;
    },
    write: (view, offset, value) => {
      if (typeof value !== "object" || value === null)
        throw new LayoutError(root, `${show(value)} is not an object`);
      const record = value as Record<string, unknown>;
      let given = 0;
      for (const _ in record) given++;
      if (given > names.length) throw unknownMember(root, record, names, fields);
      for (const at of zeroed) view.setUint8(offset + at, 0);
      let index = 0;
      try {
        for (; index < valueFields.length; index++) {
          const field = valueFields[index] as Field;
          const member = record[field.name];
          if (member === undefined) break;
          field.write(view, offset, member);
        }
      } catch (error) {
        throw LayoutError.within(root, `.${names[index]}`, error);
      }
      if (index < names.length) {
        throw unknownMember(root, record, names, fields) ?? missingMember(root, names[index] as string);
      }
    },
  };
}

/** Bytes that no member writes whole: padding, bit fields, reserved members. */
function bytesToZero(size: number, written: Placement["placed"]): number[] {
  const whole = new Set<number>();
  for (const { member, bitOffset, bitSize } of written) {
    if (member.kind === "bits") continue;
    for (let at = bitOffset / 8; at < (bitOffset + bitSize) / 8; at++) whole.add(at);
  }
  return Array.from({ length: size }, (_, at) => at).filter((at) => !whole.has(at));
}

function missingMember(root: string, name: string): LayoutError {
  return new LayoutError(root, `member '${name}' is missing`);
}

function unknownMember(
  root: string,
  record: Record<string, unknown>,
  names: readonly string[],
  fields: readonly Field[],
): LayoutError | undefined {
  const unknown = Object.keys(record).find((key) => !names.includes(key));
  if (unknown === undefined) return undefined;
  if (fields.some(({ name }) => name === unknown)) {
    return new LayoutError(root, `member '${unknown}' is reserved: it is no part of the value`);
  }
  const missing = names.filter((name) => record[name] === undefined);
  const hint = suggest(unknown, missing) ?? suggest(unknown, names) ?? `It has ${names.join(", ")}.`;
  return new LayoutError(root, `there is no member '${unknown}'`, { hint });
}
