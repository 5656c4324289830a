import type { Fd } from "../../syscall/fd.ts";
import type { FdWatch, Syscalls } from "../../syscall/syscalls.ts";

/**
 * Wakes whoever waits for one of some descriptors to become readable. Nothing polls: the event loop's epoll does it.
 *
 * The event loop watches for as long as a descriptor is readable, so a watch with nobody waiting would keep it spinning
 * beside a slow consumer. A watch therefore stays open from one wait to the next, and closes when it calls in vain.
 */
export class Doorbell {
  readonly #sys: Syscalls;
  readonly #fds: () => Iterable<Fd>;
  readonly #watches = new Map<Fd, FdWatch>();
  readonly #waiting = new Set<() => void>();

  constructor(sys: Syscalls, fds: () => Iterable<Fd>) {
    this.#sys = sys;
    this.#fds = fds;
  }

  /**
   * Resolves when a descriptor becomes readable, the signal aborts, the bell is rung or closed, and at once if
   * `isPending`, which is asked after the watches were opened: to open one asks the descriptor whether it is readable,
   * and a perf event says so only once.
   *
   * @throws SyscallError when a descriptor cannot be watched; whatever `isPending` throws.
   */
  wait(signal: AbortSignal | undefined, isPending: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
      };
      const done = (): void => {
        stop();
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done);
      try {
        this.#open();
        if (isPending()) done();
      } catch (error) {
        stop();
        reject(error);
      }
    });
  }

  /** Wakes everybody who waits. */
  ring(): void {
    for (const done of [...this.#waiting]) done();
  }

  /** Closes the watches and wakes everybody. Close it before the descriptors. */
  close(): void {
    this.#closeWatches();
    this.ring();
  }

  #open(): void {
    for (const fd of this.#fds()) {
      if (this.#watches.has(fd)) continue;
      this.#watches.set(
        fd,
        this.#sys.watchReadable(fd.number, () => this.#called()),
      );
    }
  }

  #called(): void {
    if (this.#waiting.size === 0) this.#closeWatches();
    else this.ring();
  }

  #closeWatches(): void {
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }
}
