/** Packets for tests: built from their headers, and a corpus of good, cut and hostile ones. */

/** Bytes that a header is put in front of. */
type Payload = Uint8Array;

/** `length` bytes that count up. */
export function payload(length: number, first = 0): Payload {
  return Uint8Array.from({ length }, (_, index) => (first + index * 7) & 0xff);
}

/** An Ethernet frame. */
export function ethernet(type: number, inner: Payload, source = 0x0200_0000_0002): Uint8Array {
  const [bytes, view] = header(14, inner);
  setMac(view, 0, 0x0200_0000_0001);
  setMac(view, 6, source);
  view.setUint16(12, type);
  return bytes;
}

/** A VLAN tag and what is behind it: the EtherType before it says which kind of tag it is. */
export function vlan(tci: number, type: number, inner: Payload): Uint8Array {
  const [bytes, view] = header(4, inner);
  view.setUint16(0, tci);
  view.setUint16(2, type);
  return bytes;
}

/** What {@link ipv4} takes besides the protocol. */
export interface Ipv4Options {
  readonly source?: number;
  readonly destination?: number;
  readonly tos?: number;
  readonly ttl?: number;
  /** Flags and fragment offset. */
  readonly fragment?: number;
  /** Bytes of options, a multiple of 4. */
  readonly options?: number;
  /** Instead of the true header length, in words. */
  readonly ihl?: number;
}

/** An IPv4 packet with a good header checksum. */
export function ipv4(protocol: number, inner: Payload, options: Ipv4Options = {}): Uint8Array {
  const length = 20 + (options.options ?? 0);
  const [bytes, view] = header(length, inner);
  view.setUint8(0, 0x40 | (options.ihl ?? length / 4));
  view.setUint8(1, options.tos ?? 0);
  view.setUint16(2, bytes.length & 0xffff);
  view.setUint16(4, 0x1234);
  view.setUint16(6, options.fragment ?? 0);
  view.setUint8(8, options.ttl ?? 64);
  view.setUint8(9, protocol);
  view.setUint32(12, options.source ?? 0x0a00_0001);
  view.setUint32(16, options.destination ?? 0xc0a8_0102);
  bytes.fill(1, 20, length); // options: no operation
  view.setUint16(10, checksum(bytes.subarray(0, length)));
  return bytes;
}

/** An IPv6 packet. */
export function ipv6(next: number, inner: Payload, trafficClass = 0): Uint8Array {
  const [bytes, view] = header(40, inner);
  view.setUint32(0, (0x6000_0000 | (trafficClass << 20) | 0x12345) >>> 0);
  view.setUint16(4, inner.length);
  view.setUint8(6, next);
  view.setUint8(7, 64);
  for (const at of [8, 24]) {
    view.setUint32(at, 0x2001_0db8);
    view.setUint8(at + 15, at);
  }
  return bytes;
}

/** An IPv6 extension header of `8 + 8 * units` bytes; the length of an authentication header counts otherwise. */
export function extension(next: number, units: number, inner: Payload): Uint8Array {
  const [bytes, view] = header(8 + 8 * units, inner);
  view.setUint8(0, next);
  view.setUint8(1, units);
  return bytes;
}

/** A UDP datagram; `check` 0 means that it has no checksum. */
export function udp(source: number, destination: number, inner: Payload, check = 0xbeef): Uint8Array {
  const [bytes, view] = header(8, inner);
  view.setUint16(0, source);
  view.setUint16(2, destination);
  view.setUint16(4, bytes.length & 0xffff);
  view.setUint16(6, check);
  return bytes;
}

/** A TCP segment. */
export function tcp(source: number, destination: number, flags: number, inner: Payload): Uint8Array {
  const [bytes, view] = header(20, inner);
  view.setUint16(0, source);
  view.setUint16(2, destination);
  view.setUint32(4, 0x0102_0304);
  view.setUint8(12, 0x50);
  view.setUint8(13, flags);
  view.setUint16(14, 0xffff);
  return bytes;
}

