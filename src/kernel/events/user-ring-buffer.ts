import { TsbpfError } from "../../base/error.ts";
import type { Layout } from "../../btf/layout/index.ts";
import { PROT_READ, PROT_WRITE } from "../../syscall/constants.ts";
import { type Fd, FdClosedError } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { BPF_MAP_TYPE_USER_RINGBUF } from "../../uapi/bpf.ts";
import type { BpfMap, KernelOptions } from "../map.ts";
import { pageSize, SharedMemory } from "../shared-memory.ts";
import { openMap } from "./open-map.ts";
import { RingProducer } from "./ring-producer.ts";

/** Room for a record in a {@link UserRingBuffer}. Submit it or discard it: the program sees nothing behind it until then. */
export interface UserRingSlot extends Disposable {
  /** The room, with whatever was in it before: write all of it. Not to be touched after the slot is settled. */
  readonly bytes: Uint8Array;
  /** The same as a view. */
  readonly view: DataView;
  /** Gives the record to the program. @throws TsbpfError when it is settled already. */
  submit(): void;
  /** Has the program skip it. @throws TsbpfError when it is settled already. */
  discard(): void;
  /** Discards it if it is not settled: for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Sends records to programs through a user ring buffer map (`BPF_MAP_TYPE_USER_RINGBUF`, kernel 6.1). A program takes them
 * when it runs, with `bpf_user_ringbuf_drain` and a callback; sending does not wake it. There is room for one sender.
 *
 * It keeps the map by a descriptor of its own. Close it, or declare it with `using`: slots that are not settled are
 * discarded, since the program would stop at them for ever.
 *
 * @typeParam In - what `send` takes.
 * @example
 * ```ts
 * using commands = UserRingBuffer.open(commandsMap, Command);
 * if (!commands.send({ op: 1, pid: 42 })) console.log("full");
 * ```
 */
export class UserRingBuffer<In = Uint8Array> implements Disposable {
  /** What it is, for messages: `user ring buffer 'commands'`. */
  readonly what: string;
  /** Bytes of the buffer: `max_entries` of the map. A record takes 8 bytes besides its own, rounded up to 8. */
  readonly size: number;
  readonly #fd: Fd;
  readonly #consumer: SharedMemory;
  readonly #producer: SharedMemory;
  readonly #ring: RingProducer;
  readonly #layout: Layout<unknown, string, In> | undefined;
  readonly #unsettled = new Set<UserRingSlot>();

  private constructor(parts: UserRingParts, layout: Layout<unknown, string, In> | undefined) {
    this.what = parts.what;
    this.size = parts.size;
    this.#fd = parts.fd;
    this.#consumer = parts.consumer;
    this.#producer = parts.producer;
    this.#ring = parts.ring;
    this.#layout = layout;
  }

  /**
   * Opens a user ring buffer map for sending.
   *
   * @param layout - what `send` takes; `undefined` for bytes.
   * @throws TsbpfError when the map is none; SyscallError: EMFILE, ENOMEM.
   */
  static open(
    map: BpfMap<"user_ringbuf">,
    layout?: undefined,
    options?: KernelOptions,
  ): UserRingBuffer<Uint8Array>;
  static open<In>(
    map: BpfMap<"user_ringbuf">,
    layout: Layout<unknown, string, In>,
    options?: KernelOptions,
  ): UserRingBuffer<In>;
  static open<In>(
    map: BpfMap<"user_ringbuf">,
    layout?: Layout<unknown, string, In>,
    options: KernelOptions = {},
  ): UserRingBuffer<In> {
    return new UserRingBuffer(openUserRing(map, options), layout);
  }

  /**
   * Sends a record; false where the buffer is full now.
   *
   * @throws LayoutError when the value does not fit the layout (nothing is sent); FdClosedError; TsbpfError when the
   * record could never fit.
   */
  send(value: In): boolean {
    const layout = this.#layout;
    const size = layout === undefined ? (value as Uint8Array).length : layout.size;
    const offset = this.#reserve(size);
    if (offset === undefined) return false;
    const { view } = this.#ring;
    let written = false;
    try {
      if (layout === undefined) new Uint8Array(view.buffer, offset, size).set(value as Uint8Array);
      else layout.write(view, offset, value);
      written = true;
    } finally {
      this.#ring.settle(offset, !written);
    }
    return true;
  }

  /**
   * Reserves room for a record of `size` bytes, to be written in place; `undefined` where the buffer is full now. Several
   * slots may be open at once, and settled in any order; the program gets them in the order of reservation.
   *
   * @throws FdClosedError; TsbpfError when so much could never fit.
   */
  reserve(size: number): UserRingSlot | undefined {
    const offset = this.#reserve(size);
    if (offset === undefined) return undefined;
    this.#producer.lend();
    const settle = (discard: boolean): void => {
      if (!this.#unsettled.delete(slot)) {
        throw new TsbpfError(`${this.what}: the slot was submitted or discarded before`);
      }
      this.#ring.settle(offset, discard);
    };
    const slot: UserRingSlot = {
      bytes: new Uint8Array(this.#producer.buffer, offset, size),
      view: new DataView(this.#producer.buffer, offset, size),
      submit: () => settle(false),
      discard: () => settle(true),
      [Symbol.dispose]: () => {
        if (this.#unsettled.has(slot)) settle(true);
      },
    };
    this.#unsettled.add(slot);
    return slot;
  }

  /** Bytes that the program has not taken yet, with headers. */
  get pending(): number {
    this.#checkOpen();
    return this.#ring.pending;
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#fd.closed;
  }

  /** Closes it, and discards what was reserved and not settled. Doing it again is fine. */
  close(): void {
    if (this.#fd.closed) return;
    for (const slot of [...this.#unsettled]) slot.discard();
    this.#consumer.close();
    this.#producer.close();
    this.#fd.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }

  #reserve(size: number): number | undefined {
    this.#checkOpen();
    return this.#ring.reserve(size);
  }

  #checkOpen(): void {
    if (this.#fd.closed) throw new FdClosedError(this.what);
  }
}

interface UserRingParts {
  readonly what: string;
  readonly fd: Fd;
  readonly size: number;
  readonly consumer: SharedMemory;
  readonly producer: SharedMemory;
  readonly ring: RingProducer;
}

// The mirror image of a ring buffer: the consumer's page is read-only, the producer's and the data are writable.
function openUserRing(map: BpfMap<"user_ringbuf">, { sys = linuxSyscalls() }: KernelOptions): UserRingParts {
  const what = `user ring buffer '${map.def.name}'`;
  const { fd, info } = openMap(sys, map, BPF_MAP_TYPE_USER_RINGBUF, what);
  const size = info.maxEntries;
  const page = pageSize();
  let consumer: SharedMemory | undefined;
  let producer: SharedMemory | undefined;
  try {
    consumer = SharedMemory.map(sys, fd.number, what, { length: page, prot: PROT_READ, offset: 0 });
    producer = SharedMemory.map(sys, fd.number, what, {
      length: page + 2 * size,
      prot: PROT_READ | PROT_WRITE,
      offset: page,
    });
    const ring = new RingProducer({
      what,
      consumer: consumer.buffer,
      producer: producer.buffer,
      dataOffset: page,
      size,
    });
    return { what, fd, size, consumer, producer, ring };
  } catch (error) {
    consumer?.close();
    producer?.close();
    fd.close();
    throw error;
  }
}
