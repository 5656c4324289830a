import { TsbpfError } from "../../base/error.ts";

/**
 * The memory of a ring says something that its writer never says: a record of an impossible length, or more data than
 * fits. Nothing after that place can be read. It means that something other than the kernel wrote to the ring, or a
 * defect; a reader throws it again on each attempt.
 */
export class RingCorruptError extends TsbpfError {
  /** What it is, as in `ring buffer 'events'`. */
  readonly ring: string;

  constructor(ring: string, reason: string) {
    super(`${ring} is corrupt: ${reason}`, {
      hint: "Close it. Is there another reader of the same ring? It has room for one.",
    });
    this.ring = ring;
  }
}
