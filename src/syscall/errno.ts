import { TsbpfError } from "../base/error.ts";
import { errnos } from "../uapi/errno.ts";

/**
 * A system call that failed: which one, with which arguments, and the kernel's word for it.
 *
 * The first line reads `bpf(BPF_MAP_CREATE) failed: EPERM (Operation not permitted) [map_type=CPUMAP, max_entries=2]`.
 */
export class SyscallError extends TsbpfError {
  /** The call, with its sub-command where it has one: `bpf(BPF_MAP_CREATE)`. */
  readonly call: string;
  /** The errno number, positive. */
  readonly errno: number;
  /** The errno name: `EPERM`, or a kernel-only one such as `ENOTSUPP`. */
  readonly code: string;
  /** The arguments that matter, as they are shown in the message. */
  readonly args: SyscallArgs;

  constructor(call: string, errno: number, args: SyscallArgs = {}, options: SyscallErrorOptions = {}) {
    const positive = Math.abs(errno);
    super(`${call} failed: ${describeErrno(positive)}${formatArgs(args)}`, options);
    this.call = call;
    this.errno = positive;
    this.code = errnoName(positive);
    this.args = args;
  }
}

/** Arguments of a failed call, in the order they are shown; `undefined` ones are left out. */
export type SyscallArgs = Readonly<Record<string, string | number | bigint | boolean | undefined>>;

/** What a {@link SyscallError} may carry besides the facts. */
export interface SyscallErrorOptions {
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** Further lines, for instance the kernel's log. */
  readonly details?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Passes a result `>= 0` through and throws a {@link SyscallError} for `-errno`.
 *
 * @param args - A function where building them costs something; it runs only on failure.
 */
export function check(result: number, call: string, args?: SyscallArgs | (() => SyscallArgs)): number {
  if (result >= 0) return result;
  throw new SyscallError(call, -result, typeof args === "function" ? args() : args);
}

/** The name of an errno number (`1` -> `"EPERM"`), including the kernel-only ones; `"errno N"` for an unknown one. */
export function errnoName(errno: number): string {
  return errnos.get(errno)?.name ?? `errno ${errno}`;
}

/** The kernel's words for an errno number (`1` -> `"Operation not permitted"`); `"Unknown error N"` otherwise. */
export function errnoText(errno: number): string {
  return errnos.get(errno)?.text ?? `Unknown error ${errno}`;
}

/** Name and words together: `EPERM (Operation not permitted)`. */
export function describeErrno(errno: number): string {
  return `${errnoName(errno)} (${errnoText(errno)})`;
}

/** The number of an errno name (`"EPERM"` -> `1`), or `undefined`. */
export function errnoNumber(name: string): number | undefined {
  for (const [number, errno] of errnos) if (errno.name === name) return number;
  return undefined;
}

/** The arguments of a failed call for its message, ` [name=value, ...]`; empty without any. Long values are cut. */
export function formatArgs(args: SyscallArgs): string {
  const shown = Object.entries(args).filter(([, value]) => value !== undefined);
  if (shown.length === 0) return "";
  return ` [${shown.map(([name, value]) => `${name}=${shorten(String(value))}`).join(", ")}]`;
}

function shorten(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}
