/**
 * Network protocols for programs of the structured language: layouts of headers, with the kernel's names, and what walks
 * through them. One protocol a file.
 */

export { type ArpMessage, arp_eth_ipv4, arphdr, parseArp } from "./arp.ts";
export {
  type ChecksumOptions,
  type ChecksumRest,
  checksum,
  ipv4Checksum,
  pseudo6hdr,
  pseudohdr,
  updatedChecksum,
  type WithPacket,
} from "./checksum.ts";
export { ESP_IN_UDP_PORT, ip_auth_hdr, ip_esp_hdr } from "./esp.ts";
export { type EthernetFrame, type EthernetOptions, ethhdr, parseEthernet } from "./ethernet.ts";
export { GENEVE_PORT, type GenevePacket, geneve_opt, genevehdr, parseGeneve } from "./geneve.ts";
export {
  GRE_CSUM,
  GRE_KEY,
  GRE_ROUTING,
  GRE_SEQ,
  GRE_VERSION,
  type GrePacket,
  gre_base_hdr,
  gre_csum,
  gre_key,
  gre_seq,
  parseGre,
} from "./gre.ts";
export {
  GTP_TPDU,
  GTP1_F_EXTHDR,
  GTP1_F_MASK,
  GTP1_F_NPDU,
  GTP1_F_SEQ,
  GTP1_PT,
  GTP1U_PORT,
  type GtpUOptions,
  type GtpUPacket,
  gtp1_exthdr,
  gtp1_header,
  gtp1_optional,
  parseGtpU,
} from "./gtp.ts";
export { icmphdr } from "./icmp.ts";
export { icmp6hdr } from "./icmpv6.ts";
export { peekIpVersion } from "./ip.ts";
export { IP_DF, IP_MF, IP_OFFSET, type Ipv4Packet, iphdr, parseIpv4 } from "./ipv4.ts";
export {
  frag_hdr,
  IP6_MF,
  IP6_OFFSET,
  type Ipv6Options,
  type Ipv6Packet,
  ipv6_opt_hdr,
  ipv6_rt_hdr,
  ipv6hdr,
  NEXTHDR_AUTH,
  NEXTHDR_DEST,
  NEXTHDR_FRAGMENT,
  NEXTHDR_HOP,
  NEXTHDR_ICMP,
  NEXTHDR_MOBILITY,
  NEXTHDR_NONE,
  NEXTHDR_ROUTING,
  parseIpv6,
} from "./ipv6.ts";
export {
  MPLS_LS_LABEL_MASK,
  MPLS_LS_LABEL_SHIFT,
  MPLS_LS_S_MASK,
  MPLS_LS_TC_MASK,
  MPLS_LS_TTL_MASK,
  type MplsOptions,
  type MplsPacket,
  mpls_shim_hdr,
  parseMpls,
} from "./mpls.ts";
export type { Otherwise, PacketParser, ParserIf } from "./parser.ts";
export { type HeaderChanges, type Headers, type RewriteOptions, rewrite } from "./rewrite.ts";
export { parseTcp, tcphdr } from "./tcp.ts";
export { udphdr } from "./udp.ts";
export {
  VLAN_CFI_MASK,
  VLAN_PRIO_MASK,
  VLAN_PRIO_SHIFT,
  VLAN_VID_MASK,
  vlan_hdr,
} from "./vlan.ts";
export { parseVxlan, VXLAN_HF_VNI, VXLAN_PORT, type VxlanPacket, vxlanhdr } from "./vxlan.ts";