/** An ICMP message with a good checksum. */
export function icmp(type: number, code: number, inner: Payload): Uint8Array {
  const [bytes, view] = header(8, inner);
  view.setUint8(0, type);
  view.setUint8(1, code);
  view.setUint16(4, 0x77);
  view.setUint16(2, checksum(bytes));
  return bytes;
}

/** A GRE header with the fields that its flags announce. */
export function gre(flags: number, type: number, inner: Payload): Uint8Array {
  const fields = [0x8000, 0x2000, 0x1000].filter((flag) => (flags & flag) !== 0).length;
  const [bytes, view] = header(4 + 4 * fields, inner);
  view.setUint16(0, flags);
  view.setUint16(2, type);
  return bytes;
}

/** A VXLAN header. */
export function vxlan(vni: number, inner: Payload, flags = 0x08): Uint8Array {
  const [bytes, view] = header(8, inner);
  view.setUint8(0, flags);
  view.setUint32(4, vni << 8);
  return bytes;
}

/** The Internet checksum (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte << 8 : byte;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const IP = 0x0800;
const IP6 = 0x86dd;
const [HOP, ROUTING, FRAGMENT, AH, DSTOPTS] = [0, 43, 44, 51, 60] as const;

/** Whole packets of every kind that the programs know, and of some that they do not; by name. */
export const packets: Readonly<Record<string, Uint8Array>> = {
  arp: ethernet(0x0806, payload(28)),
  lldp: ethernet(0x88cc, payload(40)),
  "udp to 53": ethernet(IP, ipv4(17, udp(4000, 53, payload(30)))),
  "udp from 53": ethernet(IP, ipv4(17, udp(53, 4000, payload(31)))),
  "udp to 9, no checksum": ethernet(IP, ipv4(17, udp(4001, 9, payload(20), 0))),
  "udp to 9, no checksum, from elsewhere": ethernet(
    IP,
    ipv4(17, udp(4001, 9, payload(20), 0), { source: 0x0a63_0001, destination: 0x0a63_0002 }),
  ),
  "udp that nat rewrites": ethernet(IP, ipv4(17, udp(1024, 8080, payload(24)), { destination: 0xc0a8_0164 })),
  "udp that nat rewrites, no checksum": ethernet(
    IP,
    ipv4(17, udp(1024, 8080, payload(24), 0), { destination: 0xc0a8_0164 }),
  ),
  "udp with options": ethernet(IP, ipv4(17, udp(5000, 53, payload(16)), { options: 12 })),
  "udp, first fragment": ethernet(IP, ipv4(17, udp(5000, 53, payload(16)), { fragment: 0x2000 })),
  "udp, later fragment": ethernet(IP, ipv4(17, udp(5000, 53, payload(16)), { fragment: 0x2010 })),
  "udp, don't fragment": ethernet(IP, ipv4(17, udp(5000, 53, payload(16)), { fragment: 0x4000 })),
  "udp, long": ethernet(IP, ipv4(17, udp(5000, 6000, payload(700)))),
  "udp, odd": ethernet(IP, ipv4(17, udp(5000, 6000, payload(77)))),
  "tcp syn": ethernet(IP, ipv4(6, tcp(40000, 80, 0x02, payload(0)))),
  "tcp syn with options": ethernet(IP, ipv4(6, tcp(40000, 80, 0x02, payload(12)), { options: 8 })),
  "tcp syn from another": ethernet(IP, ipv4(6, tcp(40000, 80, 0x02, payload(0)), { source: 0x0b00_0001 })),
  "tcp syn ack": ethernet(IP, ipv4(6, tcp(80, 40000, 0x12, payload(0)))),
  "tcp ack": ethernet(IP, ipv4(6, tcp(40000, 80, 0x10, payload(100)))),
  "tcp fin": ethernet(IP, ipv4(6, tcp(40000, 80, 0x11, payload(0)))),
  "tcp rst": ethernet(IP, ipv4(6, tcp(40000, 80, 0x04, payload(0)))),
  "tcp to a blocked network": ethernet(IP, ipv4(6, tcp(1, 2, 0x10, payload(9)), { source: 0xc633_6407 })),
  "tcp to a watched network": ethernet(IP, ipv4(6, tcp(1, 2, 0x10, payload(9)), { source: 0xc633_0007 })),
  "ttl 1": ethernet(IP, ipv4(17, udp(1, 2, payload(8)), { ttl: 1 })),
  "ttl 0": ethernet(IP, ipv4(17, udp(1, 2, payload(8)), { ttl: 0 })),
  "ttl 2": ethernet(IP, ipv4(17, udp(1, 2, payload(8)), { ttl: 2 })),
  ping: ethernet(IP, ipv4(1, icmp(8, 0, payload(56)))),
  "ping whose checksum overflows": ethernet(IP, ipv4(1, icmp(8, 0, Uint8Array.of(0xef, 0x87, 0x08, 0x00)))),
  "ping reply": ethernet(IP, ipv4(1, icmp(0, 0, payload(56)))),
  unreachable: ethernet(IP, ipv4(1, icmp(3, 1, payload(32)))),
  igmp: ethernet(IP, ipv4(2, payload(8), { options: 4 })),
  esp: ethernet(IP, ipv4(50, payload(64))),
  sctp: ethernet(IP, ipv4(132, payload(40))),
  ospf: ethernet(IP, ipv4(89, payload(44))),
  "expedited forwarding": ethernet(IP, ipv4(17, udp(1, 2, payload(8)), { tos: 46 << 2 })),
  "class selector 5": ethernet(IP, ipv4(17, udp(1, 2, payload(8)), { tos: 40 << 2 })),
  "low priority": ethernet(IP, ipv4(17, udp(1, 2, payload(8)), { tos: (8 << 2) | 3 })),
  "ipv6 udp": ethernet(IP6, ipv6(17, udp(1, 53, payload(12)))),
  "ipv6 tcp, expedited": ethernet(IP6, ipv6(6, tcp(1, 80, 2, payload(0)), 46 << 2)),
  "ipv6 icmp, class selector": ethernet(IP6, ipv6(58, payload(16), 33 << 2)),
  "ipv6 nothing": ethernet(IP6, ipv6(59, payload(0))),
  "ipv6 hop by hop": ethernet(IP6, ipv6(HOP, extension(17, 0, udp(1, 2, payload(4))))),
  "ipv6 fragment": ethernet(IP6, ipv6(FRAGMENT, extension(17, 0, payload(24)))),
  "ipv6 authenticated": ethernet(IP6, ipv6(AH, extension(6, 4, payload(40)))),
  "ipv6 chain": ethernet(
    IP6,
    ipv6(
      HOP,
      extension(DSTOPTS, 1, extension(ROUTING, 2, extension(FRAGMENT, 0, extension(58, 0, payload(8))))),
    ),
  ),
  "ipv6 chain without end": ethernet(
    IP6,
    ipv6(
      DSTOPTS,
      Array.from({ length: 12 }).reduce<Uint8Array>((inner) => extension(DSTOPTS, 0, inner), payload(8)),
    ),
  ),
  "ipv6 chain of eight": ethernet(
    IP6,
    ipv6(
      DSTOPTS,
      Array.from({ length: 8 }).reduce<Uint8Array>(
        (inner, _, index) => extension(index === 0 ? 6 : DSTOPTS, 0, inner),
        payload(20),
      ),
    ),
  ),
  "ipv6 header beyond the end": ethernet(IP6, ipv6(ROUTING, extension(17, 0, payload(8)).fill(0xff, 1, 2))),
  vlan: ethernet(0x8100, vlan(100, IP, ipv4(17, udp(1, 53, payload(8))))),
  "two vlans": ethernet(0x88a8, vlan(7, 0x8100, vlan(100, IP6, ipv6(17, udp(1, 53, payload(8)))))),
  "three vlans": ethernet(0x88a8, vlan(7, 0x8100, vlan(1, 0x8100, vlan(2, 0x0806, payload(28))))),
  "five vlans": ethernet(
    0x8100,
    vlan(1, 0x8100, vlan(2, 0x8100, vlan(3, 0x88a8, vlan(4, 0x8100, vlan(5, IP, ipv4(1, payload(8))))))),
  ),
  "gre, blocked inside": ethernet(IP, ipv4(47, gre(0, IP, inside(0xac10_0001)))),
  "gre, not blocked inside": ethernet(IP, ipv4(47, gre(0, IP, inside(0xac10_0002)))),
  "gre with a key": ethernet(IP, ipv4(47, gre(0x2000, IP, inside(0xac10_0001)))),
  "gre with everything": ethernet(IP, ipv4(47, gre(0xb000, IP, inside(0xac10_0001)), { options: 4 })),
  "gre of ethernet": ethernet(IP, ipv4(47, gre(0x1000, 0x6558, ethernet(IP, inside(0xac10_0001))))),
  "gre of arp": ethernet(IP, ipv4(47, gre(0, 0x6558, ethernet(0x0806, payload(40))))),
  "gre of ipv6": ethernet(IP, ipv4(47, gre(0, IP6, ipv6(17, payload(20))))),
  vxlan: ethernet(IP, ipv4(17, udp(5, 4789, vxlan(42, ethernet(IP, inside(0xac10_0001)))))),
  "vxlan, not blocked": ethernet(IP, ipv4(17, udp(5, 4789, vxlan(42, ethernet(IP, inside(0xac10_0003)))))),
  "vxlan without vni": ethernet(IP, ipv4(17, udp(5, 4789, vxlan(0, ethernet(IP, inside(0xac10_0001)), 0)))),
  "vxlan of ipv6": ethernet(IP, ipv4(17, udp(5, 4789, vxlan(42, ethernet(IP6, ipv6(17, payload(20))))))),
  "header length 0": ethernet(IP, ipv4(17, udp(1, 53, payload(8)), { ihl: 0 })),
  "header length 4": ethernet(IP, ipv4(6, tcp(1, 80, 2, payload(8)), { ihl: 4 })),
  "header length 15": ethernet(IP, ipv4(17, udp(1, 53, payload(60)), { ihl: 15 })),
  "header longer than the packet": ethernet(IP, ipv4(47, payload(8), { ihl: 15 })),
};

