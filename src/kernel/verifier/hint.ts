import type { Assembled, AssembledInsn } from "../../asm/assemble.ts";
import type { VerifierLog } from "./log.ts";

/** Names of the causes that have a hint. */
export type HintId =
  // memory
  | "packet-bounds"
  | "packet-variable-offset"
  | "packet-end-access"
  | "map-value-bounds"
  | "memory-bounds"
  | "variable-offset"
  | "read-only-memory"
  | "stack-bounds"
  | "stack-uninitialized"
  | "stack-variable-offset"
  | "misaligned"
  | "spill-size"
  | "spill-corrupted"
  | "context-access"
  | "context-modified"
  | "atomic-target"
  // registers
  | "null-check"
  | "lost-in-call"
  | "packet-moved"
  | "no-return-value"
  | "uninitialized-register"
  | "not-a-pointer"
  | "packet-end-arithmetic"
  | "pointer-32-bit"
  | "pointer-arithmetic"
  | "map-pointer"
  | "frame-pointer"
  | "pointer-leak"
  | "division-by-zero"
  | "shift-count"
  // calls
  | "helper-not-for-type"
  | "helper-unknown"
  | "gpl-only"
  | "argument-type"
  | "argument-constant"
  | "argument-length"
  | "wrong-map"
  | "tail-call-map"
  | "kfunc"
  | "kfunc-device"
  | "reference-leak"
  | "lock-held"
  | "spin-lock-map"
  | "call-depth"
  | "stack-depth"
  // flow
  | "unbounded-loop"
  | "too-complex"
  | "unreachable"
  | "jump-target"
  | "no-exit"
  | "return-range"
  | "invalid-instruction"
  | "verifier-bug";

/** What a hint may look at. */
export interface HintContext {
  readonly assembled: Assembled;
  readonly log: VerifierLog;
  /** The instruction that was refused. */
  readonly line: AssembledInsn | undefined;
  /** A place for people: the source line of an instruction word, else its number. */
  readonly place: (insn: number) => string;
}

/** A well-known cause of a refusal. */
export interface Hint {
  readonly id: HintId;
  /** Matched against the verifier's reason. */
  readonly pattern: RegExp;
  /** What to do about it, or `undefined` where a closer look shows that it is something else. */
  readonly explain: (match: RegExpExecArray, context: HintContext) => string | undefined;
}
