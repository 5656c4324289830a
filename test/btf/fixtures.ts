import { existsSync, readFileSync } from "node:fs";
import { type BtfBuilder, type BtfBuilderOptions, createBtfBuilder } from "../../src/btf/builder.ts";
import { type Btf, decodeBtf } from "../../src/btf/decode.ts";
import type { BtfTypeId, BtfTypes } from "../../src/btf/type.ts";

/** The types that tests keep needing. */
export interface Basics {
  readonly b: BtfBuilder;
  readonly char: BtfTypeId;
  readonly int: BtfTypeId;
  readonly u8: BtfTypeId;
  readonly u16: BtfTypeId;
  readonly u32: BtfTypeId;
  readonly u64: BtfTypeId;
}

export function basics(options: BtfBuilderOptions = {}): Basics {
  const b = createBtfBuilder(options);
  return {
    b,
    char: b.int("char", 1, "char"),
    int: b.int("int", 4, "signed"),
    u8: b.int("unsigned char", 1),
    u16: b.int("short unsigned int", 2),
    u32: b.int("unsigned int", 4),
    u64: b.int("long long unsigned int", 8),
  };
}

/** What a builder made, as a reader sees it. */
export function decoded(b: BtfBuilder): Btf {
  return decodeBtf(b.encode());
}

export function allTypes(types: BtfTypes): unknown[] {
  return Array.from({ length: types.typeCount }, (_, id) => types.type(id));
}

/** A blob with every kind in it, cycles and bitfields included. */
export function everyKind(options: BtfBuilderOptions = {}): BtfBuilder {
  const { b, char, int, u8, u32, u64 } = basics(options);
  const list = b.struct("list_head", 16, (self) => [
    { name: "next", type: b.ptr(self), bitOffset: 0 },
    { name: "prev", type: b.ptr(self), bitOffset: 64 },
  ]);
  const anonymous = b.union("", 8, [
    { name: "whole", type: u64, bitOffset: 0 },
    { name: "half", type: u32, bitOffset: 0 },
  ]);
  const color = b.enum("color", { RED: 0, GREEN: 1, NONE: -1 });
  b.struct("item", 40, [
    { name: "list", type: list, bitOffset: 0 },
    { name: "low", type: u8, bitOffset: 128, bitfieldSize: 4 },
    { name: "high", type: u8, bitOffset: 132, bitfieldSize: 4 },
    { name: "color", type: b.const(color), bitOffset: 160 },
    { name: "", type: anonymous, bitOffset: 192 },
    { name: "name", type: b.array(char, 8), bitOffset: 256 },
  ]);
  b.enum64("big", { HUGE: 0xffff_ffff_ffff_ffffn });
  b.fwd("hidden", "union");
  b.typedef("item_ptr", b.restrict(b.ptr(b.typeTag("user", b.volatile(list)))));
  const proto = b.funcProto(int, [{ name: "ctx", type: b.ptr() }], { variadic: true });
  const main = b.func("main", proto, "global");
  b.declTag("entry", main);
  b.declTag("arg:ctx", main, 0);
  b.datasec(".data", 8, [{ type: b.var("counter", u64), offset: 0, size: 8 }]);
  b.float("double", 8);
  return b;
}

export const VMLINUX = "/sys/kernel/btf/vmlinux";
export const hasVmlinux: boolean = existsSync(VMLINUX);

let kernel: Btf | undefined;

/** The running kernel's BTF, read once. */
export function vmlinux(): Btf {
  kernel ??= decodeBtf(readFileSync(VMLINUX));
  return kernel;
}
