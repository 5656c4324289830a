import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import type { Layout } from "./layout.ts";
import { u64 } from "./scalar.ts";

/** A pointer: an address, which only the one who wrote it can follow. Reads as a bigint. */
export interface PointerLayout<To extends Layout | undefined = Layout | undefined>
  extends Layout<bigint, "pointer", bigint | number> {
  /** What is there, if it was said. */
  readonly to: To;
}

/**
 * A pointer to a layout, or `void *`: 8 bytes. Programs of the language go on through a pointer to a struct in the kernel's
 * memory by the names of the struct's members.
 */
export function pointer(): PointerLayout<undefined>;
export function pointer<To extends Layout>(to: To): PointerLayout<To>;
export function pointer(to?: Layout): PointerLayout {
  return Object.freeze({
    kind: "pointer",
    size: 8,
    align: 8,
    cName: `${to?.cName ?? "void"} *`,
    to,
    read: u64.read,
    write: u64.write,
    btf: (builder: BtfBuilder): BtfTypeId => builder.ptr(to?.btf(builder)),
  } as const);
}
