import { TsbpfError } from "../../base/error.ts";
import { LayoutError } from "../../btf/layout/error.ts";
import type { Layout } from "../../btf/layout/index.ts";
import { FdClosedError } from "../../syscall/fd.ts";
import type { Doorbell } from "./doorbell.ts";
import { EventIterator, NOTHING } from "./iterator.ts";
import { waitReadable } from "./wait.ts";

/** Options of waiting for records. */
export interface WaitOptions {
  /** Ends the waiting and the loop, without an error. Records that were not taken stay in the buffer. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link EventReader.batches}. */
export interface BatchOptions extends WaitOptions {
  /** Most records in one batch; default 1024. */
  readonly limit?: number | undefined;
}

/**
 * What reads events: a {@link RingBuffer} or a {@link PerfBuffer}. Records stay in the kernel's buffer until they are
 * taken; when it is full the kernel refuses new ones, and tells the program (backpressure).
 *
 * Close it, or declare it with `using`. After that everything but `close()` throws `FdClosedError`. A view that was kept
 * from a callback is still memory then, with whatever was there last.
 *
 * @typeParam T - a record, decoded through the layout that the reader was opened with; bytes without one.
 */
export abstract class EventReader<T> implements AsyncIterable<T>, Disposable {
  /** What it reads, for messages: `ring buffer 'events'`. */
  readonly what: string;
  readonly #parts: ReaderParts<T>;
  readonly #cursor: Cursor;
  #draining = false;
  #closed = false;

  protected constructor(parts: ReaderParts<T>) {
    this.what = parts.what;
    this.#parts = parts;
    this.#cursor = parts.cursor;
  }

