import { LITTLE_ENDIAN } from "../../base/host.ts";

// Positions in a ring that the kernel shares are 64-bit counts of bytes; they only grow, and wrap after 2^64.
//
// No BigInt in the hot path: both ends of a ring are at most its size apart (below 2^32), so the low 32 bits are enough
// for distances and for places in the ring. The high bits matter only where a position is written.
//
// Memory order. JavaScript promises one only for shared array buffers, and a mapping is none. What is relied on here is
// narrower than the language and wider than x86: `Atomics.load` and `Atomics.store` of V8 are calls to built-in code,
// which the compiler moves no access across, and that code is the machine's sequentially consistent load and store
// whatever kind of buffer it works on (`mov`/`xchg` on x86-64, `ldar`/`stlr` on arm64, fenced on riscv64). So:
//  - what was written before the kernel moved its position is visible after we loaded that position;
//  - our reads of a record are done before the kernel sees our position behind it;
//  - our position is out before we look again for records, and so the kernel either wakes us or we see its record.
// The last one orders a store before a load: release and acquire alone would not do.

/** A position that this side of the ring moves; the other side only reads it. */
export class OwnPosition {
  /** The low 32 bits, as a signed integer. */
  low: number;
  #high: number;
  readonly #shared: BigInt64Array;
  // The same eight bytes as one BigInt and as two halves. The shared word must be stored at once: the kernel would take
  // a half-moved position for a full ring.
  readonly #value = new BigInt64Array(1);
  readonly #halves = new Int32Array(this.#value.buffer);
  #published = true;

  /** Goes on from the position that is in memory. @param offset - bytes, a multiple of 8. */
  constructor(buffer: ArrayBuffer, offset: number) {
    this.#shared = new BigInt64Array(buffer, offset, 1);
    this.#value[0] = Atomics.load(this.#shared, 0);
    this.low = this.#halves[LOW] as number;
    this.#high = this.#halves[HIGH] as number;
  }

  /** Moves it, for this side alone. @param bytes - less than 2^32. */
  advance(bytes: number): void {
    const before = this.low;
    this.low = (before + bytes) | 0;
    if (this.low >>> 0 < before >>> 0) this.#high = (this.#high + 1) | 0;
    this.#published = false;
  }

  /** Shows it to the other side, with everything that was read and written before. */
  publish(): void {
    if (this.#published) return;
    this.#halves[LOW] = this.low;
    this.#halves[HIGH] = this.#high;
    Atomics.store(this.#shared, 0, this.#value[0] as bigint);
    this.#published = true;
  }

  /** The whole position. */
  get value(): bigint {
    return (BigInt(this.#high >>> 0) << 32n) | BigInt(this.low >>> 0);
  }
}

/** A position that the other side moves. */
export class TheirPosition {
  readonly #shared: BigUint64Array;
  readonly #low: Int32Array;

  /** @param offset - bytes, a multiple of 8. */
  constructor(buffer: ArrayBuffer, offset: number) {
    this.#shared = new BigUint64Array(buffer, offset, 1);
    this.#low = new Int32Array(buffer, offset + LOW * 4, 1);
  }

  /** The low 32 bits now, as a signed integer; what the other side wrote before it moved here is visible afterwards. */
  load(): number {
    return Atomics.load(this.#low, 0);
  }

  /** The whole position now. */
  get value(): bigint {
    return Atomics.load(this.#shared, 0);
  }
}

/**
 * Orders everything before it before everything after it, on this thread and as other processors see it.
 *
 * A sequentially consistent store and load of any one word are that: earlier accesses stay before the store, later ones
 * behind the load, and the two keep their order.
 */
export function fullFence(): void {
  Atomics.store(FENCE, 0, 0);
  Atomics.load(FENCE, 0);
}

const FENCE = new Int32Array(new SharedArrayBuffer(4));
const LOW = LITTLE_ENDIAN ? 0 : 1;
const HIGH = 1 - LOW;
