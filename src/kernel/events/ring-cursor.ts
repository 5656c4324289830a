import { BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ } from "../../uapi/bpf.ts";
import { RingCorruptError } from "./error.ts";
import { fullFence, OwnPosition, TheirPosition } from "./position.ts";
import type { Cursor } from "./reader.ts";

/** The memory of a BPF ring buffer, as the kernel lays it out. */
export interface RingLayout {
  /** What it is, for messages: `ring buffer 'events'`. */
  readonly what: string;
  /** Begins with the consumer's position. */
  readonly consumer: ArrayBuffer;
  /** Begins with the producer's position; from `dataOffset` on the data, twice in a row. */
  readonly producer: ArrayBuffer;
  /** Bytes of the producer's page. */
  readonly dataOffset: number;
  /** Bytes of the data, once: a power of two. */
  readonly size: number;
}

/**
 * Walks over the records of a BPF ring buffer (Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c).
 *
 * ```text
 *   31 30 29                    0   31            0
 *  +--+--+-----------------------+ +---------------+ +---------------------+
 *  |B |D |        length         | |  page offset  | | length bytes, and 0 |
 *  +--+--+-----------------------+ +---------------+ | to 7 of padding     |
 *   BUSY: reserved, not submitted   the kernel's own +---------------------+
 *   DISCARD: to be skipped
 * ```
 *
 * Every record begins at a multiple of 8. The data is mapped twice in a row, so none wraps. Whatever the memory holds,
 * each call ends, and gives only ranges inside the data.
 */
export class RingCursor implements Cursor {
  /** All of `producer`; `offset` and `length` are places in it. */
  readonly view: DataView;
  /** Where the record begins that `next()` moved to. */
  offset = 0;
  /** How many bytes it has. */
  length = 0;
  /** Bytes that `next()` has moved over. */
  travelled = 0;
  readonly #layout: RingLayout;
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #consumer: OwnPosition;
  readonly #producer: TheirPosition;
  /** Bytes from our position on that hold committed records, seen as such. */
  #ready = 0;

  constructor(layout: RingLayout) {
    const { consumer, producer, dataOffset, size } = layout;
    this.#layout = layout;
    this.#mask = size - 1;
    this.view = new DataView(producer);
    this.#words = new Int32Array(producer, dataOffset);
    this.#consumer = new OwnPosition(consumer, 0);
    this.#producer = new TheirPosition(producer, 0);
  }

  /**
   * Moves to the next record that is committed; false where none is. Discarded ones are passed over. Producers get the
   * room of the one before only at `release()`, or some time later.
   *
   * @throws RingCorruptError
   */
  next(): boolean {
    for (;;) {
      if (this.#ready === 0 && !this.#look()) return false;
      const at = this.#consumer.low & this.#mask;
      const header = this.#words[at >>> 2] as number;
      const length = header & LENGTH;
      const step = stepOf(length);
      this.#ready -= step;
      this.#consumer.advance(step);
      this.travelled += step;
      if ((header & BPF_RINGBUF_DISCARD_BIT) !== 0) continue;
      this.offset = this.#layout.dataOffset + at + BPF_RINGBUF_HDR_SZ;
      this.length = length;
      return true;
    }
  }

  /**
   * Whether `next()` has a record to look at, be it a discarded one. What was read is released.
   *
   * @throws RingCorruptError
   */
  pending(): boolean {
    this.#consumer.publish();
    return this.#ready > 0 || this.#look();
  }

  /** Gives the room of everything that `next()` moved past back to the producers. */
  release(): void {
    this.#consumer.publish();
  }

  /** Bytes between the two positions: records with their headers, those that are not committed yet too. */
  get available(): number {
    return (this.#producer.load() - this.#consumer.low) >>> 0;
  }

  get consumerPosition(): bigint {
    return this.#consumer.value;
  }

  get producerPosition(): bigint {
    return this.#producer.value;
  }

  /**
   * Finds out how far records are committed. One fence for all of them is much cheaper than an atomic load of each
   * header: the headers are read, then the fence orders these reads before those of the data. A header does not change
   * any more once it is committed, until its room is released.
   */
  #look(): boolean {
    this.#consumer.publish();
    const { what, size } = this.#layout;
    const available = this.available;
    if (available > size) {
      throw new RingCorruptError(what, `${available} bytes are to be read, and it holds ${size}`);
    }
    const end = Math.min(available, LOOK_AHEAD);
    let seen = 0;
    while (seen < end) {
      const header = this.#words[((this.#consumer.low + seen) & this.#mask) >>> 2] as number;
      if ((header & BPF_RINGBUF_BUSY_BIT) !== 0) break;
      const step = stepOf(header & LENGTH);
      if (step > available - seen) {
        // What precedes it is sound, and is given first.
        if (seen > 0) break;
        const left = available - seen;
        throw new RingCorruptError(
          what,
          `a record of ${header & LENGTH} bytes begins where only ${left} are left, its header included`,
        );
      }
      seen += step;
    }
    if (seen === 0) return false;
    fullFence();
    this.#ready = seen;
    return true;
  }
}

const LENGTH = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

/** Bytes of headers and data to look at in one go: few enough to be in the cache when they are read. */
const LOOK_AHEAD = 64 * 1024;

/** Bytes from a record of this length to the next one. */
function stepOf(length: number): number {
  return (length + BPF_RINGBUF_HDR_SZ + 7) & ~7;
}
