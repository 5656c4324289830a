import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import type { Layout } from "./layout.ts";
import { u64 } from "./scalar.ts";

/** A pointer: an address, which only the one who wrote it can follow. Reads as a bigint. */
export interface PointerLayout extends Layout<bigint, "pointer", bigint | number> {}

/** A pointer to a layout, or `void *`: 8 bytes. */
export function pointer(to?: Layout): PointerLayout {
  return Object.freeze({
    kind: "pointer",
    size: 8,
    align: 8,
    cName: `${to?.cName ?? "void"} *`,
    read: u64.read,
    write: u64.write,
    btf: (builder: BtfBuilder): BtfTypeId => builder.ptr(to?.btf(builder)),
  } as const);
}
