import {
  BPF_ADD,
  BPF_AND,
  BPF_ATOMIC,
  BPF_B,
  BPF_CMPXCHG,
  BPF_DW,
  BPF_FETCH,
  BPF_H,
  BPF_LOAD_ACQ,
  BPF_OR,
  BPF_STORE_REL,
  BPF_STX,
  BPF_W,
  BPF_XCHG,
  BPF_XOR,
} from "../uapi/bpf.ts";
import { type Insn, insn } from "./insn.ts";
import type { Load, Memory, StoreRegister } from "./load-store.ts";
import type { Register, WritableRegister } from "./register.ts";

// Atomic operations (RFC 9669, section 5.3): class STX, mode ATOMIC, the operation in `imm`. The suffix is the width of the
// memory operand. Those that fetch came with kernel 5.12, load-acquire and store-release with 6.15.

/** `*(uN *)(base + offset) op= src`, with nothing fetched. */
export type AtomicOperation = StoreRegister;
/** An atomic operation that writes what memory held before into `src`. */
export type FetchingOperation = (dst: Memory, src: WritableRegister) => Insn<never, never>;

/** Atomically adds to 4 bytes. */
export const aadd32: AtomicOperation = atomic(BPF_W, BPF_ADD);
/** Atomically adds to 8 bytes. */
export const aadd64: AtomicOperation = atomic(BPF_DW, BPF_ADD);
/** Atomically ors into 4 bytes. Kernel 5.12. */
export const aor32: AtomicOperation = atomic(BPF_W, BPF_OR);
/** Atomically ors into 8 bytes. Kernel 5.12. */
export const aor64: AtomicOperation = atomic(BPF_DW, BPF_OR);
/** Atomically ands into 4 bytes. Kernel 5.12. */
export const aand32: AtomicOperation = atomic(BPF_W, BPF_AND);
/** Atomically ands into 8 bytes. Kernel 5.12. */
export const aand64: AtomicOperation = atomic(BPF_DW, BPF_AND);
/** Atomically xors into 4 bytes. Kernel 5.12. */
export const axor32: AtomicOperation = atomic(BPF_W, BPF_XOR);
/** Atomically xors into 8 bytes. Kernel 5.12. */
export const axor64: AtomicOperation = atomic(BPF_DW, BPF_XOR);

/** Atomically adds to 4 bytes; `src` gets the old value, zero-extended. */
export const afadd32: FetchingOperation = atomic(BPF_W, BPF_ADD | BPF_FETCH);
/** Atomically adds to 8 bytes; `src` gets the old value. */
export const afadd64: FetchingOperation = atomic(BPF_DW, BPF_ADD | BPF_FETCH);
/** Atomically ors into 4 bytes; `src` gets the old value, zero-extended. */
export const afor32: FetchingOperation = atomic(BPF_W, BPF_OR | BPF_FETCH);
/** Atomically ors into 8 bytes; `src` gets the old value. */
export const afor64: FetchingOperation = atomic(BPF_DW, BPF_OR | BPF_FETCH);
/** Atomically ands into 4 bytes; `src` gets the old value, zero-extended. */
export const afand32: FetchingOperation = atomic(BPF_W, BPF_AND | BPF_FETCH);
/** Atomically ands into 8 bytes; `src` gets the old value. */
export const afand64: FetchingOperation = atomic(BPF_DW, BPF_AND | BPF_FETCH);
/** Atomically xors into 4 bytes; `src` gets the old value, zero-extended. */
export const afxor32: FetchingOperation = atomic(BPF_W, BPF_XOR | BPF_FETCH);
/** Atomically xors into 8 bytes; `src` gets the old value. */
export const afxor64: FetchingOperation = atomic(BPF_DW, BPF_XOR | BPF_FETCH);
/** Atomically exchanges 4 bytes with `src`. */
export const xchg32: FetchingOperation = atomic(BPF_W, BPF_XCHG);
/** Atomically exchanges 8 bytes with `src`. */
export const xchg64: FetchingOperation = atomic(BPF_DW, BPF_XCHG);
/** Atomically stores `src` in 4 bytes where they equal w0; r0 gets the old value, zero-extended. */
export const cmpxchg32: AtomicOperation = atomic(BPF_W, BPF_CMPXCHG);
/** Atomically stores `src` in 8 bytes where they equal r0; r0 gets the old value. */
export const cmpxchg64: AtomicOperation = atomic(BPF_DW, BPF_CMPXCHG);

/** Loads 1 byte with acquire ordering, zero-extended. Kernel 6.15, like all of these. */
export const ldacqb: Load = loadAcquire(BPF_B);
/** Loads 2 bytes with acquire ordering, zero-extended. */
export const ldacqh: Load = loadAcquire(BPF_H);
/** Loads 4 bytes with acquire ordering, zero-extended. */
export const ldacqw: Load = loadAcquire(BPF_W);
/** Loads 8 bytes with acquire ordering. */
export const ldacqdw: Load = loadAcquire(BPF_DW);
/** Stores 1 byte with release ordering. */
export const strelb: StoreRegister = atomic(BPF_B, BPF_STORE_REL);
/** Stores 2 bytes with release ordering. */
export const strelh: StoreRegister = atomic(BPF_H, BPF_STORE_REL);
/** Stores 4 bytes with release ordering. */
export const strelw: StoreRegister = atomic(BPF_W, BPF_STORE_REL);
/** Stores 8 bytes with release ordering. */
export const streldw: StoreRegister = atomic(BPF_DW, BPF_STORE_REL);

function atomic(size: number, operation: number): (dst: Memory, src: Register) => Insn<never, never> {
  return ([base, off], src) =>
    insn({
      code: BPF_STX | BPF_ATOMIC | size,
      dst_reg: base.number,
      src_reg: src.number,
      off,
      imm: operation,
    });
}

function loadAcquire(size: number): Load {
  return (dst, [base, off]) =>
    insn({
      code: BPF_STX | BPF_ATOMIC | size,
      dst_reg: dst.number,
      src_reg: base.number,
      off,
      imm: BPF_LOAD_ACQ,
    });
}
