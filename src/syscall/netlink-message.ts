import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { NLA_F_NESTED } from "../uapi/netlink.ts";
import { nlmsghdr } from "../uapi/structs.ts";
import { cString } from "./attr.ts";

// Netlink's two layers of framing, encoded and decoded without any I/O; everything is in host byte order.
//
//   message:    u32 len | u16 type | u16 flags | u32 seq | u32 port id | payload, padded to 4
//   attribute:  u16 len | u16 type (top bits: nested, network order)   | payload, padded to 4

/** One netlink message. */
export interface NlMessage {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly portId: number;
  /** What follows the header: a family header (`ifinfomsg`, `tcmsg`, `genlmsghdr`), then attributes. */
  readonly payload: Uint8Array;
}

/** One decoded attribute. */
export interface NlAttr {
  /** Without the nested and byte-order bits. */
  readonly type: number;
  readonly payload: Uint8Array;
}

/** Bytes that are not well-formed netlink. The kernel never sends such; it means a bug, or a hostile sender. */
export class NetlinkFormatError extends TsbpfError {}

/** Encodes one message. */
export function encodeMessage(message: NlMessage): Uint8Array {
  const length = nlmsghdr.size + message.payload.byteLength;
  const bytes = new Uint8Array(align4(length));
  const view = new DataView(bytes.buffer);
  view.setUint32(nlmsghdr.nlmsg_len, length, LITTLE_ENDIAN);
  view.setUint16(nlmsghdr.nlmsg_type, message.type, LITTLE_ENDIAN);
  view.setUint16(nlmsghdr.nlmsg_flags, message.flags, LITTLE_ENDIAN);
  view.setUint32(nlmsghdr.nlmsg_seq, message.seq, LITTLE_ENDIAN);
  view.setUint32(nlmsghdr.nlmsg_pid, message.portId, LITTLE_ENDIAN);
  bytes.set(message.payload, nlmsghdr.size);
  return bytes;
}

/**
 * Splits a datagram into its messages; payloads are views into it.
 * @throws {@link NetlinkFormatError} for a length that is shorter than a header or longer than the datagram.
 */
export function decodeMessages(datagram: Uint8Array): NlMessage[] {
  const view = viewOf(datagram);
  const messages: NlMessage[] = [];
  let offset = 0;
  while (offset < datagram.byteLength) {
    const left = datagram.byteLength - offset;
    const length = left < nlmsghdr.size ? 0 : view.getUint32(offset + nlmsghdr.nlmsg_len, LITTLE_ENDIAN);
    if (length < nlmsghdr.size || length > left) {
      throw new NetlinkFormatError(
        `Netlink message at byte ${offset}: length ${length} with ${left} bytes left`,
      );
    }
    messages.push({
      type: view.getUint16(offset + nlmsghdr.nlmsg_type, LITTLE_ENDIAN),
      flags: view.getUint16(offset + nlmsghdr.nlmsg_flags, LITTLE_ENDIAN),
      seq: view.getUint32(offset + nlmsghdr.nlmsg_seq, LITTLE_ENDIAN),
      portId: view.getUint32(offset + nlmsghdr.nlmsg_pid, LITTLE_ENDIAN),
      payload: datagram.subarray(offset + nlmsghdr.size, offset + length),
    });
    offset += align4(length);
  }
  return messages;
}

/** An attribute with the given bytes, padded to 4. */
export function attrBytes(type: number, payload: Uint8Array): Uint8Array {
  const length = NLA_HEADER + payload.byteLength;
  if (length > 0xffff)
    throw new NetlinkFormatError(`Attribute ${type}: ${payload.byteLength} bytes are too many`);
  const bytes = new Uint8Array(align4(length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, length, LITTLE_ENDIAN);
  view.setUint16(2, type, LITTLE_ENDIAN);
  bytes.set(payload, NLA_HEADER);
  return bytes;
}

/** A `u32` attribute. */
export function attrU32(type: number, value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw outOfRange(type, value, "u32");
  const payload = new DataView(new ArrayBuffer(4));
  payload.setUint32(0, value, LITTLE_ENDIAN);
  return attrBytes(type, new Uint8Array(payload.buffer));
}

/** An `s32` attribute. */
export function attrS32(type: number, value: number): Uint8Array {
  if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0x7fff_ffff)
    throw outOfRange(type, value, "s32");
  const payload = new DataView(new ArrayBuffer(4));
  payload.setInt32(0, value, LITTLE_ENDIAN);
  return attrBytes(type, new Uint8Array(payload.buffer));
}

