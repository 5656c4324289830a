import { LITTLE_ENDIAN } from "../../base/host.ts";
import { PERF_RECORD_LOST, PERF_RECORD_SAMPLE } from "../../uapi/perf-event.ts";
import { perf_event_header, perf_event_mmap_page } from "../../uapi/structs.ts";
import { RingCorruptError } from "./error.ts";
import { OwnPosition, TheirPosition } from "./position.ts";
import type { Cursor } from "./reader.ts";

/** The memory of a perf event's buffer (perf_event_open(2), "MMAP layout"). */
export interface PerfRingLayout {
  /** What it is, for messages: `perf buffer 'events' of CPU 0`. */
  readonly what: string;
  /** A page of `struct perf_event_mmap_page`, then the data. */
  readonly memory: ArrayBuffer;
  /** Bytes of that page. */
  readonly dataOffset: number;
  /** Bytes of the data: a power of two. */
  readonly size: number;
}

/**
 * Walks over the samples in a perf event's buffer.
 *
 * ```text
 *  +----------+----------+----------+  +-------------+-----------------------+
 *  | u32 type | u16 misc | u16 size |  | u32 raw size| the data, and padding |   PERF_RECORD_SAMPLE, PERF_SAMPLE_RAW
 *  +----------+----------+----------+  +-------------+-----------------------+
 *                                      +--------+----------+
 *      size: of all of it              | u64 id | u64 lost |                     PERF_RECORD_LOST
 *                                      +--------+----------+
 * ```
 *
 * Records begin at multiples of 8. One that wraps is copied together; headers never wrap.
 */
export class PerfCursor implements Cursor {
  /** Where the sample is that `next()` moved to: the mapping, or a copy of a sample that wraps. */
  view: DataView;
  /** Where its data begins in `view`. */
  offset = 0;
  /** How many bytes it has, padding of up to 7 bytes at its end included. */
  length = 0;
  /** Bytes that `next()` has moved over. */
  travelled = 0;
  /** What the records of lost samples add up to, so far. */
  lost = 0;
  readonly #layout: PerfRingLayout;
  readonly #whole: DataView;
  readonly #data: Uint8Array;
  readonly #scratch: Uint8Array;
  readonly #scratchView: DataView;
  readonly #tail: OwnPosition;
  readonly #head: TheirPosition;
  /** Bytes from our position on that hold records. */
  #ready = 0;

  constructor(layout: PerfRingLayout) {
    const { memory, dataOffset, size } = layout;
    this.#layout = layout;
    this.#whole = new DataView(memory);
    this.view = this.#whole;
    this.#data = new Uint8Array(memory, dataOffset, size);
    this.#scratch = new Uint8Array(MAX_RECORD);
    this.#scratchView = new DataView(this.#scratch.buffer);
    this.#tail = new OwnPosition(memory, perf_event_mmap_page.data_tail);
    this.#head = new TheirPosition(memory, perf_event_mmap_page.data_head);
  }

  /**
   * Moves to the next sample; false where there is none. Records of other kinds are passed over, those of lost samples
   * counted.
   *
   * @throws RingCorruptError
   */
  next(): boolean {
    for (;;) {
      if (this.#ready === 0 && !this.#look()) return false;
      const at = this.#tail.low & (this.#layout.size - 1);
      const start = this.#layout.dataOffset + at;
      const type = this.#whole.getUint32(start + perf_event_header.type, LITTLE_ENDIAN);
      const size = this.#whole.getUint16(start + perf_event_header.size_, LITTLE_ENDIAN);
      this.#check(size);
      const wraps = at + size > this.#layout.size;
      if (wraps) this.#copyTogether(at, size);
      this.view = wraps ? this.#scratchView : this.#whole;
      const body = (wraps ? 0 : start) + perf_event_header.size;
      this.#ready -= size;
      this.#tail.advance(size);
      this.travelled += size;
      if (type === PERF_RECORD_LOST) this.lost += this.#lostCount(body, size);
      if (type !== PERF_RECORD_SAMPLE) continue;
      this.#sample(body, size - perf_event_header.size);
      return true;
    }
  }

  /**
   * Whether `next()` has a record to look at, of whatever kind. What was read is released.
   *
   * @throws RingCorruptError
   */
  pending(): boolean {
    this.#tail.publish();
    return this.#ready > 0 || this.#look();
  }

  /** Gives the room of everything that `next()` moved past back to the kernel. */
  release(): void {
    this.#tail.publish();
  }

  /** Bytes to be read, with headers. */
  get available(): number {
    return (this.#head.load() - this.#tail.low) >>> 0;
  }

  // The kernel moves its position behind a record only when it is complete: there is nothing like a busy one.
  #look(): boolean {
    this.#tail.publish();
    const { what, size } = this.#layout;
    this.#ready = this.available;
    if (this.#ready > size) {
      const found = this.#ready;
      this.#ready = 0;
      throw new RingCorruptError(what, `${found} bytes are to be read, and it holds ${size}`);
    }
    return this.#ready > 0;
  }

  #check(size: number): void {
    if (size >= perf_event_header.size && size % 8 === 0 && size <= this.#ready) return;
    const left = this.#ready;
    this.#ready = 0;
    throw new RingCorruptError(this.#layout.what, `a record says it has ${size} bytes, and ${left} are left`);
  }

  #sample(body: number, room: number): void {
    if (room < 4) throw new RingCorruptError(this.#layout.what, "a sample without a length");
    const length = this.view.getUint32(body, LITTLE_ENDIAN);
    if (length > room - 4) {
      throw new RingCorruptError(this.#layout.what, `a sample of ${length} bytes in a record of ${room}`);
    }
    this.offset = body + 4;
    this.length = length;
  }

  #lostCount(body: number, size: number): number {
    if (size < perf_event_header.size + 16) {
      throw new RingCorruptError(this.#layout.what, `a record of lost samples has ${size} bytes`);
    }
    const low = this.view.getUint32(body + 8 + (LITTLE_ENDIAN ? 0 : 4), LITTLE_ENDIAN);
    const high = this.view.getUint32(body + 8 + (LITTLE_ENDIAN ? 4 : 0), LITTLE_ENDIAN);
    return high * 0x1_0000_0000 + low;
  }

  #copyTogether(at: number, size: number): void {
    const first = this.#layout.size - at;
    this.#scratch.set(this.#data.subarray(at), 0);
    this.#scratch.set(this.#data.subarray(0, size - first), first);
  }
}

/** The size of a record is a u16. */
const MAX_RECORD = 0x1_0000;