  /**
   * Calls back with each record that is there now, without waiting, and gives how many that were. It does not go on for
   * ever beside a fast producer: it ends at what was there when it began, or after `limit` records.
   *
   * Without a layout a record is a view of the kernel's buffer, **valid only inside the callback**: afterwards other
   * records overwrite it. Copy it to keep it (`bytes.slice()`). Do not store to it: the memory of a ring buffer is
   * read-only, and storing ends the process.
   *
   * A callback that returns `false` stops it. The record at hand counts as taken, also when the callback throws.
   *
   * @throws whatever the callback throws; LayoutError when a record has not the size of the layout; FdClosedError;
   * RingCorruptError; TsbpfError inside of the callback of a drain.
   */
  drain(callback: (record: T) => unknown, limit: number = Number.POSITIVE_INFINITY): number {
    const cursor = this.#cursor;
    const { layout } = this.#parts;
    if (layout !== undefined) return this.scan(() => callback(this.#decode(layout)), limit);
    this.#parts.lend();
    return this.scan(() => callback(bytesAt(cursor) as T), limit);
  }

  /**
   * Takes the records that are there now, without waiting, at most `limit`. They are the caller's own.
   *
   * @throws as {@link EventReader.drain}
   */
  take(limit: number): T[] {
    const taken: T[] = [];
    this.scan(() => taken.push(this.#own()), limit);
    return taken;
  }

  /**
   * Waits for a record without taking it: true when there is something to take, false when the signal aborted or the
   * reader was closed. Nothing polls meanwhile.
   */
  async readable(options: WaitOptions = {}): Promise<boolean> {
    this.#checkOpen();
    return this.#wait(options.signal);
  }

  /**
   * The records as they come, until the reader is closed, the signal aborts, or the loop is left. Each is taken from the
   * buffer when the loop asks for it, and is the loop's own.
   *
   * @throws FdClosedError when the reader is closed already. A record that is not of the layout makes the loop throw.
   */
  records(options: WaitOptions = {}): AsyncIterableIterator<T> {
    return this.#iterate(options.signal, RECORDS_PER_TURN, () => this.#takeOne());
  }

  /**
   * Like {@link EventReader.records}, with the records that are there at a time in one array, never an empty one. A loop
   * over batches costs a fraction per record.
   */
  batches(options: BatchOptions = {}): AsyncIterableIterator<T[]> {
    const { limit = 1024 } = options;
    return this.#iterate(options.signal, 1, () => {
      const taken = this.take(limit);
      return taken.length === 0 ? NOTHING : taken;
    });
  }

  /** {@link EventReader.records} without options. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this.records();
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Closes it; loops over it end. Doing it again is fine. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.doorbell.close();
    if (!this.#draining) this.#parts.free();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Moves over the records that are there now, with the cursor at each. What was visited is released at the end. */
  protected scan(visit: () => unknown, limit: number): number {
    const cursor = this.#cursor;
    this.#enter();
    let count = 0;
    try {
      const end = cursor.travelled + cursor.available;
      while (count < limit && cursor.travelled < end && cursor.next()) {
        count++;
        if (visit() === false || this.#closed) break;
      }
    } finally {
      this.#leave();
    }
    return count;
  }

  /** Says that the caller gets views of the memory. */
  protected lend(): void {
    this.#checkOpen();
    this.#parts.lend();
  }

  /** Runs a question to the memory or the kernel. @throws FdClosedError */
  protected ask<Answer>(question: () => Answer): Answer {
    this.#checkOpen();
    return question();
  }

  #takeOne(): T | typeof NOTHING {
    this.#enter();
    try {
      return this.#cursor.next() ? this.#own() : NOTHING;
    } finally {
      this.#leave();
    }
  }

  /** The record at the cursor, decoded or copied. */
  #own(): T {
    const { layout } = this.#parts;
    return layout === undefined ? (bytesAt(this.#cursor).slice() as T) : this.#decode(layout);
  }

  #decode(layout: Layout<T>): T {
    const { view, offset, length } = this.#cursor;
    if (length < layout.size || length > layout.size + this.#parts.padding) {
      throw new LayoutError(layout.cName, `${this.what} gave ${length} bytes, and it has ${layout.size}`, {
        hint: "The program and the reader disagree about the record. Records of several sizes are read as bytes.",
      });
    }
    return layout.read(view, offset);
  }

  #enter(): void {
    this.#checkOpen();
    if (!this.#draining) {
      this.#draining = true;
      return;
    }
    throw new TsbpfError(`${this.what} is being drained, and is asked for more from inside of the callback`, {
      hint: "It would overwrite the record at hand. Take what follows after the callback has returned.",
    });
  }

  #leave(): void {
    this.#draining = false;
    this.#cursor.release();
    if (this.#closed) this.#parts.free();
  }

  #checkOpen(): void {
    if (this.#closed) throw new FdClosedError(this.what);
  }

  #wait(signal: AbortSignal | undefined): Promise<boolean> {
    const isPending = (): boolean => {
      this.#enter();
      try {
        return this.#cursor.pending();
      } finally {
        this.#leave();
      }
    };
    return waitReadable({ doorbell: this.#parts.doorbell, isClosed: () => this.#closed, isPending }, signal);
  }

  #iterate<V>(
    signal: AbortSignal | undefined,
    burst: number,
    take: () => V | typeof NOTHING,
  ): AsyncIterableIterator<V> {
    this.#checkOpen();
    return new EventIterator<V>({
      take,
      isClosed: () => this.#closed,
      readable: (stop) => this.#wait(stop),
      signal,
      burst,
    });
  }
}

/** A place that moves over records. */
export interface Cursor {
  /** Where the record at hand is. */
  readonly view: DataView;
  readonly offset: number;
  readonly length: number;
  /** Bytes that it has moved over. */
  readonly travelled: number;
  /** Bytes that it could move over now, if all was committed. */
  readonly available: number;
  /** Moves to the next record; false where there is none. */
  next(): boolean;
  /** Whether there is a record to move to. Releases what was read. */
  pending(): boolean;
  /** Gives back the room of what was read. */
  release(): void;
}

/** What an {@link EventReader} is made of. */
export interface ReaderParts<T> {
  readonly what: string;
  readonly cursor: Cursor;
  readonly doorbell: Doorbell;
  readonly layout: Layout<T> | undefined;
  /** Bytes that a record may have beyond its layout. */
  readonly padding: number;
  /** Called before views of the memory are handed out. */
  readonly lend: () => void;
  /** Called once, when it is closed and nothing moves over it. */
  readonly free: () => void;
}

/** Steps of a loop after which timers and signals get their turn, although there are more records. */
const RECORDS_PER_TURN = 1024;

function bytesAt({ view, offset, length }: Cursor): Uint8Array {
  return new Uint8Array(view.buffer, offset, length);
}
