import { TsbpfError } from "../../base/error.ts";
import { BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ } from "../../uapi/bpf.ts";
import { OwnPosition, TheirPosition } from "./position.ts";
import type { RingLayout } from "./ring-cursor.ts";

/**
 * Writes the records of a user ring buffer (kernel/bpf/ringbuf.c, `__bpf_user_ringbuf_peek`): the format of a ring
 * buffer, see `RingCursor`, with the parts exchanged. Here we move the producer's position and set BUSY, and the kernel
 * follows with the consumer's position.
 */
export class RingProducer {
  /** All of the producer's memory; offsets are places in it. */
  readonly view: DataView;
  readonly #layout: RingLayout;
  readonly #words: Int32Array;
  readonly #producer: OwnPosition;
  readonly #consumer: TheirPosition;

  constructor(layout: RingLayout) {
    const { consumer, producer, dataOffset } = layout;
    this.#layout = layout;
    this.view = new DataView(producer);
    this.#words = new Int32Array(producer, dataOffset);
    this.#producer = new OwnPosition(producer, 0);
    this.#consumer = new TheirPosition(consumer, 0);
  }

  /**
   * Reserves a record; gives where its bytes begin, or `undefined` where there is no room now.
   *
   * @throws TsbpfError when there never will be.
   */
  reserve(length: number): number | undefined {
    const { what, size, dataOffset } = this.#layout;
    const most = size - BPF_RINGBUF_HDR_SZ;
    if (!Number.isInteger(length) || length < 0 || length > most) {
      throw new TsbpfError(`${what}: ${length} is not a length from 0 to ${most}, which it has room for`);
    }
    const step = (length + BPF_RINGBUF_HDR_SZ + 7) & ~7;
    if (step > size - this.pending) return undefined;
    const at = this.#producer.low & (size - 1);
    this.#words[at >>> 2] = length | BPF_RINGBUF_BUSY_BIT;
    this.#words[(at >>> 2) + 1] = 0;
    this.#producer.advance(step);
    this.#producer.publish(); // with the header before it
    return dataOffset + at + BPF_RINGBUF_HDR_SZ;
  }

  /** Gives the record that begins at `offset` to the kernel, with everything that was written; or has it skipped. */
  settle(offset: number, discard: boolean): void {
    const header = (offset - this.#layout.dataOffset - BPF_RINGBUF_HDR_SZ) >>> 2;
    const length = (this.#words[header] as number) & ~BPF_RINGBUF_BUSY_BIT;
    Atomics.store(this.#words, header, discard ? length | BPF_RINGBUF_DISCARD_BIT : length);
  }

  /** Bytes that the kernel has not moved past. */
  get pending(): number {
    return (this.#producer.low - this.#consumer.load()) >>> 0;
  }
}
