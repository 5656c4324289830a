import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError, show } from "./error.ts";
import type { Infer, InferInput, Layout } from "./layout.ts";
import { u8 } from "./scalar.ts";
import { type CharLayout, type TextLayout, text } from "./text.ts";

/** So many elements of one layout: reads as an array; writes arrays and typed arrays. */
export interface ArrayLayout<Element extends Layout = Layout>
  extends Layout<Infer<Element>[], "array", ArrayLike<InferInput<Element>>> {
  readonly element: Element;
  /** Number of elements. */
  readonly length: number;
}

/** So many bytes: reads as a `Uint8Array` of its own, never a view; writes one of exactly that length. */
export interface BytesLayout extends Layout<Uint8Array, "bytes"> {
  /** Number of bytes. */
  readonly length: number;
}

/**
 * `length` elements one after the other. Of `char` it is text: reads as a string up to the first NUL, writes a string
 * and zeros after it.
 *
 * @throws LayoutError if the length is no integer from 0 on.
 * @example
 * ```ts
 * decode(array(be16, 2), Uint8Array.of(0, 80, 1, 187)); // [80, 443]
 * decode(array(char, 4), Uint8Array.of(108, 111, 0, 0)); // "lo"
 * ```
 */
export function array(element: CharLayout, length: number): TextLayout;
export function array<Element extends Layout>(element: Element, length: number): ArrayLayout<Element>;
export function array(element: Layout, length: number): Layout {
  checkLength("array", length);
  if (element.kind === "char") return text(length);
  const { size: stride } = element;
  const layout: ArrayLayout = {
    kind: "array",
    size: stride * length,
    align: element.align,
    cName: `${element.cName}[${length}]`,
    element,
    length,
    read: (view, offset) => {
      const values: unknown[] = [];
      let index = 0;
      try {
        for (; index < length; index++) values.push(element.read(view, offset + index * stride));
      } catch (error) {
        throw LayoutError.within("array", `[${index}]`, error);
      }
      return values;
    },
    write: (view, offset, values) => {
      if (!Array.isArray(values) && !ArrayBuffer.isView(values)) {
        throw new LayoutError("array", `${show(values)} is not an array of ${length}`);
      }
      if (values.length !== length) {
        throw new LayoutError("array", `${values.length} elements given, and it has ${length}`);
      }
      let index = 0;
      try {
        for (; index < length; index++) element.write(view, offset + index * stride, values[index]);
      } catch (error) {
        throw LayoutError.within("array", `[${index}]`, error);
      }
    },
    btf: (builder) => builder.array(element.btf(builder), length),
  };
  return Object.freeze(layout);
}

/**
 * `length` bytes that are not to be read as numbers: an address, a hash, a payload.
 *
 * @throws LayoutError if the length is no integer from 0 on.
 * @example
 * ```ts
 * const ethhdr = struct("ethhdr", { h_dest: bytes(6), h_source: bytes(6), h_proto: be16 });
 * ```
 */
export function bytes(length: number): BytesLayout {
  checkLength("bytes", length);
  return Object.freeze({
    kind: "bytes",
    size: length,
    align: 1,
    cName: `${u8.cName}[${length}]`,
    length,
    read: (view: DataView, offset: number): Uint8Array => viewOf(view, offset, length).slice(),
    write: (view: DataView, offset: number, value: Uint8Array): void => {
      if (!(value instanceof Uint8Array))
        throw new LayoutError("bytes", `${show(value)} is not a Uint8Array`);
      if (value.length !== length) {
        throw new LayoutError("bytes", `${value.length} bytes given, and it has ${length}`);
      }
      viewOf(view, offset, length).set(value);
    },
    btf: (builder: BtfBuilder): BtfTypeId => builder.array(u8.btf(builder), length),
  } as const);
}

function viewOf(view: DataView, offset: number, length: number): Uint8Array {
  if (offset + length > view.byteLength) throw new RangeError("Offset is outside the bounds of the DataView");
  return new Uint8Array(view.buffer, view.byteOffset + offset, length);
}

function checkLength(kind: string, length: number): void {
  if (Number.isInteger(length) && length >= 0 && length <= 0xffff_ffff) return;
  throw new LayoutError(kind, `length ${show(length)} is not an integer from 0 to 4294967295`);
}