/** A NUL-terminated string attribute. */
export function attrString(type: number, text: string): Uint8Array {
  return attrBytes(type, cString(text, `attribute ${type}`));
}

/** An attribute made of attributes. */
export function attrNested(type: number, ...children: readonly Uint8Array[]): Uint8Array {
  return attrBytes(type | NLA_F_NESTED, concatBytes(...children));
}

/** One array after the other. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}

/**
 * Splits attributes; payloads are views into `bytes`. Trailing bytes shorter than an attribute header are padding.
 * @throws {@link NetlinkFormatError} for a length that is shorter than a header or longer than what is left.
 */
export function decodeAttrs(bytes: Uint8Array): NlAttr[] {
  const view = viewOf(bytes);
  const attrs: NlAttr[] = [];
  let offset = 0;
  while (bytes.byteLength - offset >= NLA_HEADER) {
    const left = bytes.byteLength - offset;
    const length = view.getUint16(offset, LITTLE_ENDIAN);
    if (length < NLA_HEADER || length > left) {
      throw new NetlinkFormatError(
        `Netlink attribute at byte ${offset}: length ${length} with ${left} bytes left`,
      );
    }
    attrs.push({
      type: view.getUint16(offset + 2, LITTLE_ENDIAN) & NLA_TYPE,
      payload: bytes.subarray(offset + NLA_HEADER, offset + length),
    });
    offset += align4(length);
  }
  return attrs;
}

/** Attributes by type, read with checked lengths. A type that occurs more than once gives its last value. */
export class NlAttrs {
  readonly #byType = new Map<number, Uint8Array>();

  /** @throws {@link NetlinkFormatError} */
  constructor(bytes: Uint8Array) {
    for (const { type, payload } of decodeAttrs(bytes)) this.#byType.set(type, payload);
  }

  /** The raw payload. */
  bytes(type: number): Uint8Array | undefined {
    return this.#byType.get(type);
  }

  /** The attribute as an unsigned byte; `undefined` where it is missing. */
  u8(type: number): number | undefined {
    return this.#view(type, 1)?.getUint8(0);
  }

  /** The attribute as an unsigned 16-bit number in host order; `undefined` where it is missing. */
  u16(type: number): number | undefined {
    return this.#view(type, 2)?.getUint16(0, LITTLE_ENDIAN);
  }

  /** The attribute as an unsigned 32-bit number in host order; `undefined` where it is missing. */
  u32(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0, LITTLE_ENDIAN);
  }

  /** The attribute as a signed 32-bit number in host order; `undefined` where it is missing. */
  s32(type: number): number | undefined {
    return this.#view(type, 4)?.getInt32(0, LITTLE_ENDIAN);
  }

  /** `u64`, or the variable-length `uint` of newer families (4 or 8 bytes). */
  u64(type: number): bigint | undefined {
    if (this.#byType.get(type)?.byteLength === 4) return BigInt(this.u32(type) ?? 0);
    return this.#view(type, 8)?.getBigUint64(0, LITTLE_ENDIAN);
  }

  /** Text up to its NUL, if it has one. */
  string(type: number): string | undefined {
    const payload = this.#byType.get(type);
    if (payload === undefined) return undefined;
    const end = payload.indexOf(0);
    return UTF8.decode(end < 0 ? payload : payload.subarray(0, end));
  }

  /** The attributes inside an attribute; none if it is absent. */
  nested(type: number): NlAttrs {
    return new NlAttrs(this.#byType.get(type) ?? NOTHING);
  }

  #view(type: number, length: number): DataView | undefined {
    const payload = this.#byType.get(type);
    if (payload === undefined) return undefined;
    if (payload.byteLength < length) {
      throw new NetlinkFormatError(
        `Netlink attribute ${type}: ${payload.byteLength} bytes where ${length} are needed`,
      );
    }
    return viewOf(payload);
  }
}

const NLA_HEADER = 4;
const NLA_TYPE = 0x3fff;
const NOTHING = new Uint8Array(0);
const UTF8 = new TextDecoder();

function align4(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function outOfRange(type: number, value: number, kind: string): NetlinkFormatError {
  return new NetlinkFormatError(`Attribute ${type}: ${value} does not fit ${kind}`);
}
