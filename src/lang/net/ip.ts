import { u8 } from "../../btf/layout/scalar.ts";
import type { HostVal } from "../value.ts";
import type { Otherwise, PacketParser } from "./parser.ts";

/**
 * The version of an IP packet whose type nothing before it tells, as inside of GTP-U and MPLS: its first four bits, 4 or 6,
 * or anything else where it is no IP packet. Takes nothing.
 */
export function peekIpVersion($: PacketParser, { else: otherwise }: Otherwise): HostVal<"u8"> {
  return $.packet.peek(u8, { else: otherwise }).shr(4);
}
