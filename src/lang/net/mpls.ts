import { be32, u32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { HostVal, Var } from "../value.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import type { Be32 } from "./wire-types.ts";

/**
 * One entry of an MPLS label stack, 4 bytes (`struct mpls_shim_hdr`; RFC 3032).
 *
 * ```
 *  0                                       20    23 24            32
 * +---------------------------------------+-----+-+---------------+
 * |                 label                 | TC  |S|      TTL      |
 * +---------------------------------------+-----+-+---------------+
 * ```
 */
export const mpls_shim_hdr: StructLayout<"mpls_shim_hdr", { label_stack_entry: Be32 }> = struct(
  "mpls_shim_hdr",
  { label_stack_entry: be32 },
);

/** The label in an entry. */
export const MPLS_LS_LABEL_MASK = 0xffff_f000;
/** How far the label is shifted left. */
export const MPLS_LS_LABEL_SHIFT = 12;
/** Traffic class. */
export const MPLS_LS_TC_MASK = 0x0000_0e00;
/** The last entry of the stack. */
export const MPLS_LS_S_MASK = 0x0000_0100;
/** Time to live. */
export const MPLS_LS_TTL_MASK = 0x0000_00ff;

/** What {@link parseMpls} found. */
export interface MplsPacket {
  /** The innermost label. */
  readonly label: HostVal<"u32">;
}

/** Options of {@link parseMpls}. */
export interface MplsOptions extends Otherwise {
  /** Labels that are walked over at the most; default 4. A packet with more goes the way of one that is too short. */
  readonly maxLabels?: number;
}

/**
 * Takes a stack of MPLS labels. What is inside has no type before it: the first four bits of IP tell its version
 * ({@link peekIpVersion}), where nothing but IP is carried.
 */
export function parseMpls($: PacketParser, options: MplsOptions): MplsPacket {
  const { maxLabels = 4, else: otherwise } = options;
  const entry: Var<"u32"> = $.let(u32, 0);
  const walk = (walked: number): void => {
    if (walked === maxLabels) {
      otherwise();
      return;
    }
    entry.set($.packet.take(mpls_shim_hdr, { else: otherwise }).label_stack_entry.toHost());
    $.if(entry.has(MPLS_LS_S_MASK).not(), () => walk(walked + 1));
  };
  walk(0);
  return { label: entry.shr(MPLS_LS_LABEL_SHIFT) };
}
