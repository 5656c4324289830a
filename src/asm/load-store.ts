import {
  BPF_ABS,
  BPF_B,
  BPF_DW,
  BPF_H,
  BPF_IMM,
  BPF_IND,
  BPF_LD,
  BPF_LDX,
  BPF_MEM,
  BPF_MEMSX,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  BPF_ST,
  BPF_STX,
  BPF_W,
} from "../uapi/bpf.ts";
import { AssembleError } from "./errors.ts";
import { checkRange, type Insn, type InsnRef, insn } from "./insn.ts";
import type { MapDef } from "./map-def.ts";
import type { Subprogram } from "./program.ts";
import type { Register, WritableRegister } from "./register.ts";
import { captureSource } from "./source-position.ts";

declare const use: unique symbol;

// Loads and stores (RFC 9669, section 5):
//
//    7     5  4  3  2     0
//   +-------+-----+-------+
//   | mode  | size| class |   mode: IMM ABS IND MEM MEMSX ATOMIC    size: W 4, H 2, B 1, DW 8 bytes
//   +-------+-----+-------+

/** A place in memory: a base register and a signed 16-bit offset in bytes. */
export type Memory = readonly [base: Register, offset: number];

/** A load `dst = *(uN *)(base + offset)`. */
export type Load = (dst: WritableRegister, src: Memory) => Insn<never, never>;
/** A store of a register `*(uN *)(base + offset) = src`. */
export type StoreRegister = (dst: Memory, src: Register) => Insn<never, never>;
/** A store of a constant `*(uN *)(base + offset) = imm`; 64-bit stores sign-extend it from 32 bits. */
export type StoreConstant = (dst: Memory, imm: number) => Insn<never, never>;

/** Loads 1 byte, zero-extended. */
export const ldxb: Load = load(BPF_B, BPF_MEM);
/** Loads 2 bytes in host order, zero-extended. */
export const ldxh: Load = load(BPF_H, BPF_MEM);
/** Loads 4 bytes in host order, zero-extended. */
export const ldxw: Load = load(BPF_W, BPF_MEM);
/** Loads 8 bytes in host order. */
export const ldxdw: Load = load(BPF_DW, BPF_MEM);
/** Loads 1 byte, sign-extended to 64 bits. Kernel 6.6. */
export const ldxsb: Load = load(BPF_B, BPF_MEMSX);
/** Loads 2 bytes in host order, sign-extended to 64 bits. Kernel 6.6. */
export const ldxsh: Load = load(BPF_H, BPF_MEMSX);
/** Loads 4 bytes in host order, sign-extended to 64 bits. Kernel 6.6. */
export const ldxsw: Load = load(BPF_W, BPF_MEMSX);

/** Stores the low byte of a register. */
export const stxb: StoreRegister = store(BPF_B);
/** Stores the low 2 bytes of a register in host order. */
export const stxh: StoreRegister = store(BPF_H);
/** Stores the low 4 bytes of a register in host order. */
export const stxw: StoreRegister = store(BPF_W);
/** Stores the 8 bytes of a register in host order. */
export const stxdw: StoreRegister = store(BPF_DW);

/** Stores a constant byte, -128..255. */
export const stb: StoreConstant = storeConstant(BPF_B, -0x80, 0xff);
/** Stores a constant of 2 bytes in host order, -32768..65535. */
export const sth: StoreConstant = storeConstant(BPF_H, -0x8000, 0xffff);
/** Stores a constant of 4 bytes in host order, -2^31..2^32-1. */
export const stw: StoreConstant = storeConstant(BPF_W, -0x8000_0000, 0xffff_ffff);
/** Stores a constant of 8 bytes in host order, -2^31..2^31-1 sign-extended. */
export const stdw: StoreConstant = storeConstant(BPF_DW, -0x8000_0000, 0x7fff_ffff);

/**
 * A source of {@link lddw} that is not a number.
 *
 * @typeParam Use - names of the helpers that the function behind the address calls.
 */
export interface LddwSource<Use extends string = string> {
  readonly kind: "lddw";
  /** `BPF_PSEUDO_*`, what the kernel makes of the immediate. */
  readonly pseudo: number;
  readonly imm: number;
  readonly next_imm: number;
  readonly ref?: InsnRef;
  readonly [use]?: Use;
}

/**
 * Loads a 64-bit constant, or the address of a map, of a map's value, of a kernel variable or of a function. Takes two
 * instruction words (RFC 9669, section 5.4).
 *
 * @param src - -2^63..2^64-1, or one of {@link mapFd}, {@link mapValue}, {@link mapIndex}, {@link mapIndexValue},
 * {@link ksym}, {@link callback}.
 * @throws AssembleError when a number is out of range, or is not exact (use a bigint above 2^53).
 */
export function lddw(dst: WritableRegister, src: number | bigint): Insn<never, never>;
export function lddw<Use extends string>(dst: WritableRegister, src: LddwSource<Use>): Insn<never, Use>;
export function lddw(dst: WritableRegister, src: number | bigint | LddwSource): Insn<never, string> {
  const code = BPF_LD | BPF_IMM | BPF_DW;
  const dst_reg = dst.number;
  if (typeof src === "object") {
    const { pseudo, imm, next_imm, ref } = src;
    return ref === undefined
      ? insn({ code, dst_reg, src_reg: pseudo, imm, next_imm })
      : insn({ code, dst_reg, src_reg: pseudo, imm, next_imm, ref });
  }
  if (typeof src === "number" && !Number.isSafeInteger(src)) {
    const hint = "Above 2^53 write a bigint, as in 0xffff_ffff_0000_0000n.";
    throw new AssembleError(
      `lddw: ${src} is not an exact integer`,
      { source: captureSource()?.position() },
      hint,
    );
  }
  const value = BigInt(src);
  if (value < -(1n << 63n) || value >= 1n << 64n) {
    throw new AssembleError(`lddw: ${value} does not fit 64 bits`, { source: captureSource()?.position() });
  }
  return insn({
    code,
    dst_reg,
    imm: Number(BigInt.asIntN(32, value)),
    next_imm: Number(BigInt.asIntN(32, value >> 32n)),
  });
}

