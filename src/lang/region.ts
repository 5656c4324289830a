import type { IrSlot, IrValue } from "./ir/ir.ts";
import type { OpenRecord, Scope } from "./recorder.ts";
import type { Memory } from "./value.ts";

/**
 * A piece of memory that a program holds an address of, and what must be true for the address to be good: views and fields
 * refer to it.
 */
export interface Region {
  readonly memory: Memory;
  /** The address of its first byte. */
  readonly base: IrValue;
  /** Bytes that may be accessed. */
  readonly size: number;
  /** Set for objects of the stack frame. */
  readonly slot: IrSlot | undefined;
  /** What it is called in errors: `the ethhdr at ...`. */
  readonly name: string;
  /** Whether bytes may be written; for a context, whether those at an offset may. */
  readonly writable: boolean | ((offset: number) => boolean);
  /** What to say to somebody who writes where nothing may be written. */
  readonly readOnly?: string;
  /** The scope that it was made in: it means nothing outside. */
  readonly scope: Scope;
  /** For packet memory: the recorder's count of packet moves when it was made. */
  readonly epoch: number;
  /** For packet memory: reads where it ends, here, for checks at places that the program computed. */
  readonly end?: () => IrValue;
  /** Set where the memory is gone once this was given back. */
  readonly reference?: OpenRecord | undefined;
  /** Set where the program cannot load: a helper copies, and gives zeros where it cannot. */
  readonly probe?: AddressSpace | undefined;
  /** What the pointers in it are: `typed` ones the verifier follows, others are addresses that a helper reads at. */
  readonly pointers?: "typed" | AddressSpace | undefined;
}

/** Whose memory an address is in: the kernel's, or that of the process that runs. */
export type AddressSpace = "kernel" | "user";

/** Whether memory is the kernel's or a process's: helpers do not take its address. */
export function isForeign({ memory }: Region): boolean {
  return memory === "kernel" || memory === "user";
}
