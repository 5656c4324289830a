import { TsbpfError } from "../base/error.ts";
import type { Field, Infer, InferInput, Layout } from "../btf/layout/index.ts";
import { PROT_READ, PROT_WRITE } from "../syscall/constants.ts";
import { FdClosedError } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { pageSize, SharedMemory } from "./shared-memory.ts";

/** How an array map is mapped. */
export interface MappedArrayOptions<Value> {
  readonly value: Layout<Value>;
  readonly maxEntries: number;
  /** Default false. A frozen map can only be mapped so. */
  readonly readOnly?: boolean;
}

/**
 * The values of an array map in memory that user space, programs and the system call share. There is no lock around a value:
 * a program may be in the middle of writing one. A member of up to 8 bytes is read and written whole.
 */
export class MappedArray<Value> implements Disposable {
  /** Number of values. */
  readonly length: number;
  readonly #what: string;
  readonly #value: Layout<Value>;
  readonly #readOnly: boolean;
  readonly #stride: number;
  readonly #memory: SharedMemory;
  #view: DataView | undefined;

  private constructor(memory: SharedMemory, what: string, options: MappedArrayOptions<Value>) {
    this.length = options.maxEntries;
    this.#what = what;
    this.#value = options.value;
    this.#readOnly = options.readOnly ?? false;
    this.#stride = Math.ceil(options.value.size / 8) * 8;
    this.#memory = memory;
    this.#view = new DataView(memory.buffer);
  }

  /** Maps the memory behind an fd. @throws SyscallError: EPERM, ENOMEM. */
  static map<Value>(
    sys: Syscalls,
    fd: number,
    what: string,
    options: MappedArrayOptions<Value>,
  ): MappedArray<Value> {
    const length = roundUp(options.maxEntries * Math.ceil(options.value.size / 8) * 8, pageSize());
    const prot = options.readOnly === true ? PROT_READ : PROT_READ | PROT_WRITE;
    return new MappedArray(SharedMemory.map(sys, fd, what, { length, prot, offset: 0 }), what, options);
  }

  /** Reads a value. @throws TsbpfError for an index that the array does not have, and when it is closed. */
  get(index: number): Value {
    return this.#value.read(this.#open(), this.#at(index));
  }

  /** Writes a value. @throws TsbpfError as {@link MappedArray.get}, and when it is mapped read-only; LayoutError. */
  set(index: number, value: Value): void {
    const view = this.#writable();
    this.#value.write(view, this.#at(index), value);
  }

  /** Reads one member of a value that is a struct: `layout.fields.packets`. Throws as {@link MappedArray.get}. */
  readField<Of extends Layout>(field: Field<Of>, index = 0): Infer<Of> {
    return field.read(this.#open(), this.#at(index));
  }

  /** Writes one member of a value, and leaves the others alone. Throws as {@link MappedArray.set}. */
  writeField<Of extends Layout>(field: Field<Of>, value: InferInput<Of>, index = 0): void {
    field.write(this.#writable(), this.#at(index), value);
  }

  /**
   * A value as it lies in memory. It may be kept: the memory is unmapped when it is closed and no view is left. To store to
   * a read-only one ends the process.
   */
  view(index = 0): DataView {
    const { buffer } = this.#open();
    this.#memory.lend();
    return new DataView(buffer, this.#at(index), this.#value.size);
  }

  /** Unmaps it. Doing it again is fine. */
  close(): void {
    this.#view = undefined;
    this.#memory.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }

  #open(): DataView {
    if (this.#view === undefined) throw new FdClosedError(`the memory of ${this.#what}`);
    return this.#view;
  }

  #writable(): DataView {
    const view = this.#open();
    // The kernel would end the process for it.
    if (this.#readOnly) throw new TsbpfError(`${this.#what} is mapped read-only`);
    return view;
  }

  #at(index: number): number {
    if (Number.isInteger(index) && index >= 0 && index < this.length) return index * this.#stride;
    throw new TsbpfError(`${this.#what} has no value ${index}`, {
      hint: `Its indexes go from 0 to ${this.length - 1}.`,
    });
  }
}

function roundUp(bytes: number, multiple: number): number {
  return Math.ceil(bytes / multiple) * multiple;
}
