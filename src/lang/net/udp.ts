import { be16 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import type { Be16 } from "./wire-types.ts";

/** UDP header, 8 bytes (`struct udphdr`; RFC 768). `len` counts the header too; a `check` of 0 over IPv4 means none. */
export const udphdr: StructLayout<"udphdr", { source: Be16; dest: Be16; len: Be16; check: Be16 }> = struct(
  "udphdr",
  { source: be16, dest: be16, len: be16, check: be16 },
);
