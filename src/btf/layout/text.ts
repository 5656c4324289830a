import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError, show } from "./error.ts";
import type { Layout } from "./layout.ts";

/** A C `char`: reads and writes one ASCII character, NUL as `"\0"`. `array(char, n)` is text. */
export interface CharLayout extends Layout<string, "char"> {}

/**
 * Text in a field of fixed length: reads UTF-8 up to the first NUL or the end; writes a string and zeros after it.
 *
 * A string may fill the field, and then no NUL follows, as in C's `char s[4] = "four"`. One that is longer, or has a
 * NUL in it, is refused. Bytes that are no UTF-8 read as U+FFFD: use `bytes(n)` for what is not text.
 */
export interface TextLayout extends Layout<string, "text"> {
  /** Bytes, the NUL included. */
  readonly length: number;
}

/** A C `char`. */
export const char: CharLayout = Object.freeze({
  kind: "char",
  size: 1,
  align: 1,
  cName: "char",
  read: (view: DataView, offset: number): string => String.fromCharCode(view.getUint8(offset)),
  write: (view: DataView, offset: number, value: string): void => {
    if (typeof value !== "string" || value.length !== 1 || value.charCodeAt(0) > 0xff) {
      throw new LayoutError("char", `${show(value)} is not a one-byte character`);
    }
    view.setUint8(offset, value.charCodeAt(0));
  },
  btf: charBtf,
} as const);

/** What `array(char, length)` is. */
export function text(length: number): TextLayout {
  return Object.freeze({
    kind: "text",
    size: length,
    align: 1,
    cName: `char[${length}]`,
    length,
    read: (view: DataView, offset: number): string => readText(view, offset, length),
    write: (view: DataView, offset: number, value: string): void => writeText(view, offset, length, value),
    btf: (builder: BtfBuilder): BtfTypeId => builder.array(charBtf(builder), length),
  } as const);
}

// bpftool shows an array as text only if its element is called "char".
function charBtf(builder: BtfBuilder): BtfTypeId {
  return builder.int("char", 1, "signed");
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

function readText(view: DataView, offset: number, length: number): string {
  // A TextDecoder call costs more than a short ASCII name does.
  let text = "";
  for (let index = 0; index < length; index++) {
    const code = view.getUint8(offset + index);
    if (code === 0) return text;
    if (code > 0x7f) return decodeText(view, offset, length);
    text += String.fromCharCode(code);
  }
  return text;
}

function decodeText(view: DataView, offset: number, length: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, length);
  const end = bytes.indexOf(0);
  return decoder.decode(end === -1 ? bytes : bytes.subarray(0, end));
}

function writeText(view: DataView, offset: number, length: number, value: string): void {
  if (typeof value !== "string") throw new LayoutError("text", `${show(value)} is not a string`);
  if (value.length > length) throw tooLong(value, length);
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index);
    if (code === 0) throw new LayoutError("text", `${show(value)} has a NUL in it, where it would end`);
    if (code > 0x7f) {
      writeEncoded(view, offset, length, value);
      return;
    }
    view.setUint8(offset + index, code);
  }
  for (let index = value.length; index < length; index++) view.setUint8(offset + index, 0);
}

function writeEncoded(view: DataView, offset: number, length: number, value: string): void {
  const bytes = encoder.encode(value);
  if (bytes.length > length) throw tooLong(value, length);
  if (bytes.includes(0)) throw new LayoutError("text", `${show(value)} has a NUL in it, where it would end`);
  for (let index = 0; index < length; index++) view.setUint8(offset + index, bytes[index] ?? 0);
}

function tooLong(value: string, length: number): LayoutError {
  const size = encoder.encode(value).length;
  return new LayoutError("text", `${show(value)} is ${size} bytes long and does not fit ${length}`);
}
