/** Makes one system call of an operation fail, to show that the operation undoes its earlier ones. */
import type { Syscalls } from "../../src/syscall/syscalls.ts";

/** The members of `Syscalls` that are system calls with the kernel's result convention. */
export type SyscallName = Exclude<keyof Syscalls, "addressOf" | "watchReadable" | "fdTracker">;

/** A `Syscalls` with one call that fails, and what was called on it. */
export interface FailingSyscalls {
  readonly sys: Syscalls;
  /** Names of the counted calls so far, the failed one included. */
  readonly calls: readonly SyscallName[];
  /** Whether the nth call has come, and so has failed. */
  readonly hasFailed: () => boolean;
}

/** Chooses which calls count. Default: all but `close` and `munmap`, whose failure nobody can undo. */
export type Counted = (name: SyscallName, args: readonly unknown[]) => boolean;

/**
 * `sys` with its nth counted call (from 1) answering `-errno` instead of happening. `close` and `munmap`, if counted,
 * happen and answer `-errno` nevertheless: Linux releases the descriptor whatever close(2) says.
 *
 * @example
 * ```ts
 * const failing = failNth(linuxSyscalls(), 2, EPERM, (name) => name === "bpf");
 * expect(() => BpfMap.create(failing.sys, def)).toThrow("EPERM");
 * ```
 */
export function failNth(
  sys: Syscalls,
  n: number,
  errno: number,
  counted: Counted = (name) => !RELEASING.includes(name),
): FailingSyscalls {
  const calls: SyscallName[] = [];
  const wrapped: Record<string, unknown> = { ...sys };
  for (const [key, real] of Object.entries(sys)) {
    if (typeof real !== "function" || NOT_CALLS.includes(key)) continue;
    const name = key as SyscallName;
    wrapped[name] = (...args: readonly unknown[]): unknown => {
      if (!counted(name, args)) return Reflect.apply(real, undefined, args);
      calls.push(name);
      if (calls.length !== n) return Reflect.apply(real, undefined, args);
      if (RELEASING.includes(name)) Reflect.apply(real, undefined, args);
      return -errno;
    };
  }
  return { sys: wrapped as unknown as Syscalls, calls, hasFailed: () => calls.length >= n };
}

/** What {@link eachFailure} needs. */
export interface EachFailure {
  readonly sys: Syscalls;
  readonly errno: number;
  readonly counted?: Counted;
  /** The operation, from nothing to nothing: it releases what it got, in the round in which all goes well. */
  readonly run: (sys: Syscalls) => void | Promise<void>;
  /** Called after each round with a failed call; `error` is what `run` threw, or `undefined` if it coped. */
  readonly check: (
    error: unknown,
    failed: { readonly n: number; readonly call: SyscallName },
  ) => void | Promise<void>;
  /** Rounds at most, so that an operation that retries for ever does not hang the test. Default 1,000. */
  readonly limit?: number;
}

/**
 * Runs an operation with its first call failing, then with its second, and so on, until a round makes no nth call; that
 * round must succeed. Returns the number of calls that were made to fail: assert it, lest nothing was tried.
 *
 * @example
 * ```ts
 * const tried = await eachFailure({
 *   sys: linuxSyscalls(),
 *   errno: EIO,
 *   run: (sys) => { using map = BpfMap.create(sys, def); },
 *   check: (error) => { expect(error).toBeInstanceOf(SyscallError); expect(leaks()).toEqual([]); },
 * });
 * expect(tried).toBeGreaterThan(0);
 * ```
 * @throws Error naming the call, if `check` throws; whatever `run` throws in the last round.
 */
export async function eachFailure(options: EachFailure): Promise<number> {
  const { sys, errno, counted, run, check, limit = 1000 } = options;
  for (let n = 1; n <= limit; n++) {
    const failing = failNth(sys, n, errno, counted);
    let error: unknown;
    try {
      await run(failing.sys);
    } catch (thrown) {
      if (!failing.hasFailed()) throw thrown;
      error = thrown;
    }
    const call = failing.calls[n - 1];
    if (call === undefined) return n - 1;
    try {
      await check(error, { n, call });
    } catch (cause) {
      throw new Error(`with call ${n} (${call}) failing: ${String(cause)}`, { cause });
    }
  }
  throw new Error(`still making calls after ${limit} rounds`);
}

const RELEASING: readonly SyscallName[] = ["close", "munmap"];
const NOT_CALLS: readonly string[] = ["addressOf", "watchReadable", "fdTracker"];
