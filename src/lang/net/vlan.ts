import { be16 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { Be16 } from "./wire-types.ts";

/**
 * What follows the `ETH_P_8021Q` or `ETH_P_8021AD` of a VLAN tag, 4 bytes (`struct vlan_hdr`; IEEE 802.1Q).
 *
 * ```
 *  0     3   4                   16                              32
 * +-----+---+-------------------+-------------------------------+
 * | PCP |DEI|        VID        |  protocol of what is inside   |
 * +-----+---+-------------------+-------------------------------+
 *  h_vlan_TCI                    h_vlan_encapsulated_proto
 * ```
 */
export const vlan_hdr: StructLayout<"vlan_hdr", { h_vlan_TCI: Be16; h_vlan_encapsulated_proto: Be16 }> =
  struct("vlan_hdr", { h_vlan_TCI: be16, h_vlan_encapsulated_proto: be16 });

/** The VLAN's number in a TCI. */
export const VLAN_VID_MASK = 0x0fff;
/** Drop eligible, in a TCI. */
export const VLAN_CFI_MASK = 0x1000;
/** The priority in a TCI. */
export const VLAN_PRIO_MASK = 0xe000;
/** How far the priority is shifted left in a TCI. */
export const VLAN_PRIO_SHIFT = 13;
