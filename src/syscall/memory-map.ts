import { MAP_SHARED } from "./constants.ts";
import { SyscallError } from "./errno.ts";
import { FdClosedError } from "./fd.ts";
import type { Syscalls } from "./syscalls.ts";

/**
 * Memory shared with the kernel: a ring buffer's pages, a map made with `BPF_F_MMAPABLE`.
 *
 * Reading a view of it after `close()` would kill the process (the pages are gone and the `ArrayBuffer` does not know),
 * so take `buffer` afresh where that can happen, and drop every view before closing.
 */
export class MemoryMap {
  /** What is mapped, for messages. */
  readonly what: string;
  /** Length in bytes. */
  readonly length: number;
  readonly #sys: Syscalls;
  readonly #address: bigint;
  #buffer: ArrayBuffer | undefined;

  private constructor(sys: Syscalls, what: string, address: bigint, buffer: ArrayBuffer) {
    this.what = what;
    this.length = buffer.byteLength;
    this.#sys = sys;
    this.#address = address;
    this.#buffer = buffer;
  }

  /**
   * Maps `length` bytes of `fd` from `offset` on; both are multiples of the page size.
   *
   * @param prot - `PROT_READ`, or with `PROT_WRITE`. Storing to a read-only mapping kills the process.
   * @throws `SyscallError`: EPERM (writable mapping of a read-only or frozen object), EINVAL, ENODEV.
   */
  static open(sys: Syscalls, fd: number, what: string, length: number, prot: number, offset = 0): MemoryMap {
    const mapping = sys.mmap(length, prot, MAP_SHARED, fd, offset);
    if (typeof mapping === "number")
      throw new SyscallError("mmap", mapping, { of: what, length, prot, offset });
    return new MemoryMap(sys, what, mapping.address, mapping.buffer);
  }

  /** The memory. @throws {@link FdClosedError} after `close()`. */
  get buffer(): ArrayBuffer {
    if (this.#buffer === undefined) throw new FdClosedError(this.what);
    return this.#buffer;
  }

  /** Unmaps it; doing it again is fine. */
  close(): void {
    if (this.#buffer === undefined) return;
    this.#buffer = undefined;
    this.#sys.munmap(this.#address, this.length);
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }
}