/** For {@link lddw}: the address of a map, as helpers take it. */
export function mapFd(map: MapDef): LddwSource<never> {
  return {
    kind: "lddw",
    pseudo: BPF_PSEUDO_MAP_FD,
    imm: 0,
    next_imm: 0,
    ref: { kind: "map", map, value: false },
  };
}

/**
 * For {@link lddw}: the address `offset` bytes into the value of a map with one entry (an array map; global data).
 *
 * @throws AssembleError when the array has several entries, or the offset is not inside the value.
 */
export function mapValue(map: MapDef, offset = 0): LddwSource<never> {
  if (map.type === "array" && map.maxEntries !== 1) {
    const reason = `map '${map.name}' has ${map.maxEntries} entries, and only the value of an array with one is loaded so`;
    throw new AssembleError(reason, { source: captureSource()?.position() }, "Call bpf_map_lookup_elem.");
  }
  checkRange(`offset into the value of map '${map.name}'`, offset, 0, (map.value?.size ?? 0) - 1);
  return {
    kind: "lddw",
    pseudo: BPF_PSEUDO_MAP_VALUE,
    imm: 0,
    next_imm: offset,
    ref: { kind: "map", map, value: true },
  };
}

/** For {@link lddw}: the address of the map at an index of the `fd_array` given to the loader. Kernel 5.14. */
export function mapIndex(index: number): LddwSource<never> {
  checkRange("map index", index, 0, 0x7fff_ffff);
  return { kind: "lddw", pseudo: BPF_PSEUDO_MAP_IDX, imm: index, next_imm: 0 };
}

/** For {@link lddw}: `offset` bytes into the value of the map at an index of `fd_array`. Kernel 5.14. */
export function mapIndexValue(index: number, offset = 0): LddwSource<never> {
  checkRange("map index", index, 0, 0x7fff_ffff);
  checkRange("offset into the value", offset, 0, 0x7fff_ffff);
  return { kind: "lddw", pseudo: BPF_PSEUDO_MAP_IDX_VALUE, imm: index, next_imm: offset };
}

/** For {@link lddw}: the address of a kernel variable (or per-CPU variable) by its BTF name. Kernel 5.10. */
export function ksym(name: string): LddwSource<never> {
  return { kind: "lddw", pseudo: BPF_PSEUDO_BTF_ID, imm: 0, next_imm: 0, ref: { kind: "ksym", name } };
}

/** For {@link lddw}: the address of a subprogram, for helpers that take a callback. Kernel 5.13. */
export function callback<Use extends string>(subprogram: Subprogram<Use>): LddwSource<Use> {
  return {
    kind: "lddw",
    pseudo: BPF_PSEUDO_FUNC,
    imm: 0,
    next_imm: 0,
    ref: { kind: "callback", subprogram },
  };
}

// Packet access of classic BPF (RFC 9669, section 5.5): the context must be in r6; the result is in r0, in host order; a
// read beyond the packet ends the program with 0. Socket filters, sched_cls and sched_act only.

/** A load from the packet at a constant offset, into r0. */
export type PacketLoad = (offset: number) => Insn<never, never>;
/** A load from the packet at a register plus a constant offset, into r0. */
export type IndirectPacketLoad = (index: Register, offset: number) => Insn<never, never>;

/** r0 = the byte at `offset` of the packet. */
export const ldabsb: PacketLoad = packetLoad(BPF_B);
/** r0 = the big-endian 16-bit word at `offset` of the packet, in host order. */
export const ldabsh: PacketLoad = packetLoad(BPF_H);
/** r0 = the big-endian 32-bit word at `offset` of the packet, in host order. */
export const ldabsw: PacketLoad = packetLoad(BPF_W);
/** r0 = the byte at `index + offset` of the packet. */
export const ldindb: IndirectPacketLoad = indirectPacketLoad(BPF_B);
/** r0 = the big-endian 16-bit word at `index + offset` of the packet, in host order. */
export const ldindh: IndirectPacketLoad = indirectPacketLoad(BPF_H);
/** r0 = the big-endian 32-bit word at `index + offset` of the packet, in host order. */
export const ldindw: IndirectPacketLoad = indirectPacketLoad(BPF_W);

function load(size: number, mode: number): Load {
  return (dst, [base, off]) =>
    insn({ code: BPF_LDX | mode | size, dst_reg: dst.number, src_reg: base.number, off });
}

function store(size: number): StoreRegister {
  return ([base, off], src) =>
    insn({ code: BPF_STX | BPF_MEM | size, dst_reg: base.number, src_reg: src.number, off });
}

function storeConstant(size: number, min: number, max: number): StoreConstant {
  return ([base, off], imm) => {
    checkRange("imm", imm, min, max, "Load a wider constant into a register, and store that with stx.");
    return insn({ code: BPF_ST | BPF_MEM | size, dst_reg: base.number, off, imm: imm | 0 });
  };
}

function packetLoad(size: number): PacketLoad {
  return (offset) => insn({ code: BPF_LD | BPF_ABS | size, imm: offset });
}

function indirectPacketLoad(size: number): IndirectPacketLoad {
  return (index, offset) => insn({ code: BPF_LD | BPF_IND | size, src_reg: index.number, imm: offset });
}
