import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError } from "./error.ts";

/**
 * How a value lies in memory, as a C compiler for a 64-bit machine would lay it out: its size and alignment, how to
 * read and write it, and its BTF. Layouts are immutable values; {@link Infer} gives the TypeScript type.
 *
 * Host byte order unless the kind says otherwise (`be16`, `le32`).
 *
 * @typeParam T What `read` gives.
 * @typeParam Kind Which layout it is: `"u32"`, `"be16"`, `"struct"`. Wire byte order is part of it, so that code which
 *   computes with fields can tell a `be16` from a `u16`.
 * @typeParam In What `write` takes: everything `read` gives, and more where that is handy (a `u64` takes a number).
 */
export interface Layout<T = unknown, Kind extends string = string, In = T> {
  readonly kind: Kind;
  /** Bytes. */
  readonly size: number;
  /** Its offset in a struct is a multiple of this many bytes. A power of two. */
  readonly align: number;
  /** The C type: `__u32`, `struct event`, `char[16]`. */
  readonly cName: string;
  /**
   * Reads the value at a byte offset. Throws `RangeError` if the view ends before the value does, and `LayoutError` for
   * the few bytes that have no value, as those of a `u64.asNumber` above 2^53.
   */
  read(view: DataView, offset: number): T;
  /**
   * Writes a value at a byte offset. It writes every byte, padding as zero.
   *
   * @throws LayoutError naming the path, if the value is not one that fits.
   */
  write(view: DataView, offset: number, value: NoInfer<In>): void;
  /** Adds the type to a builder; gives its id. */
  btf(builder: BtfBuilder): BtfTypeId;
}

/**
 * What a layout reads.
 *
 * @example
 * ```ts
 * const event = struct("event", { cpu: u32, ts: u64, comm: array(char, 16) });
 * type Event = Infer<typeof event>; // { cpu: number; ts: bigint; comm: string }
 * ```
 */
export type Infer<L extends Layout> = ReturnType<L["read"]>;

/** What a layout writes: {@link Infer}, more widely. */
export type InferInput<L extends Layout> = Parameters<L["write"]>[2];

/**
 * A value as bytes of its own.
 *
 * @throws LayoutError if the value does not fit the layout.
 * @example
 * ```ts
 * encode(struct("key", { port: be16, proto: u8 }), { port: 80, proto: 6 }); // 00 50 06 00
 * ```
 */
export function encode<L extends Layout>(layout: L, value: InferInput<L>): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  layout.write(new DataView(bytes.buffer), 0, value);
  return bytes;
}

/**
 * The value in bytes that a layout fills. Nothing in the result refers to the bytes.
 *
 * @throws LayoutError if there are more bytes or fewer than the layout has: then they are those of something else.
 */
export function decode<L extends Layout>(layout: L, bytes: Uint8Array): Infer<L> {
  if (bytes.length !== layout.size) {
    throw new LayoutError(layout.cName, `${bytes.length} bytes given, and it has ${layout.size}`, {
      hint: "The two sides disagree about the layout. To read a value out of more bytes use read(view, offset).",
    });
  }
  return layout.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0) as Infer<L>;
}