/** Every packet of {@link packets}, cut at every length from 14 bytes on, as long as headers may be. */
export function* cutPackets(): Generator<Uint8Array> {
  for (const packet of Object.values(packets)) {
    for (let length = 14; length < Math.min(packet.length, 128); length++) yield packet.slice(0, length);
  }
}

/** Packets of {@link packets} with some bytes changed, at random but always the same for a seed. */
export function* damagedPackets(count: number, seed: number): Generator<Uint8Array> {
  const random = randomNumbers(seed);
  const originals = Object.values(packets);
  for (let n = 0; n < count; n++) {
    const packet = (originals[random(originals.length)] as Uint8Array).slice();
    for (let changes = random(4) + 1; changes > 0; changes--) {
      // Most of it where headers are: there a byte decides.
      packet[12 + random(Math.min(packet.length - 12, 60))] = random(256);
    }
    yield packet.slice(0, 14 + random(packet.length - 13));
  }
}

/** Random bytes of random length behind an EtherType that programs look at. */
export function* randomPackets(count: number, seed: number): Generator<Uint8Array> {
  const random = randomNumbers(seed);
  const types = [IP, IP6, 0x8100, 0x88a8];
  for (let n = 0; n < count; n++) {
    const packet = Uint8Array.from({ length: 14 + random(200) }, () => random(256));
    new DataView(packet.buffer).setUint16(12, types[random(types.length)] as number);
    if (packet.length > 14 && random(2) === 0) packet[14] = 0x45;
    yield packet;
  }
}

/** Whole numbers from 0 to below a limit; the same ones for the same seed (mulberry32). */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

function inside(destination: number): Uint8Array {
  return ipv4(17, udp(7, 8, payload(4)), { destination });
}

function header(length: number, inner: Payload): [Uint8Array, DataView] {
  const bytes = new Uint8Array(length + inner.length);
  bytes.set(inner, length);
  return [bytes, new DataView(bytes.buffer)];
}

function setMac(view: DataView, at: number, address: number): void {
  view.setUint16(at, Math.floor(address / 2 ** 32));
  view.setUint32(at + 2, address >>> 0);
}
