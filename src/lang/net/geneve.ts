import { type BytesLayout, bytes } from "../../btf/layout/array.ts";
import { be16, u8, u32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { HostVal, Val } from "../value.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import { wireBits } from "./wire-bits.ts";
import type { Be16, Bits, U8 } from "./wire-types.ts";

/**
 * Geneve header, 8 bytes without options (`struct genevehdr`; RFC 8926): behind UDP; `opt_len` * 4 bytes of options follow.
 *
 * ```
 *  0   2           8 9 10          16                              32
 * +---+-----------+-+-+-----------+-------------------------------+
 * |ver|  opt_len  |O|C|   rsvd1   |          proto_type           |
 * +---+-----------+-+-+-----------+---------------+---------------+
 * |                      vni                      |     rsvd2     |
 * +-----------------------------------------------+---------------+
 * ```
 */
export const genevehdr: StructLayout<
  "genevehdr",
  {
    ver: Bits;
    opt_len: Bits;
    oam: Bits;
    critical: Bits;
    rsvd1: Bits;
    proto_type: Be16;
    vni: BytesLayout;
    rsvd2: U8;
  }
> = struct("genevehdr", {
  ...wireBits({ ver: 2, opt_len: 6 }),
  ...wireBits({ oam: 1, critical: 1, rsvd1: 6 }),
  proto_type: be16,
  vni: bytes(3),
  rsvd2: u8,
});

/** One option, 4 bytes without its data (`struct geneve_opt`); `length` * 4 bytes of data follow. */
export const geneve_opt: StructLayout<
  "geneve_opt",
  { opt_class: Be16; type: U8; r1: Bits; r2: Bits; r3: Bits; length: Bits }
> = struct("geneve_opt", {
  opt_class: be16,
  type: u8,
  ...wireBits({ r1: 1, r2: 1, r3: 1, length: 5 }),
});

/** The UDP port of Geneve. */
export const GENEVE_PORT = 6081;

/** What {@link parseGeneve} found. */
export interface GenevePacket {
  /** What is inside: `ETH_P_TEB` for an Ethernet frame, or another `ETH_P_*`. */
  readonly protocol: Val<"be16">;
  /** The network's identifier, 24 bits. */
  readonly vni: HostVal<"u32">;
}

/** Takes a Geneve header with its options, behind a UDP header whose port said so. */
export function parseGeneve($: PacketParser, { else: otherwise }: Otherwise): GenevePacket {
  const header = $.packet.take(genevehdr, { else: otherwise });
  const vni = header.vni.at(0).to(u32).shl(16).or(header.vni.at(1).to(u32).shl(8)).or(header.vni.at(2));
  const protocol = header.proto_type;
  $.packet.skip(header.opt_len.to(u32).mul(4), { else: otherwise, max: 63 * 4 });
  return { protocol, vni };
}
