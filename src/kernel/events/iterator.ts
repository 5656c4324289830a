import { setImmediate } from "node:timers/promises";

/** Says that there is nothing to take. */
export const NOTHING: unique symbol = Symbol("nothing");

/** How to make an {@link EventIterator}. */
export interface EventIteration<V> {
  readonly take: () => V | typeof NOTHING;
  readonly isClosed: () => boolean;
  readonly readable: (signal: AbortSignal) => Promise<boolean>;
  readonly signal: AbortSignal | undefined;
  /** Steps after which the event loop gets its turn, although there is more to take. */
  readonly burst: number;
}

/**
 * The async iterator of readers. Written out, since an async generator costs twice as much for each record, and
 * makes `return()` wait for the record that it is to do without.
 */
export class EventIterator<V> implements AsyncIterableIterator<V> {
  readonly #on: EventIteration<V>;
  readonly #stop = new AbortController();
  readonly #onAbort = (): void => this.#stop.abort();
  /** The last call of `next()` that could not be answered at once. */
  #last: Promise<IteratorResult<V>> | undefined;
  #steps = 0;

  constructor(on: EventIteration<V>) {
    this.#on = on;
    if (on.signal?.aborted === true) this.#stop.abort();
    else on.signal?.addEventListener("abort", this.#onAbort);
  }

  next(): Promise<IteratorResult<V>> {
    if (this.#last === undefined && this.#steps < this.#on.burst) {
      try {
        if (this.#isOver()) return Promise.resolve(this.#end());
        const value = this.#on.take();
        if (value !== NOTHING) {
          this.#steps++;
          return Promise.resolve({ done: false, value });
        }
      } catch (error) {
        this.#end();
        return Promise.reject(error);
      }
    }
    const last = this.#last === undefined ? this.#wait() : this.#last.then(() => this.#wait());
    this.#last = last;
    const clear = (): void => {
      if (this.#last === last) this.#last = undefined;
    };
    last.then(clear, clear);
    return last;
  }

  return(): Promise<IteratorResult<V>> {
    return Promise.resolve(this.#end());
  }

  /** What `for await` walks through. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  async #wait(): Promise<IteratorResult<V>> {
    try {
      // Records may come as fast as they are taken: signals and timers must have their turn all the same.
      if (this.#steps >= this.#on.burst) await setImmediate();
      for (;;) {
        if (this.#isOver()) return this.#end();
        const value = this.#on.take();
        if (value !== NOTHING) {
          this.#steps = 1;
          return { done: false, value };
        }
        await this.#on.readable(this.#stop.signal);
      }
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #isOver(): boolean {
    return this.#stop.signal.aborted || this.#on.isClosed();
  }

  #end(): IteratorResult<V> {
    this.#on.signal?.removeEventListener("abort", this.#onAbort);
    this.#stop.abort();
    return { done: true, value: undefined };
  }
}
