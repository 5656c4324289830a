import type { BitField } from "../../btf/layout/member.ts";
import type { IntLayout } from "../../btf/layout/number.ts";

/** A byte. */
export type U8 = IntLayout<"u8", "host">;
/** 16 bits in network byte order. */
export type Be16 = IntLayout<"be16", "big">;
/** 32 bits in network byte order. */
export type Be32 = IntLayout<"be32", "big">;
/** Some bits of a byte. */
export type Bits = BitField<U8>;
