import { type BytesLayout, bytes } from "../../btf/layout/array.ts";
import { be16, be32, u8 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import { type UnionLayout, union } from "../../btf/layout/union.ts";
import type { Be16, Be32, U8 } from "./wire-types.ts";

/** ICMP header, 8 bytes (`struct icmphdr`; RFC 792). What `un` holds depends on `type`. */
export const icmphdr: StructLayout<
  "icmphdr",
  {
    type: U8;
    code: U8;
    checksum: Be16;
    un: UnionLayout<
      "",
      {
        echo: StructLayout<"", { id: Be16; sequence: Be16 }>;
        gateway: Be32;
        frag: StructLayout<"", { __unused: Be16; mtu: Be16 }>;
        reserved: BytesLayout;
      }
    >;
  }
> = struct("icmphdr", {
  type: u8,
  code: u8,
  checksum: be16,
  un: union("", {
    echo: struct("", { id: be16, sequence: be16 }),
    gateway: be32,
    frag: struct("", { __unused: be16, mtu: be16 }),
    reserved: bytes(4),
  }),
});
