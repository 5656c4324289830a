import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import type { Syscalls } from "./syscalls.ts";

/** Where the fields of one command's part of `union bpf_attr` are, in bytes, and how long that part is. */
export type AttrLayout = Readonly<Record<string, number>> & { readonly size: number };

/**
 * Writes one zeroed `union bpf_attr` field by field, in the host's byte order.
 *
 * Every value is range-checked: the kernel (and koffi's own structs) would take a wrapped one without a word. Pointer
 * fields keep their buffer reachable for as long as {@link BpfAttr.bytes} is, which is what goes into the system
 * call; so a buffer cannot be collected, and its address reused, while the kernel looks at it.
 *
 * Fields whose value is `undefined` stay zero.
 *
 * @example
 * const attr = new BpfAttr(sys, bpf_attr_map_elem).u32("map_fd", fd.number).ptr("key", key).ptr("value", value);
 * sys.bpf(BPF_MAP_LOOKUP_ELEM, attr.bytes);
 */
export class BpfAttr<L extends AttrLayout> {
  /** The encoded attribute. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #sys: Pick<Syscalls, "addressOf">;
  readonly #layout: L;
  readonly #references: Uint8Array[];

  constructor(sys: Pick<Syscalls, "addressOf">, layout: L, over?: AttrStorage) {
    const { bytes, references } = over ?? newStorage(layout.size);
    this.#sys = sys;
    this.#layout = layout;
    this.bytes = bytes;
    this.#references = references;
    this.#view = new DataView(bytes.buffer);
  }

  /** The same bytes seen through another layout: the part of a union that belongs to one variant of the command. */
  variant<M extends AttrLayout>(layout: M): BpfAttr<M> {
    return new BpfAttr(this.#sys, layout, { bytes: this.bytes, references: this.#references });
  }

  /** An unsigned 32-bit field. */
  u32(field: Field<L>, value: number | undefined): this {
    if (value === undefined) return this;
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw outOfRange(field, value, "u32");
    this.#view.setUint32(this.#offset(field), value, LITTLE_ENDIAN);
    return this;
  }

  /** A signed 32-bit field. */
  s32(field: Field<L>, value: number | undefined): this {
    if (value === undefined) return this;
    if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0x7fff_ffff) {
      throw outOfRange(field, value, "s32");
    }
    this.#view.setInt32(this.#offset(field), value, LITTLE_ENDIAN);
    return this;
  }

  /** An unsigned 64-bit field. A number must be a safe integer; it is stored as two 32-bit halves. */
  u64(field: Field<L>, value: number | bigint | undefined): this {
    if (value === undefined) return this;
    const offset = this.#offset(field);
    if (typeof value === "bigint") {
      if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw outOfRange(field, value, "u64");
      this.#view.setBigUint64(offset, value, LITTLE_ENDIAN);
      return this;
    }
    if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(field, value, "u64");
    writeU64(this.#view, offset, value);
    return this;
  }

  /**
   * A pointer field: the address of `buffer`, or of its first byte when it is a view into a larger one.
   *
   * An empty buffer is written as NULL: it has no first byte.
   */
  ptr(field: Field<L>, buffer: Uint8Array | undefined): this {
    if (buffer === undefined) return this;
    if (buffer.byteLength === 0) return this.u64(field, 0);
    this.#references.push(buffer);
    return this.u64(field, this.#sys.addressOf(buffer));
  }

  /** A pointer field to a NUL-terminated UTF-8 string. */
  cstr(field: Field<L>, text: string | undefined): this {
    return text === undefined ? this : this.ptr(field, cString(text, field));
  }

  /** An object name of at most 15 bytes, `char[BPF_OBJ_NAME_LEN]`. */
  name(field: Field<L>, text: string | undefined): this {
    if (text === undefined) return this;
    if (!OBJECT_NAME.test(text)) {
      throw new AttrError(`${field}: "${text}" is not a BPF object name`, {
        hint: 'Use at most 15 letters, digits, "_" or "."; the kernel refuses anything else.',
      });
    }
    this.bytes.set(UTF8.encode(text), this.#offset(field));
    return this;
  }

  /** Keeps further buffers reachable: those whose addresses are inside a buffer this attribute points to. */
  keepAlive(buffers: readonly Uint8Array[]): this {
    this.#references.push(...buffers);
    return this;
  }

  /** Reads a 32-bit field the kernel has written. */
  getU32(field: Field<L>): number {
    return this.#view.getUint32(this.#offset(field), LITTLE_ENDIAN);
  }

  /** Reads a 64-bit field the kernel has written. */
  getU64(field: Field<L>): bigint {
    return this.#view.getBigUint64(this.#offset(field), LITTLE_ENDIAN);
  }

  #offset(field: Field<L>): number {
    // The type has it that `field` is a key of the layout; -1 would be a RangeError in every DataView method.
    return this.#layout[field] ?? -1;
  }
}

/** The memory behind a {@link BpfAttr}, and the buffers whose addresses are in it. */
export interface AttrStorage {
  readonly bytes: Uint8Array;
  readonly references: Uint8Array[];
}

/** A value that does not fit its field of a `bpf_attr`, or another misuse of the system-call layer. */
export class AttrError extends TsbpfError {}

/** The field names of a layout. */
export type Field<L extends AttrLayout> = Exclude<keyof L & string, "size">;

/** A NUL-terminated UTF-8 copy of `text`. @throws {@link AttrError} if `text` contains a NUL. */
export function cString(text: string, what: string): Uint8Array {
  if (text.includes("\0")) throw new AttrError(`${what}: ${JSON.stringify(text)} contains a NUL character`);
  const bytes = new Uint8Array(Buffer.byteLength(text) + 1);
  UTF8.encodeInto(text, bytes);
  return bytes;
}

/** The bytes of another typed array, in place. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Stores a non-negative safe integer as a 64-bit field in host order, as two 32-bit halves (no BigInt). */
export function writeU64(view: DataView, offset: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  view.setUint32(offset, LITTLE_ENDIAN ? value >>> 0 : high, LITTLE_ENDIAN);
  view.setUint32(offset + 4, LITTLE_ENDIAN ? high : value >>> 0, LITTLE_ENDIAN);
}

function newStorage(size: number): AttrStorage {
  const bytes: Uint8Array & { references?: Uint8Array[] } = new Uint8Array(size);
  const references: Uint8Array[] = [];
  // On the very object that native code holds during the call: a reference from anything else could be optimised away
  // before the call ends.
  bytes.references = references;
  return { bytes, references };
}

const UTF8 = new TextEncoder();

// kernel/bpf/syscall.c, bpf_obj_name_cpy(): isalnum, '_' and '.', at most BPF_OBJ_NAME_LEN - 1 of them.
const OBJECT_NAME = /^[A-Za-z0-9_.]{0,15}$/;

function outOfRange(field: string, value: number | bigint, type: "u32" | "s32" | "u64"): AttrError {
  const bits = type.slice(1);
  const kind = type.startsWith("u") ? "unsigned" : "signed";
  return new AttrError(
    `${field}: ${value} does not fit an ${kind} ${bits}-bit field`.replace("an signed", "a signed"),
  );
}
