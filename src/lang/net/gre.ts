import { be16, be32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { Val, Var } from "../value.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import type { Be16, Be32 } from "./wire-types.ts";

/**
 * GRE header, its 4 bytes that are always there (`struct gre_base_hdr`; RFC 2784, RFC 2890). The others follow where their
 * flag is set, in this order: {@link gre_csum}, {@link gre_key}, {@link gre_seq}.
 *
 * ```
 *  0 1 2 3 4                     13    16                         32
 * +-+-+-+-+---------------------+-----+-------------------------+
 * |C|R|K|S|      reserved       | ver |  protocol, as ETH_P_*   |
 * +-+-+-+-+---------------------+-----+-------------------------+
 * ```
 */
export const gre_base_hdr: StructLayout<"gre_base_hdr", { flags: Be16; protocol: Be16 }> = struct(
  "gre_base_hdr",
  { flags: be16, protocol: be16 },
);

/** Optional, with {@link GRE_CSUM}: checksum and 2 reserved bytes. */
export const gre_csum: StructLayout<"gre_csum", { csum: Be16; reserved1: Be16 }> = struct("gre_csum", {
  csum: be16,
  reserved1: be16,
});
/** Optional, with {@link GRE_KEY}. */
export const gre_key: StructLayout<"gre_key", { key: Be32 }> = struct("gre_key", { key: be32 });
/** Optional, with {@link GRE_SEQ}. */
export const gre_seq: StructLayout<"gre_seq", { seq: Be32 }> = struct("gre_seq", { seq: be32 });

/** In `flags`: a checksum follows. */
export const GRE_CSUM = 0x8000;
/** In `flags`: routing follows (RFC 1701; nobody sends it any more). */
export const GRE_ROUTING = 0x4000;
/** In `flags`: a key follows. */
export const GRE_KEY = 0x2000;
/** In `flags`: a sequence number follows. */
export const GRE_SEQ = 0x1000;
/** In `flags`: the version; 1 is PPTP's (RFC 2637), whose header is another one. */
export const GRE_VERSION = 0x0007;

/** What {@link parseGre} found. */
export interface GrePacket {
  /** What is inside: `ETH_P_IP`, `ETH_P_IPV6`, `ETH_P_TEB` for an Ethernet frame, or another `ETH_P_*`. */
  readonly protocol: Val<"be16">;
  /** The key; 0 where there is none. */
  readonly key: Val<"be32">;
}

/**
 * Takes a GRE header with its optional fields. One with routing, and one of another version than 0 (PPTP's is 1), goes the way
 * of a packet that is too short: its fields are others.
 */
export function parseGre($: PacketParser, { else: otherwise }: Otherwise): GrePacket {
  const { flags, protocol } = $.packet.take(gre_base_hdr, { else: otherwise });
  const key: Var<"be32"> = $.let(be32, 0);
  $.if(flags.has(GRE_ROUTING | GRE_VERSION), otherwise);
  $.if(flags.has(GRE_CSUM), () => {
    $.packet.take(gre_csum, { else: otherwise });
  });
  $.if(flags.has(GRE_KEY), () => {
    key.set($.packet.take(gre_key, { else: otherwise }).key);
  });
  $.if(flags.has(GRE_SEQ), () => {
    $.packet.take(gre_seq, { else: otherwise });
  });
  return { protocol, key };
}
