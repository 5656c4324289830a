import { suggest } from "../../base/suggest.ts";
import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
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
import type { MemberInput, Members, MemberValue, ValueNames } from "./member.ts";
import { type Placement, placeTogether, type RecordOptions } from "./place.ts";

/**
 * A C union. It reads as an object that has every member, each decoded when it is looked at; it writes an object with
 * exactly one member, or one that it read.
 */
export interface UnionLayout<Name extends string = string, M extends Members = Members>
  extends Layout<UnionValue<M>, "union", UnionInput<M>> {
  /** The C tag: `addr` of `union addr`. */
  readonly name: Name;
  /** The members as declared. */
  readonly members: M;
  /** The members in their place, each with a codec for it alone. */
  readonly fields: Fields<M>;
  /** Byte offsets: 0 for each member, and those of the structs within: `addr.offset["v6.high"]`. */
  readonly offset: Offsets<M>;
  /** Where each member lies, in bits. */
  readonly placement: Placement;
}

/** The key of a union value's bytes. */
export const unionBytes: unique symbol = Symbol("bytes");

/** What a union reads: all its members, and the bytes that they are read from, a copy. */
export type UnionValue<M extends Members> = { readonly [Name in ValueNames<M>]: MemberValue<M[Name]> } & {
  readonly [unionBytes]: Uint8Array;
};

/** What a union writes: one member, or what it read. */
export type UnionInput<M extends Members> =
  | { [Name in ValueNames<M>]: OnlyOne<M, Name> }[ValueNames<M>]
  | UnionValue<M>;

type OnlyOne<M extends Members, Name extends ValueNames<M>> = { readonly [K in Name]: MemberInput<M[K]> } & {
  readonly [K in Exclude<ValueNames<M>, Name>]?: undefined;
};

/**
 * Declares a union. Bytes that the member written does not take are written as zero.
 *
 * @throws LayoutError if a name is no C identifier or there are no members.
 * @example
 * ```ts
 * const addr = union("addr", { v4: be32, v6: bytes(16) });
 * const data = encode(addr, { v4: 0x7f000001 });
 * decode(addr, data).v6; // 7f 00 00 01, and zeros
 * ```
 */
export function union<const Name extends string, M extends Members>(
  name: Name,
  members: M,
  options: RecordOptions = {},
): UnionLayout<Name, M> {
  const placement = placeTogether(checkRecord("union", name, members, options), options);
  const { size, align, placed } = placement;
  const fields = fieldsOf(placed, size);
  return Object.freeze({
    kind: "union",
    size,
    align,
    cName: `union ${name}`.trimEnd(),
    name,
    members,
    fields: Object.freeze(Object.fromEntries(fields.map((field) => [field.name, field]))) as Fields<M>,
    offset: offsetsOf(placed) as Offsets<M>,
    placement,
    ...unionCodec(name || "union", fields, size),
    btf: (builder: BtfBuilder): BtfTypeId => builder.union(name, size, btfMembers(placed, builder)),
  } as const) as unknown as UnionLayout<Name, M>;
}

interface Codec {
  read(view: DataView, offset: number): UnionView;
  write(view: DataView, offset: number, value: unknown): void;
}

function unionCodec(root: string, fields: readonly Field[], size: number): Codec {
  const byName = new Map(
    fields.filter(({ layout }) => layout.kind !== "reserved").map((field) => [field.name, field]),
  );
  const View = viewClass(root, [...byName.values()]);
  return {
    read: (view, offset) => {
      if (offset + size > view.byteLength)
        throw new RangeError("Offset is outside the bounds of the DataView");
      return new View(new Uint8Array(view.buffer, view.byteOffset + offset, size).slice());
    },
    write: (view, offset, value) => {
      if (typeof value !== "object" || value === null)
        throw new LayoutError(root, `${show(value)} is not an object`);
      if (value instanceof UnionView) {
        const bytes = value[unionBytes];
        if (bytes.length !== size) {
          throw new LayoutError(
            root,
            `the value read from another union has ${bytes.length} bytes, not ${size}`,
          );
        }
        for (const [index, byte] of bytes.entries()) view.setUint8(offset + index, byte);
        return;
      }
      const given = Object.entries(value).filter(([, member]) => member !== undefined);
      const [first] = given;
      if (first === undefined || given.length > 1) throw notOne(root, given, byName);
      const field = byName.get(first[0]);
      if (field === undefined) {
        const hint = suggest(first[0], [...byName.keys()]) ?? `It has ${[...byName.keys()].join(", ")}.`;
        throw new LayoutError(root, `there is no member '${first[0]}'`, { hint });
      }
      for (let at = offset; at < offset + size; at++) view.setUint8(at, 0);
      try {
        field.write(view, offset, first[1]);
      } catch (error) {
        throw LayoutError.within(root, `.${field.name}`, error);
      }
    },
  };
}

function notOne(
  root: string,
  given: readonly (readonly [string, unknown])[],
  byName: ReadonlyMap<string, Field>,
): LayoutError {
  const names = [...byName.keys()].join(", ");
  if (given.length === 0) return new LayoutError(root, `no member given: it takes one of ${names}`);
  const reason = `${given.map(([name]) => `'${name}'`).join(" and ")} are given: it takes exactly one of ${names}`;
  return new LayoutError(root, reason);
}

/** A value that a union read. Its class is a subclass with a getter for each member. */
abstract class UnionView {
  readonly [unionBytes]: Uint8Array;

  constructor(bytes: Uint8Array) {
    this[unionBytes] = bytes;
  }
}

function viewClass(root: string, fields: readonly Field[]): new (bytes: Uint8Array) => UnionView {
  class View extends UnionView {
    /** Every member that has a value, so that JSON and console.log show more than bytes. */
    toJSON(): Record<string, unknown> {
      const members: Record<string, unknown> = {};
      for (const { name } of fields) {
        try {
          members[name] = (this as unknown as Record<string, unknown>)[name];
        } catch (error) {
          // A member need not make sense when another one was written.
          if (!(error instanceof LayoutError)) throw error;
        }
      }
      return members;
    }

    // What Node.js calls to show a value; other hosts never look at it.
    [Symbol.for("nodejs.util.inspect.custom")](): Record<string, unknown> {
      return this.toJSON();
    }
  }
  for (const field of fields) {
    Object.defineProperty(View.prototype, field.name, {
      get(this: View): unknown {
        const { buffer, byteOffset, byteLength } = this[unionBytes];
        try {
          return field.read(new DataView(buffer, byteOffset, byteLength), 0);
        } catch (error) {
          throw LayoutError.within(root, `.${field.name}`, error);
        }
      },
    });
  }
  return View;
}
