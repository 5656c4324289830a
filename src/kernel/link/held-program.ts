import type { Syscalls } from "../../syscall/syscalls.ts";
import { BpfProgram } from "../program.ts";

/** A program that is attached without a link: the kernel wants to see its descriptor to replace or detach it. */
export interface HeldProgram {
  readonly program: BpfProgram;
  readonly id: number;
}

/** Remembers a program together with its id, which is still known when it is closed. */
export function hold(program: BpfProgram): HeldProgram {
  return { program, id: program.info().id };
}

/**
 * Calls `fn` with a descriptor of the program: its own while it is open, else one by its id, for which it takes
 * CAP_SYS_ADMIN.
 *
 * @returns `undefined` where no program has the id any more, so that it is attached nowhere.
 */
export function withProgram<Result>(
  sys: Syscalls,
  { program, id }: HeldProgram,
  fn: (fd: number) => Result,
): Result | undefined {
  if (!program.closed) return fn(program.fd);
  using opened = BpfProgram.fromId(id, { sys });
  return opened === undefined ? undefined : fn(opened.fd);
}
