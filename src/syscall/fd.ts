import { TsbpfError } from "../base/error.ts";
import { F_DUPFD_CLOEXEC } from "./constants.ts";
import { check } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/**
 * An owned file descriptor: whoever holds it closes it, with `close()` or `using`.
 *
 * There is no finalizer behind it. A forgotten descriptor stays open until the process ends, and a test that plugs a
 * {@link FdTracker} into its `Syscalls` is told where it was opened.
 *
 * @example
 * using map = Fd.own(sys, mapCreate(sys, { map_type: 1, key_size: 4, value_size: 4, max_entries: 1 }), "map m");
 */
export class Fd {
  /** What the descriptor is, for messages: `map "cpus"`. */
  readonly what: string;
  readonly #sys: Syscalls;
  #number: number;

  /** Takes ownership of `number`. Use {@link Fd.own}. */
  private constructor(sys: Syscalls, number: number, what: string) {
    this.what = what;
    this.#sys = sys;
    this.#number = number;
  }

  /** Takes ownership of an open descriptor. */
  static own(sys: Syscalls, number: number, what: string): Fd {
    if (!Number.isInteger(number) || number < 0) {
      throw new TsbpfError(`${what}: ${number} is not a file descriptor`);
    }
    const fd = new Fd(sys, number, what);
    sys.fdTracker?.opened(fd);
    return fd;
  }

  /**
   * The descriptor's number, for a system call.
   * @throws {@link FdClosedError} after `close()` or `release()`; the number may belong to something else by then.
   */
  get number(): number {
    if (this.#number < 0) throw new FdClosedError(this.what);
    return this.#number;
  }

  /** Whether `close()` or `release()` has been called. */
  get closed(): boolean {
    return this.#number < 0;
  }

  /**
   * A second descriptor for the same kernel object, close-on-exec like every other.
   * @throws `SyscallError` (EMFILE at the process's limit).
   */
  dup(what: string = this.what): Fd {
    const number = check(this.#sys.fcntl(this.number, F_DUPFD_CLOEXEC, 0), "fcntl(F_DUPFD_CLOEXEC)", {
      fd: this.number,
      of: this.what,
    });
    return Fd.own(this.#sys, number, what);
  }

  /** Gives up ownership without closing: the caller owns the number that is returned. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    this.#sys.fdTracker?.closed(this);
    return number;
  }

  /**
   * Closes the descriptor; doing it again is fine. A failing close(2) is not an error: Linux has released the
   * descriptor whatever it answers.
   */
  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    this.#sys.close(number);
    this.#sys.fdTracker?.closed(this);
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A descriptor was used after it had been closed. */
export class FdClosedError extends TsbpfError {
  /** What the descriptor was. */
  readonly what: string;

  constructor(what: string) {
    super(`${what} is closed`, { hint: "It was closed, disposed or released before this use." });
    this.what = what;
  }
}

/** Hears of every {@link Fd}; plugged in as `{ ...sys, fdTracker }`. */
export interface FdTracker {
  /** A descriptor has got an owner. */
  opened(fd: Fd): void;
  /** A descriptor was closed, or released by its owner. */
  closed(fd: Fd): void;
}

/** An {@link FdTracker} that remembers where each open descriptor came from. */
export interface FdLeakTracer extends FdTracker {
  /** The descriptors that are open now, oldest first. */
  leaks(): FdLeak[];
  /** @throws {@link FdLeakError} if anything is open, with the stack of each. */
  assertNone(): void;
}

/** A descriptor still open, and the stack that opened it. */
export interface FdLeak {
  readonly fd: Fd;
  readonly stack: string;
}

/** Descriptors were left open; the message has the stack of each. */
export class FdLeakError extends TsbpfError {
  readonly leaks: readonly FdLeak[];

  constructor(leaks: readonly FdLeak[]) {
    const count = leaks.length === 1 ? "1 file descriptor was" : `${leaks.length} file descriptors were`;
    super(`${count} left open`, {
      details: leaks.map(({ fd, stack }) => `${fd.what} (fd ${fd.number}), opened\n${stack}`).join("\n"),
    });
    this.leaks = leaks;
  }
}

/**
 * A tracer for test suites.
 *
 * @example
 * const tracer = fdLeakTracer();
 * const sys = { ...linuxSyscalls(), fdTracker: tracer };
 * // ... work with sys, then:
 * tracer.assertNone();
 */
export function fdLeakTracer(): FdLeakTracer {
  const open = new Map<Fd, { readonly stack?: string }>();
  const tracer: FdLeakTracer = {
    opened(fd) {
      const holder = {};
      Error.captureStackTrace(holder, tracer.opened);
      open.set(fd, holder); // to put a stack into words takes ten times as long as to collect it
    },
    closed(fd) {
      open.delete(fd);
    },
    leaks() {
      // The first line is the error's name, which there is none of; the second is Fd.own.
      return [...open].map(([fd, { stack = "" }]) => ({ fd, stack: stack.split("\n").slice(2).join("\n") }));
    },
    assertNone() {
      if (open.size > 0) throw new FdLeakError(tracer.leaks());
    },
  };
  return tracer;
}
