import { TsbpfError } from "../../base/error.ts";
import type { Layout } from "../../btf/layout/index.ts";
import { PROT_READ, PROT_WRITE } from "../../syscall/constants.ts";
import type { Fd } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { BPF_F_RB_OVERWRITE, BPF_MAP_TYPE_RINGBUF } from "../../uapi/bpf.ts";
import type { BpfMap, KernelOptions } from "../map.ts";
import { pageSize, SharedMemory } from "../shared-memory.ts";
import { Doorbell } from "./doorbell.ts";
import { type LostCounter, readLost } from "./lost.ts";
import { openMap } from "./open-map.ts";
import { EventReader } from "./reader.ts";
import { RingCursor } from "./ring-cursor.ts";

/** Options of {@link RingBuffer.open}. */
export interface RingBufferOptions extends KernelOptions {
  /** Where the programs count the records that did not fit; see {@link lostCounter}. */
  readonly lost?: LostCounter | undefined;
}

/**
 * Called with each record as it lies in the kernel's buffer: `length` bytes of `view` from `offset` on. To return
 * `false` stops.
 */
export type RawVisitor = (view: DataView, offset: number, length: number) => unknown;

/**
 * Reads a ring buffer map (`BPF_MAP_TYPE_RINGBUF`, kernel 5.8): records of all CPUs, in the order in which the programs
 * reserved them. There is room for one reader, which may come after the first records. It keeps the map open by a
 * descriptor of its own.
 *
 * A ring buffer does not count what did not fit: see {@link lostCounter}.
 *
 * @example
 * ```ts
 * using ring = RingBuffer.open(events, Event);
 * for await (const { pid, comm } of ring) console.log(pid, comm);
 * ```
 */
export class RingBuffer<T = Uint8Array> extends EventReader<T> {
  /** Bytes of the buffer: `max_entries` of the map. A record takes 8 bytes besides its own, rounded up to 8. */
  readonly size: number;
  readonly #cursor: RingCursor;
  readonly #lost: LostCounter | undefined;

  private constructor(parts: RingParts, layout: Layout<T> | undefined, lost: LostCounter | undefined) {
    const { what, fd, consumer, producer, cursor, doorbell } = parts;
    super({
      what,
      cursor,
      doorbell,
      layout,
      padding: 0,
      lend: () => producer.lend(),
      free: () => {
        consumer.close();
        producer.close();
        fd.close();
      },
    });
    this.size = parts.size;
    this.#cursor = cursor;
    this.#lost = lost;
  }

  /**
   * Opens a ring buffer map for reading.
   *
   * @param layout - what a record is; `undefined` for bytes. Every record must have its size: read records of several
   * sizes as bytes, or with {@link RingBuffer.drainRaw}.
   * @throws TsbpfError when the map is none, or one in overwrite mode; SyscallError: EMFILE, ENOMEM.
   */
  static open(
    map: BpfMap<"ringbuf">,
    layout?: undefined,
    options?: RingBufferOptions,
  ): RingBuffer<Uint8Array>;
  static open<T>(map: BpfMap<"ringbuf">, layout: Layout<T>, options?: RingBufferOptions): RingBuffer<T>;
  static open<T>(map: BpfMap<"ringbuf">, layout?: Layout<T>, options: RingBufferOptions = {}): RingBuffer<T> {
    return new RingBuffer(openRing(map, options), layout, options.lost);
  }

  /**
   * {@link EventReader.drain} without making anything for a record: the fastest way. A record can be read in place through
   * any layout, `layout.read(view, offset)`, or field by field, `event.fields.pid.read(view, offset)`.
   *
   * The view shows the record only inside the callback, and is read-only: to store to it ends the process.
   *
   * @throws as {@link EventReader.drain}
   */
  drainRaw(callback: RawVisitor, limit: number = Number.POSITIVE_INFINITY): number {
    const cursor = this.#cursor;
    this.lend();
    return this.scan(() => callback(cursor.view, cursor.offset, cursor.length), limit);
  }

  /** Bytes to be read: records with their headers, those too that are reserved and not submitted yet. */
  get available(): number {
    return this.ask(() => this.#cursor.available);
  }

  /** Bytes read since the map was created, by all its readers. */
  get consumerPosition(): bigint {
    return this.ask(() => this.#cursor.consumerPosition);
  }

  /** Bytes reserved since the map was created. */
  get producerPosition(): bigint {
    return this.ask(() => this.#cursor.producerPosition);
  }

  /**
   * How many records the programs counted as lost, since they began to count.
   *
   * @throws TsbpfError when it was opened without `lost`.
   */
  get lost(): number {
    if (this.#lost !== undefined) return readLost(this.#lost);
    throw new TsbpfError(`${this.what} was opened without a counter of lost records`, {
      hint: "A ring buffer does not count them. Let the program do it (lostCounter, countLost), and open it with { lost }.",
    });
  }
}

interface RingParts {
  readonly what: string;
  readonly fd: Fd;
  readonly size: number;
  readonly consumer: SharedMemory;
  readonly producer: SharedMemory;
  readonly cursor: RingCursor;
  readonly doorbell: Doorbell;
}

// The consumer's page is writable; the producer's and the data are not, and the kernel refuses one mapping of both.
function openRing(map: BpfMap<"ringbuf">, { sys = linuxSyscalls() }: KernelOptions): RingParts {
  const what = `ring buffer '${map.def.name}'`;
  const { fd, info } = openMap(sys, map, BPF_MAP_TYPE_RINGBUF, what);
  const size = info.maxEntries;
  const page = pageSize();
  let consumer: SharedMemory | undefined;
  let producer: SharedMemory | undefined;
  try {
    if ((info.flags & BPF_F_RB_OVERWRITE) !== 0) {
      throw new TsbpfError(`${what} is in overwrite mode (BPF_F_RB_OVERWRITE), which is not supported`, {
        hint: "There the kernel overwrites records while they are read. Create the map without that flag.",
      });
    }
    consumer = SharedMemory.map(sys, fd.number, what, {
      length: page,
      prot: PROT_READ | PROT_WRITE,
      offset: 0,
    });
    producer = SharedMemory.map(sys, fd.number, what, {
      length: page + 2 * size,
      prot: PROT_READ,
      offset: page,
    });
    const cursor = new RingCursor({
      what,
      consumer: consumer.buffer,
      producer: producer.buffer,
      dataOffset: page,
      size,
    });
    return { what, fd, size, consumer, producer, cursor, doorbell: new Doorbell(sys, () => [fd]) };
  } catch (error) {
    consumer?.close();
    producer?.close();
    fd.close();
    throw error;
  }
}
