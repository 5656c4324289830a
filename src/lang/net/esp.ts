import { be16, be32, u8 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { Be16, Be32, U8 } from "./wire-types.ts";

/** ESP header, 8 bytes (`struct ip_esp_hdr`; RFC 4303): the rest is encrypted. */
export const ip_esp_hdr: StructLayout<"ip_esp_hdr", { spi: Be32; seq_no: Be32 }> = struct("ip_esp_hdr", {
  spi: be32,
  seq_no: be32,
});

/**
 * Authentication header, 12 bytes without its check value (`struct ip_auth_hdr`; RFC 4302). `hdrlen` counts units of 4 bytes,
 * without the first two.
 */
export const ip_auth_hdr: StructLayout<
  "ip_auth_hdr",
  { nexthdr: U8; hdrlen: U8; reserved: Be16; spi: Be32; seq_no: Be32 }
> = struct("ip_auth_hdr", {
  nexthdr: u8,
  hdrlen: u8,
  reserved: be16,
  spi: be32,
  seq_no: be32,
});

/** The UDP port of ESP in UDP (RFC 3948); IKE has it too, with a first word of 0. */
export const ESP_IN_UDP_PORT = 4500;
