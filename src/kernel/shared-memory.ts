import { readFileSync } from "node:fs";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { MAP_SHARED } from "../syscall/constants.ts";
import { SyscallError } from "../syscall/errno.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/**
 * Memory shared with the kernel whose views may outlive it.
 *
 * An `ArrayBuffer` over a mapping cannot be detached (Node.js forbids it for memory that it did not allocate), so a
 * view that the caller kept would read unmapped memory and end the process. Therefore memory that was lent is unmapped
 * only when no view of it is left, which the garbage collector tells; until then it is just memory. All other memory
 * is unmapped by `close()` at once.
 */
export class SharedMemory {
  readonly buffer: ArrayBuffer;
  readonly #sys: Syscalls;
  readonly #address: bigint;
  #lent = false;
  #closed = false;

  private constructor(sys: Syscalls, address: bigint, buffer: ArrayBuffer) {
    this.#sys = sys;
    this.#address = address;
    this.buffer = buffer;
  }

  /**
   * Maps `length` bytes of `fd` from `offset` on.
   *
   * @throws SyscallError: EPERM (writable mapping of what the kernel writes), EINVAL, ENOMEM.
   */
  static map(sys: Syscalls, fd: number, what: string, place: SharedMemoryPlace): SharedMemory {
    const { length, prot, offset, near } = place;
    const mapping = sys.mmap(length, prot, MAP_SHARED, fd, offset, near);
    if (typeof mapping === "number") {
      const { hint } = place;
      throw new SyscallError("mmap", mapping, { of: what, length, prot, offset }, { hint });
    }
    return new SharedMemory(sys, mapping.address, mapping.buffer);
  }

  /** Where it is in this process. */
  get address(): bigint {
    return this.#address;
  }

  /** Says that the caller gets views of it from now on. */
  lend(): void {
    this.#lent = true;
  }

  /** Unmaps it, at once or when the last view is gone. Nothing here may touch it any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const sys = this.#sys;
    const address = this.#address;
    const length = this.buffer.byteLength;
    if (this.#lent) unmapLater.register(this.buffer, { sys, address, length });
    else sys.munmap(address, length);
  }
}

/** What to map. */
export interface SharedMemoryPlace {
  /** Bytes, a multiple of the page size. */
  readonly length: number;
  /** `PROT_READ`, or with `PROT_WRITE`. */
  readonly prot: number;
  /** Bytes, a multiple of the page size. */
  readonly offset: number;
  /** Where it has to be, of what the kernel maps in one place only. */
  readonly near?: bigint | undefined;
  /** What a refusal means. */
  readonly hint?: string;
}

/** The page size of this machine, from the auxiliary vector (`AT_PAGESZ`, getauxval(3)). */
export function pageSize(): number {
  const bytes = readFileSync("/proc/self/auxv");
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    const [type, value] = LITTLE_ENDIAN
      ? [bytes.readBigUInt64LE(at), bytes.readBigUInt64LE(at + 8)]
      : [bytes.readBigUInt64BE(at), bytes.readBigUInt64BE(at + 8)];
    if (type === AT_PAGESZ) return Number(value);
  }
  return 4096;
}

const AT_PAGESZ = 6n;

// The registry has to outlive the objects that it watches over, so it belongs to the module.
const unmapLater = new FinalizationRegistry<{ sys: Syscalls; address: bigint; length: number }>(
  ({ sys, address, length }) => {
    sys.munmap(address, length);
  },
);
