import { be32 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { HostVal } from "../value.ts";
import type { Otherwise, PacketParser } from "./parser.ts";
import type { Be32 } from "./wire-types.ts";

/**
 * VXLAN header, 8 bytes (`struct vxlanhdr`; RFC 7348): behind UDP, an Ethernet frame follows. The network identifier is the
 * upper 24 bits of `vx_vni`.
 */
export const vxlanhdr: StructLayout<"vxlanhdr", { vx_flags: Be32; vx_vni: Be32 }> = struct("vxlanhdr", {
  vx_flags: be32,
  vx_vni: be32,
});

/** In `vx_flags`: the network identifier is valid. */
export const VXLAN_HF_VNI = 0x0800_0000;
/** The UDP port of VXLAN. */
export const VXLAN_PORT = 4789;

/** What {@link parseVxlan} found: an Ethernet frame is inside. */
export interface VxlanPacket {
  /** The network's identifier, 24 bits. */
  readonly vni: HostVal<"u32">;
}

/** Takes a VXLAN header, behind a UDP header whose port said so. */
export function parseVxlan($: PacketParser, { else: otherwise }: Otherwise): VxlanPacket {
  const header = $.packet.take(vxlanhdr, { else: otherwise });
  return { vni: header.vx_vni.toHost().shr(8) };
}
