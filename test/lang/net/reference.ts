/**
 * What the parsing helpers of `src/lang/net` should find in a packet, in plain TypeScript, written from the protocols and not
 * from the helpers: the kernel tests compare the two at every length of a packet.
 */

/** What was found: the test programs write the same record. */
export interface Found {
  /** VLAN tags that were walked over. */
  readonly tags: number;
  /** EtherType behind the tags. */
  readonly proto: number;
  /** What the IP header carries, behind IPv6 extension headers. */
  readonly l4: number;
  /** 1: a fragment; 2: one that is not the first. */
  readonly fragment: number;
  /** Bytes up to what the IP header carries. */
  readonly l4Offset: number;
  /** VXLAN or Geneve network, GRE key, GTP-U tunnel, ESP SPI, MPLS label; 0 for none. */
  readonly tunnel: number;
  /** What the inner IP header carries; 0 for none. */
  readonly innerL4: number;
  /** Bytes up to what the inner IP header carries; 0 for none. */
  readonly innerOffset: number;
}

/** How far loops go. */
export const LIMITS = { tags: 2, headers: 6, labels: 4, extensions: 2 } as const;

/** A packet that is too short, or that lies. */
class Refused extends Error {}

/** What is in a packet from its Ethernet header on; `undefined` where it is too short or malformed. */
export function dissect(packet: Uint8Array): Found | undefined {
  try {
    return ethernet(new Cursor(packet));
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
}

class Cursor {
  readonly #view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** The offset of so many bytes, which are gone over. */
  take(bytes: number): number {
    const start = this.at;
    if (start + bytes > this.#view.byteLength) throw new Refused("too short");
    this.at += bytes;
    return start;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }
  u16(at: number): number {
    return this.#view.getUint16(at);
  }
  u32(at: number): number {
    return this.#view.getUint32(at);
  }
}

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TEB = 0x6558;
const VLANS = [0x8100, 0x88a8];
const NOTHING = { l4: 0, fragment: 0, l4Offset: 0, tunnel: 0, innerL4: 0, innerOffset: 0 };

function ethernet(cursor: Cursor): Found {
  const { tags, proto } = frame(cursor);
  if (proto === 0x8847) return { ...NOTHING, tags, proto, ...mpls(cursor) };
  if (proto !== IPV4 && proto !== IPV6) return { ...NOTHING, tags, proto };
  const { l4, fragment } = ip(cursor, proto);
  const outer = { ...NOTHING, tags, proto, l4, fragment, l4Offset: cursor.at };
  return fragment === 2 ? outer : { ...outer, ...tunnel(cursor, l4) };
}

function frame(cursor: Cursor): { tags: number; proto: number } {
  let proto = cursor.u16(cursor.take(14) + 12);
  let tags = 0;
  while (VLANS.includes(proto) && tags < LIMITS.tags) {
    proto = cursor.u16(cursor.take(4) + 2);
    tags++;
  }
  return { tags, proto };
}

function ip(cursor: Cursor, proto: number): { l4: number; fragment: number } {
  return proto === IPV4 ? ipv4(cursor) : ipv6(cursor);
}

function ipv4(cursor: Cursor): { l4: number; fragment: number } {
  const start = cursor.take(20);
  const [version, ihl] = [cursor.u8(start) >> 4, cursor.u8(start) & 15];
  if (version !== 4 || ihl < 5) throw new Refused("no IPv4 header");
  cursor.take(ihl * 4 - 20);
  const fragOff = cursor.u16(start + 6);
  const fragment = (fragOff & 0x1fff) !== 0 ? 2 : (fragOff & 0x2000) !== 0 ? 1 : 0;
  return { l4: cursor.u8(start + 9), fragment };
}

function ipv6(cursor: Cursor): { l4: number; fragment: number } {
  const start = cursor.take(40);
  if (cursor.u8(start) >> 4 !== 6) throw new Refused("no IPv6 header");
  let l4 = cursor.u8(start + 6);
  let fragment = 0;
  for (let count = 0; count < LIMITS.headers && fragment !== 2; count++) {
    if (l4 === 44) {
      const header = cursor.take(8);
      const fragOff = cursor.u16(header + 2);
      fragment = (fragOff & 0xfff8) !== 0 ? 2 : (fragOff & 1) !== 0 ? 1 : fragment;
      l4 = cursor.u8(header);
    } else if ([0, 43, 60].includes(l4)) {
      const header = cursor.take(2);
      cursor.take(cursor.u8(header + 1) * 8 + 6);
      l4 = cursor.u8(header);
    } else if (l4 === 51) {
      const header = cursor.take(2);
      cursor.take(cursor.u8(header + 1) * 4 + 6);
      l4 = cursor.u8(header);
    } else {
      break;
    }
  }
  return { l4, fragment };
}

type Inner = Pick<Found, "tunnel" | "innerL4" | "innerOffset">;

function inner(cursor: Cursor, proto: number, tunnel: number): Inner {
  if (proto !== IPV4 && proto !== IPV6) return { tunnel, innerL4: 0, innerOffset: 0 };
  const { l4 } = ip(cursor, proto);
  return { tunnel, innerL4: l4, innerOffset: cursor.at };
}

/** The EtherType of an IP packet, by its first four bits. */
function byVersion(cursor: Cursor): number {
  const version = cursor.u8(cursor.take(1)) >> 4;
  cursor.at--;
  return version === 4 ? IPV4 : version === 6 ? IPV6 : 0;
}

function tunnel(cursor: Cursor, l4: number): Inner {
  switch (l4) {
    case 4:
      return inner(cursor, IPV4, 0);
    case 41:
      return inner(cursor, IPV6, 0);
    case 47:
      return gre(cursor);
    case 50:
      return { tunnel: cursor.u32(cursor.take(8)), innerL4: 0, innerOffset: 0 };
    case 17:
      return udp(cursor);
    default:
      return { tunnel: 0, innerL4: 0, innerOffset: 0 };
  }
}

function gre(cursor: Cursor): Inner {
  const start = cursor.take(4);
  const [flags, protocol] = [cursor.u16(start), cursor.u16(start + 2)];
  if ((flags & 0x4007) !== 0) throw new Refused("no GRE of RFC 2784");
  if ((flags & 0x8000) !== 0) cursor.take(4);
  const key = (flags & 0x2000) !== 0 ? cursor.u32(cursor.take(4)) : 0;
  if ((flags & 0x1000) !== 0) cursor.take(4);
  return inner(cursor, protocol === TEB ? frame(cursor).proto : protocol, key);
}

function udp(cursor: Cursor): Inner {
  const start = cursor.take(8);
  switch (cursor.u16(start + 2)) {
    case 4789: {
      const header = cursor.take(8);
      return inner(cursor, frame(cursor).proto, cursor.u32(header + 4) >>> 8);
    }
    case 6081: {
      const header = cursor.take(8);
      cursor.take((cursor.u8(header) & 0x3f) * 4);
      const proto = cursor.u16(header + 2);
      return inner(cursor, proto === TEB ? frame(cursor).proto : proto, cursor.u32(header + 4) >>> 8);
    }
    case 2152:
      return gtp(cursor);
    default:
      return { tunnel: 0, innerL4: 0, innerOffset: 0 };
  }
}

function gtp(cursor: Cursor): Inner {
  const header = cursor.take(8);
  const [flags, type, teid] = [cursor.u8(header), cursor.u8(header + 1), cursor.u32(header + 4)];
  if (flags >> 5 !== 1) throw new Refused("no GTP of version 1");
  let next = 0;
  if ((flags & 7) !== 0) {
    const optional = cursor.take(4);
    if ((flags & 4) !== 0) next = cursor.u8(optional + 3);
  }
  for (let count = 0; next !== 0; count++) {
    if (count === LIMITS.extensions) throw new Refused("more extension headers than are followed");
    const units = cursor.u8(cursor.take(1));
    if (units === 0) throw new Refused("an extension header of no length");
    cursor.take(units * 4 - 1);
    next = cursor.u8(cursor.at - 1);
  }
  if (type !== 255) return { tunnel: teid, innerL4: 0, innerOffset: 0 };
  return inner(cursor, byVersion(cursor), teid);
}

function mpls(cursor: Cursor): Inner {
  let entry = 0;
  for (let count = 0; (entry & 0x100) === 0; count++) {
    if (count === LIMITS.labels) throw new Refused("more labels than are followed");
    entry = cursor.u32(cursor.take(4));
  }
  return inner(cursor, byVersion(cursor), entry >>> 12);
}
