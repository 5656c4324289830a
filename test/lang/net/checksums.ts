/** Packets with good checksums, computed from the beginning: what programs that mend them are compared with. */
import { ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPPROTO_UDP } from "../../../src/uapi/net.ts";
import * as packets from "../packets.ts";

/** Numbers of protocols. */
export const ICMP = 1;
export const ICMPV6 = 58;
/** A protocol with a checksum. */
export type Protocol = typeof IPPROTO_TCP | typeof IPPROTO_UDP | typeof ICMP | typeof ICMPV6;

/** Where each protocol has its checksum. */
const CHECK: Readonly<Record<Protocol, number>> = {
  [IPPROTO_TCP]: 16,
  [IPPROTO_UDP]: 6,
  [ICMP]: 2,
  [ICMPV6]: 2,
};

/** Computes all checksums of a packet from the beginning: the reference. A UDP checksum of 0 stays what it is. */
export function sumPacket(packet: Uint8Array, protocol: Protocol, ipv6: boolean): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const transport = ipv6 ? 54 : 34;
  if (!ipv6) {
    view.setUint16(24, 0);
    view.setUint16(24, packets.checksum(packet.subarray(14, 34)));
  }
  const at = transport + CHECK[protocol];
  if (protocol === IPPROTO_UDP && view.getUint16(at) === 0) return;
  view.setUint16(at, 0);
  const segment = packet.subarray(transport);
  const addresses = ipv6 ? packet.subarray(22, 54) : packet.subarray(26, 34);
  const covered =
    protocol === ICMP
      ? segment
      : [...addresses, 0, protocol, segment.length >> 8, segment.length & 0xff, ...segment];
  const check = packets.checksum(Uint8Array.from(covered));
  view.setUint16(at, protocol === IPPROTO_UDP && check === 0 ? 0xffff : check);
}

/** A good packet of random content. */
export function randomPacket(
  random: (limit: number) => number,
  protocol: Protocol,
  ipv6: boolean,
): Uint8Array {
  const data = Uint8Array.from({ length: random(60) }, () => random(256));
  const port = (): number => random(0x10000);
  const segment =
    protocol === IPPROTO_TCP
      ? packets.tcp(port(), port(), random(256), data)
      : protocol === IPPROTO_UDP
        ? packets.udp(port(), port(), data, random(8) === 0 ? 0 : 1)
        : packets.icmp(protocol === ICMP ? 8 : 128, 0, data);
  const packet = ipv6
    ? packets.ethernet(ETH_P_IPV6, packets.ipv6(protocol, segment, random(256)))
    : packets.ethernet(
        ETH_P_IP,
        packets.ipv4(protocol, segment, {
          source: random(2 ** 32),
          destination: random(2 ** 32),
          ttl: random(256),
          tos: random(256),
        }),
      );
  sumPacket(packet, protocol, ipv6);
  return packet;
}
