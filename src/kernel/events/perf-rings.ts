import type { Fd } from "../../syscall/fd.ts";
import type { SharedMemory } from "../shared-memory.ts";
import type { PerfCursor } from "./perf-cursor.ts";
import type { Cursor } from "./reader.ts";

/** The buffer of one CPU. */
export interface PerfRing {
  readonly cpu: number;
  readonly fd: Fd;
  readonly memory: SharedMemory;
  readonly cursor: PerfCursor;
  /** Whether the kernel counts the lost samples for read(2). */
  readonly countsLost: boolean;
}

/** One cursor over the buffers of all CPUs, which have their turns. `rings` may grow meanwhile. */
export class PerfRingsCursor implements Cursor {
  travelled = 0;
  readonly #rings: readonly Pick<PerfRing, "cpu" | "cursor">[];
  #current = 0;
  /** Samples given of the current ring, in this turn. */
  #turn = 0;

  constructor(rings: readonly Pick<PerfRing, "cpu" | "cursor">[]) {
    this.#rings = rings;
  }

  next(): boolean {
    for (let tries = 0; tries <= this.#rings.length; tries++) {
      const cursor = this.#rings[this.#current]?.cursor;
      if (cursor !== undefined && this.#turn < SAMPLES_PER_TURN) {
        const before = cursor.travelled;
        const found = cursor.next();
        this.travelled += cursor.travelled - before;
        this.#turn++;
        if (found) return true;
      }
      this.#turn = 0;
      this.#current = (this.#current + 1) % Math.max(1, this.#rings.length);
    }
    return false;
  }

  pending(): boolean {
    return this.#rings.some(({ cursor }) => cursor.pending());
  }

  release(): void {
    for (const { cursor } of this.#rings) cursor.release();
  }

  get view(): DataView {
    return this.#at.cursor.view;
  }

  get offset(): number {
    return this.#at.cursor.offset;
  }

  get length(): number {
    return this.#at.cursor.length;
  }

  /** The CPU of the sample at hand. */
  get cpu(): number {
    return this.#at.cpu;
  }

  get available(): number {
    return this.#rings.reduce((sum, { cursor }) => sum + cursor.available, 0);
  }

  get #at(): Pick<PerfRing, "cpu" | "cursor"> {
    return this.#rings[this.#current] as PerfRing;
  }
}

const SAMPLES_PER_TURN = 64;
