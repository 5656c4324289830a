import { setTimeout } from "node:timers/promises";
import type { Doorbell } from "./doorbell.ts";

/** What waiting needs from a reader. */
export interface Waitable {
  readonly doorbell: Doorbell;
  isClosed(): boolean;
  /** Whether there is a record. What was read before is released. */
  isPending(): boolean;
}

/** Waits for a record: true when there is one, false when the signal aborted or the reader was closed. */
export async function waitReadable(reader: Waitable, signal: AbortSignal | undefined): Promise<boolean> {
  for (let fruitless = 0; ; fruitless++) {
    // A ring buffer is readable, for epoll, also while its next record is still being written. That takes as long as
    // the program runs, normally less than the way here. If it takes longer, look less and less often.
    if (fruitless > WAKES) await setTimeout(Math.min(2 ** (fruitless - WAKES), LONGEST_PAUSE_MS));
    if (reader.isClosed() || signal?.aborted === true) return false;
    if (reader.isPending()) return true;
    await reader.doorbell.wait(signal, () => reader.isPending());
  }
}

const WAKES = 4;
const LONGEST_PAUSE_MS = 16;
