import { LITTLE_ENDIAN } from "../../base/host.ts";
import { bits } from "../../btf/layout/member.ts";
import { u8 } from "../../btf/layout/scalar.ts";
import type { Bits } from "./wire-types.ts";

/** Fields of one byte. */
export type WireBits<Widths extends Readonly<Record<string, number>>> = {
  readonly [Name in keyof Widths]: Bits;
};

/**
 * The bit fields of one byte of a packet, the highest bits first, as protocols draw them. C takes a unit's lowest bits first
 * on little-endian machines and its highest first on others, which is why the kernel's headers have each such byte twice;
 * here it is written once.
 */
export function wireBits<const Widths extends Readonly<Record<string, number>>>(
  widths: Widths,
): WireBits<Widths> {
  const fields = Object.entries(widths).map(([name, width]) => [name, bits(u8, width)] as const);
  return Object.fromEntries(LITTLE_ENDIAN ? fields.reverse() : fields) as unknown as WireBits<Widths>;
}
