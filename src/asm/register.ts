/** A register that an instruction may write: r0 to r9. */
export interface WritableRegister {
  readonly kind: "register";
  readonly writable: "yes";
  readonly number: 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;
}

/** r10, the frame pointer: it can be read, copied and used as a memory base, and never written. */
export interface FramePointer {
  readonly kind: "register";
  // A sentence as a type: the compiler quotes it when r10 stands where a register is written. It quotes the first member
  // that differs, so this one stands before the number.
  readonly writable: "r10 is the read-only frame pointer: copy it first, as in mov(r2, r10)";
  readonly number: 10;
}

/** Any of the eleven registers of the BPF machine (RFC 9669, section 2.1). */
export type Register = WritableRegister | FramePointer;

function register(number: WritableRegister["number"]): WritableRegister {
  return Object.freeze({ kind: "register", number, writable: "yes" });
}

/** Return value of calls and of the program. */
export const r0: WritableRegister = register(0);
/** First argument of calls; the context when a program starts. Lost by every call. */
export const r1: WritableRegister = register(1);
/** Second argument of calls. Lost by every call. */
export const r2: WritableRegister = register(2);
/** Third argument of calls. Lost by every call. */
export const r3: WritableRegister = register(3);
/** Fourth argument of calls. Lost by every call. */
export const r4: WritableRegister = register(4);
/** Fifth argument of calls. Lost by every call. */
export const r5: WritableRegister = register(5);
/** Kept across calls. */
export const r6: WritableRegister = register(6);
/** Kept across calls. */
export const r7: WritableRegister = register(7);
/** Kept across calls. */
export const r8: WritableRegister = register(8);
/** Kept across calls. */
export const r9: WritableRegister = register(9);
/** The frame pointer: the stack is the 512 bytes below it. Read-only. */
export const r10: FramePointer = Object.freeze({
  kind: "register",
  number: 10,
  writable: "r10 is the read-only frame pointer: copy it first, as in mov(r2, r10)",
});
