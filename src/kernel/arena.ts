import { PROT_READ, PROT_WRITE } from "../syscall/constants.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { pageSize, SharedMemory } from "./shared-memory.ts";

/**
 * The memory of an arena. Programs see the same bytes; they take pages with `bpf_arena_alloc_pages`, or find those that were
 * touched here. Pointers in an arena are user space addresses, whose upper half is that of {@link ArenaMemory.address}.
 */
export class ArenaMemory implements Disposable {
  /** Its bytes. May be kept: they are unmapped when it is closed and no view is left. */
  readonly bytes: Uint8Array;
  readonly #memory: SharedMemory;

  private constructor(memory: SharedMemory) {
    this.#memory = memory;
    this.bytes = new Uint8Array(memory.buffer);
    memory.lend();
  }

  /**
   * Maps an arena of so many pages.
   *
   * @param address - the `map_extra` that it was made with, if any.
   * @throws SyscallError: EINVAL when it is mapped already, somewhere else; EBUSY where its address is taken.
   */
  static map(
    sys: Syscalls,
    fd: number,
    what: string,
    { pages, address }: { readonly pages: number; readonly address: bigint | undefined },
  ): ArenaMemory {
    const length = pages * pageSize();
    const place = { length, prot: PROT_READ | PROT_WRITE, offset: 0, near: address };
    return new ArenaMemory(SharedMemory.map(sys, fd, what, { ...place, hint: ONE_PLACE }));
  }

  /** Where it is in this process's address space, which is where programs see it. */
  get address(): bigint {
    return this.#memory.address;
  }

  /** Gives the memory back. Doing it again is fine. */
  close(): void {
    this.#memory.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }
}

const ONE_PLACE =
  "An arena has one address, in every process: that of its definition (`extra`), or else where it was mapped first.";
