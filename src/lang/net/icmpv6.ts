import { type ArrayLayout, array, type BytesLayout, bytes } from "../../btf/layout/array.ts";
import { be16, be32, u8 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import { type UnionLayout, union } from "../../btf/layout/union.ts";
import type { Be16, Be32, U8 } from "./wire-types.ts";

/** ICMPv6 header, 8 bytes (`struct icmp6hdr`; RFC 4443). What `icmp6_dataun` holds depends on `icmp6_type`. */
export const icmp6hdr: StructLayout<
  "icmp6hdr",
  {
    icmp6_type: U8;
    icmp6_code: U8;
    icmp6_cksum: Be16;
    icmp6_dataun: UnionLayout<
      "",
      {
        un_data32: ArrayLayout<Be32>;
        un_data16: ArrayLayout<Be16>;
        un_data8: BytesLayout;
        u_echo: StructLayout<"icmpv6_echo", { identifier: Be16; sequence: Be16 }>;
      }
    >;
  }
> = struct("icmp6hdr", {
  icmp6_type: u8,
  icmp6_code: u8,
  icmp6_cksum: be16,
  icmp6_dataun: union("", {
    un_data32: array(be32, 1),
    un_data16: array(be16, 2),
    un_data8: bytes(4),
    u_echo: struct("icmpv6_echo", { identifier: be16, sequence: be16 }),
  }),
});
