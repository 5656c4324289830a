import { be16, be32, u8, u32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { HostVal, Val, Var } from "../value.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import type { Be16, Be32, U8 } from "./wire-types.ts";

/**
 * GTP-U header, 8 bytes (`struct gtp1_header`; 3GPP TS 29.281): behind UDP. Where one of the flags {@link GTP1_F_SEQ},
 * {@link GTP1_F_NPDU} and {@link GTP1_F_EXTHDR} is set, all of {@link gtp1_optional} follows. `length` counts what comes
 * after these 8 bytes. `tid` is the tunnel's endpoint, TEID.
 *
 * ```
 *  0     3 4 5 6 7 8               16                              32
 * +-----+-+-+-+-+-+---------------+-------------------------------+
 * | ver |P|*|E|S|N|     type      |            length             |
 * +-----+-+-+-+-+-+---------------+-------------------------------+
 * |                              tid                              |
 * +---------------------------------------------------------------+
 * ```
 */
export const gtp1_header: StructLayout<"gtp1_header", { flags: U8; type: U8; length: Be16; tid: Be32 }> =
  struct("gtp1_header", { flags: u8, type: u8, length: be16, tid: be32 });

/** What follows if any of the three flags is set: the end of the kernel's `struct gtp1_header_long`. */
export const gtp1_optional: StructLayout<"gtp1_optional", { seq: Be16; npdu: U8; next: U8 }> = struct(
  "gtp1_optional",
  { seq: be16, npdu: u8, next: u8 },
);

/** The first byte of an extension header: its length in units of 4 bytes; its last byte is the type of the next one. */
export const gtp1_exthdr: StructLayout<"gtp1_exthdr", { len: U8 }> = struct("gtp1_exthdr", { len: u8 });

/** In `flags`: an N-PDU number is there. */
export const GTP1_F_NPDU = 0x01;
/** In `flags`: a sequence number is there. */
export const GTP1_F_SEQ = 0x02;
/** In `flags`: extension headers follow. */
export const GTP1_F_EXTHDR = 0x04;
/** In `flags`: any of the three. */
export const GTP1_F_MASK = 0x07;
/** In `flags`: GTP, not GTP'. */
export const GTP1_PT = 0x10;
/** `type`: a user's packet. */
export const GTP_TPDU = 255;
/** The UDP port of GTP-U. */
export const GTP1U_PORT = 2152;

/** What {@link parseGtpU} found. */
export interface GtpUPacket {
  /** {@link GTP_TPDU} for a user's packet; anything else is signalling. */
  readonly type: HostVal<"u8">;
  /** The tunnel's endpoint. */
  readonly teid: Val<"be32">;
}

/** Options of {@link parseGtpU}. */
export interface GtpUOptions extends Otherwise {
  /** Extension headers that are walked over at the most; default 2. A packet with more goes the way of one that is too short. */
  readonly maxExtensions?: number;
}

/**
 * Takes a GTP-U header with its optional fields and extension headers, behind a UDP header whose port said so. The packet
 * inside a {@link GTP_TPDU} has no type before it: the first four bits of IP tell its version ({@link peekIpVersion}).
 */
export function parseGtpU($: PacketParser, options: GtpUOptions): GtpUPacket {
  const { maxExtensions = 2, else: otherwise } = options;
  const header = $.packet.take(gtp1_header, { else: otherwise });
  const { flags, type, tid } = header;
  $.if(flags.shr(5).ne(1), otherwise);
  const walk = (next: Var<"u8">, walked: number): void => {
    $.if(next.ne(0), () => {
      if (walked === maxExtensions) return otherwise();
      const { len } = $.packet.take(gtp1_exthdr, { else: otherwise });
      $.if(len.eq(0), otherwise);
      $.packet.skip(len.to(u32).mul(4).sub(2), { else: otherwise, max: 255 * 4 - 2 });
      next.set($.packet.take(gtp1_exthdr, { else: otherwise }).len);
      walk(next, walked + 1);
      return;
    });
  };
  $.if(flags.has(GTP1_F_MASK), () => {
    const optional = $.packet.take(gtp1_optional, { else: otherwise });
    const next: Var<"u8"> = $.let(u8, optional.next);
    $.if(flags.has(GTP1_F_EXTHDR), () => walk(next, 0));
  });
  return { type, teid: tid };
}
