import type { MapDef, MapTypeName } from "../asm/map-def.ts";
import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import type { Layout } from "../btf/layout/index.ts";
import { type MapElement, mapElement, mapFreeze, mapUpdateBatch } from "../syscall/bpf-map.ts";
import { mapGetFdById } from "../syscall/bpf-object.ts";
import { Fd } from "../syscall/fd.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { BPF_F_MMAPABLE } from "../uapi/bpf.ts";
import { ArenaMemory } from "./arena.ts";
import { readCpus } from "./cpus.ts";
import {
  type BatchedMap,
  type BatchMapType,
  type BatchRange,
  deleteBatch,
  type MapBatch,
  readBatch,
  type TakeMapType,
} from "./map-batch.ts";
import { createMap } from "./map-create.ts";
import { explainCreate } from "./map-explain.ts";
import { explainAccess, explainUpdate } from "./map-hints.ts";
import { type Batch, walkMap } from "./map-keys.ts";
import { type FdMapType, holdsFds, type MapOfMapsType, mapTypeName, mapTypeNumber } from "./map-type.ts";
import { isPerCpu, type MapValue, type ValueCodec, valueCodec } from "./map-value.ts";
import { MappedArray } from "./mapped-array.ts";
import { withMemlock } from "./memlock.ts";
import { type MapInfo, readMapInfo } from "./object-info.ts";
import { checkKind, duplicate } from "./object-kind.ts";
import { openPin, pinObject, removePin } from "./pin.ts";
import { explainPermission } from "./privileges.ts";

/** Map types that hold values in an order, without keys. */
export type QueueMapType = "queue" | "stack";

/** Something that owns a descriptor: a map, a program, an open file of `node:fs/promises`. */
export interface OwnsFd {
  readonly fd: number;
}

/** The map that a definition describes. */
export type MapFrom<Def> =
  Def extends MapDef<infer Type, infer Key, infer Value, infer Inner>
    ? BpfMap<Type, Key, Value, Inner>
    : never;

/**
 * What a map takes for a key: what it gives; the map itself where it holds maps; what owns the descriptor, or its number,
 * where it holds programs, sockets, perf events or cgroups.
 */
export type MapInput<Type extends MapTypeName, Value, Inner = unknown> = Type extends MapOfMapsType
  ? MapFrom<Inner>
  : Type extends FdMapType
    ? OwnsFd | Value
    : MapValue<Type, Value>;

/** Options of everything that talks to the kernel. */
export interface KernelOptions {
  /** The system calls to use; default those of this machine. */
  readonly sys?: Syscalls;
}

/**
 * A map in the kernel, owned through its fd: close it, or declare it with `using`. It lives on while a program, a pin or
 * another fd holds it.
 *
 * Keys and values go through the layouts of the definition. A per-CPU map takes and gives arrays with one value for each
 * possible CPU.
 *
 * Where a map holds other objects of the kernel, `set` takes what owns one (a program for a prog array, a map for a map of
 * maps), and `get` gives its id, where the kernel tells it: of a map of maps see {@link BpfMap.openInner}. A prog array is
 * emptied when its last descriptor and pin have gone, whatever programs still use it: keep it open, or pin it.
 *
 * @example
 * ```ts
 * using cpus = BpfMap.create(cpuMapDef(4));
 * cpus.set(0, { qsize: 192, prog: 0 });
 * for (const [cpu, { qsize }] of cpus.entries()) console.log(cpu, qsize);
 * ```
 */
export class BpfMap<Type extends MapTypeName = MapTypeName, Key = unknown, Value = unknown, Inner = unknown> {
  /** The definition that it was created or opened with. */
  readonly def: MapDef<Type, Key, Value, Inner>;
  readonly #fd: Fd;
  readonly #sys: Syscalls;
  /** Values that the kernel copies for a key: one for each possible CPU, or 1. */
  readonly #cpus: number;
  readonly #holdsFds: boolean;
  #buffers: ElementBuffers | undefined;
  #codec: ValueCodec<Type, Value> | undefined;

  private constructor(def: MapDef<Type, Key, Value, Inner>, fd: Fd, sys: Syscalls) {
    this.def = def;
    this.#fd = fd;
    this.#sys = sys;
    this.#holdsFds = holdsFds(def.type);
    this.#cpus = isPerCpu(def.type) ? readCpus().possible.length : 1;
  }

  /**
   * Creates a map.
   *
   * @throws SyscallError: EPERM without CAP_BPF, EINVAL for sizes or flags that the type does not take, E2BIG for too
   * many entries (for a CPU map: more than the kernel's NR_CPUS), ENOMEM; UnsupportedError where the kernel has no such
   * type.
   */
  static create<Type extends MapTypeName, Key, Value, Inner>(
    def: MapDef<Type, Key, Value, Inner>,
    options: KernelOptions = {},
  ): BpfMap<Type, Key, Value, Inner> {
    const sys = withMemlock(options.sys ?? linuxSyscalls());
    const fd = explainPermission(["CAP_BPF"], () =>
      explainCreate(sys, def, () => {
        if (def.inner === undefined) return createMap(sys, def);
        using inner = BpfMap.create(def.inner as MapDef, { sys }); // the kernel notes what it looks like, and lets it go
        return createMap(sys, def, inner.fd);
      }),
    );
    return BpfMap.#own(def, Fd.own(sys, fd, `map '${def.name}'`), sys);
  }

  /**
   * Opens a pinned map.
   *
   * @throws SyscallError: ENOENT; TsbpfError when the map is not the one that the definition describes.
   */
  static open<Type extends MapTypeName, Key, Value, Inner>(
    def: MapDef<Type, Key, Value, Inner>,
    path: string,
    options: KernelOptions = {},
  ): BpfMap<Type, Key, Value, Inner> {
    const { sys = linuxSyscalls() } = options;
    return BpfMap.#adopt(def, openPin(sys, path, "map"), sys);
  }

  /**
   * Opens a map by its id, or gives `undefined` where no map has it (any more). Needs CAP_SYS_ADMIN.
   *
   * @throws TsbpfError when the map is not the one that the definition describes.
   */
  static fromId<Type extends MapTypeName, Key, Value, Inner>(
    def: MapDef<Type, Key, Value, Inner>,
    id: number,
    options: KernelOptions = {},
  ): BpfMap<Type, Key, Value, Inner> | undefined {
    const { sys = linuxSyscalls() } = options;
    const fd = mapGetFdById(sys, id);
    return fd === undefined ? undefined : BpfMap.#adopt(def, Fd.own(sys, fd, `map ${id}`), sys);
  }

  /**
   * Takes a map by a descriptor that came from elsewhere, such as a parent process. It works with a duplicate: the one given
   * stays the caller's.
   *
   * @throws TsbpfError when the map is not the one that the definition describes; SyscallError: EBADF.
   */
  static fromFd<Type extends MapTypeName, Key, Value, Inner>(
    def: MapDef<Type, Key, Value, Inner>,
    fd: number,
    options: KernelOptions = {},
  ): BpfMap<Type, Key, Value, Inner> {
    const { sys = linuxSyscalls() } = options;
    return BpfMap.#adopt(def, duplicate(sys, fd, `descriptor ${fd}`), sys);
  }

  static #adopt<Type extends MapTypeName, Key, Value, Inner>(
    def: MapDef<Type, Key, Value, Inner>,
    fd: Fd,
    sys: Syscalls,
  ): BpfMap<Type, Key, Value, Inner> {
    try {
      checkKind(fd, "map");
      checkShape(def, readMapInfo(sys, fd.number), fd.what);
    } catch (error) {
      fd.close();
      throw error;
    }
    return BpfMap.#own(def, fd, sys);
  }

  static #own<Type extends MapTypeName, Key, Value, Inner>(
    def: MapDef<Type, Key, Value, Inner>,
    fd: Fd,
    sys: Syscalls,
  ): BpfMap<Type, Key, Value, Inner> {
    try {
      return new BpfMap(def, fd, sys);
    } catch (error) {
      fd.close(); // the number of CPUs could not be read
      throw error;
    }
  }

  /** The fd, for calls that this class does not cover. It stays the map's own. */
  get fd(): number {
    return this.#fd.number;
  }

  /** What the kernel tells about it. */
  info(): MapInfo {
    return readMapInfo(this.#sys, this.fd);
  }

  /**
   * The value of a key, or `undefined` where the map has none.
   *
   * @param flags - `BPF_F_LOCK`: hold the lock that is in the value (kernel 5.1).
   * @throws LayoutError when the key does not fit its layout; SyscallError ENOTSUPP for map types that user space cannot
   * read.
   */
  get(key: Key, flags = 0): MapValue<Type, Value> | undefined {
    const { element, valueView } = this.#at(key);
    return this.#lookup(element, flags) ? this.#values.read(valueView, 0) : undefined;
  }

  /**
   * Sets the value of a key.
   *
   * @param flags - `BPF_ANY` (default), `BPF_NOEXIST`, `BPF_EXIST`, `BPF_F_LOCK`.
   * @throws LayoutError when key or value do not fit their layouts; SyscallError with the kernel's errno, and what it
   * means for this type of map.
   */
  set(key: Key, value: MapInput<Type, Value, Inner>, flags = 0): void {
    const { element, valueView } = this.#at(key);
    this.#write(valueView, 0, value);
    explainUpdate(this.def, () => element.update(flags));
  }

  /** Removes a key; false where the map had none. @throws SyscallError: EINVAL where entries cannot go (arrays). */
  delete(key: Key): boolean {
    const { element } = this.#at(key);
    try {
      return element.delete();
    } catch (error) {
      throw explainAccess(this.def, "delete", error);
    }
  }

  /**
   * The value of a key, and removes it, in one step: of several takers one gets it (kernel 5.14). `undefined` where the
   * map had none.
   */
  take(this: BpfMap<TakeMapType & Type, Key, Value, Inner>, key: Key): MapValue<Type, Value> | undefined {
    const { element, valueView } = this.#at(key);
    try {
      return element.lookupAndDelete() ? this.#values.read(valueView, 0) : undefined;
    } catch (error) {
      throw explainAccess(this.def, "take", error);
    }
  }

  /** Whether the map has the key. */
  has(key: Key): boolean {
    return this.#lookup(this.#at(key).element);
  }

  /**
   * The map at a key of a map of maps, for the caller to close; `undefined` where there is none. Needs CAP_SYS_ADMIN, since
   * the kernel gives its id.
   */
  openInner(this: BpfMap<MapOfMapsType & Type, Key, Value, Inner>, key: Key): MapFrom<Inner> | undefined {
    const { element, valueView } = this.#at(key);
    if (!this.#lookup(element)) return undefined;
    const id = valueView.getUint32(0, LITTLE_ENDIAN);
    return BpfMap.fromId(this.def.inner as MapDef, id, { sys: this.#sys }) as MapFrom<Inner> | undefined;
  }

  /**
   * The keys that have an entry, in the kernel's order, while entries come and go: one that is there all the time is given
   * exactly once. Deleting the key at hand is fine. Memory is bounded, see `walkMap`.
   */
  *keys(): Generator<Key, void> {
    const layout = this.#key;
    for (const { keys, count } of this.#walk()) {
      for (let index = 0; index < count; index++) {
        const key = layout.read(keys, index * layout.size);
        if (this.#isEntry(key)) yield key;
      }
    }
  }

  /** The entries, in the kernel's order; an entry that vanishes while walking is left out. See {@link keys}. */
  *entries(): Generator<[Key, MapValue<Type, Value>], void> {
    const layout = this.#key;
    const codec = this.#values;
    for (const { keys, values, count } of this.#walk()) {
      for (let index = 0; index < count; index++) {
        const key = layout.read(keys, index * layout.size);
        const value = values === undefined ? this.get(key) : codec.read(values, index * codec.bytes);
        if (value !== undefined) yield [key, value];
      }
    }
  }

  /** What `for` walks through. */
  [Symbol.iterator](): Generator<[Key, MapValue<Type, Value>], void> {
    return this.entries();
  }

  /**
   * Reads some entries with one system call, from where a batch before ended. Entries that come and go meanwhile may be
   * missed; of a hash map none is given twice.
   *
   * @throws SyscallError EINVAL before the kernel that brought it, see {@link BatchMapType}.
   * @example
   * ```ts
   * let cursor: BatchCursor | undefined;
   * do {
   *   const batch = flows.getBatch({ cursor, count: 500 });
   *   for (const [key, value] of batch.entries) console.log(key, value);
   *   cursor = batch.cursor;
   * } while (cursor !== undefined);
   * ```
   */
  getBatch(
    this: BpfMap<BatchMapType & Type, Key, Value, Inner>,
    range: BatchRange = {},
  ): MapBatch<Key, MapValue<Type, Value>> {
    return this.#read(range, false);
  }

  /** Reads some entries and removes them, bucket by bucket: each entry goes to one taker. See {@link getBatch}. */
  takeBatch(
    this: BpfMap<TakeMapType & Type, Key, Value, Inner>,
    range: BatchRange = {},
  ): MapBatch<Key, MapValue<Type, Value>> {
    return this.#read(range, true);
  }

  /**
   * Sets many entries with one system call.
   *
   * @param flags - As those of {@link set}, but not all types take them all here.
   * @throws SyscallError at the first one that the kernel refuses; those before it are set, `args.done` is their number.
   */
  setBatch(
    this: BpfMap<BatchMapType & Type, Key, Value, Inner>,
    entries: Iterable<readonly [Key, MapInput<Type, Value, Inner>]>,
    flags = 0,
  ): void {
    const list = [...entries];
    const { valueSize } = this.#batched();
    const keys = this.#encodeKeys(list.map(([key]) => key));
    const values = new Uint8Array(list.length * valueSize);
    const view = viewOf(values);
    for (const [index, [, value]] of list.entries()) this.#write(view, index * valueSize, value);
    const attr = { map_fd: this.fd, keys, values, count: list.length, elem_flags: flags };
    explainUpdate(this.def, () => mapUpdateBatch(this.#sys, attr));
  }

  /** Removes many keys with few system calls; gives the number of those that the map had. */
  deleteBatch(
    this: BpfMap<Exclude<BatchMapType, "array" | "percpu_array"> & Type, Key, Value, Inner>,
    keys: Iterable<Key>,
  ): number {
    return deleteBatch(this.#batched(), this.#encodeKeys([...keys]));
  }

  /**
   * Adds a value to a queue, a stack or a Bloom filter.
   *
   * @param flags - `BPF_EXIST` for a full queue or stack to drop its oldest value; a Bloom filter takes none.
   * @throws SyscallError E2BIG when the queue or stack is full.
   */
  push(
    this: BpfMap<(QueueMapType | "bloom_filter") & Type, Key, Value, Inner>,
    value: MapValue<Type, Value>,
    flags = 0,
  ): void {
    const { element, valueView } = this.#keyless();
    this.#values.write(valueView, 0, value);
    explainUpdate(this.def, () => element.update(flags));
  }

  /** Removes the oldest value of a queue or the newest of a stack, and gives it; `undefined` where it is empty. */
  pop(this: BpfMap<QueueMapType & Type, Key, Value, Inner>): MapValue<Type, Value> | undefined {
    const { element, valueView } = this.#keyless();
    return element.lookupAndDelete() ? this.#values.read(valueView, 0) : undefined;
  }

  /** The value that {@link pop} would give next, which stays; `undefined` where it is empty. */
  peek(this: BpfMap<QueueMapType & Type, Key, Value, Inner>): MapValue<Type, Value> | undefined {
    const { element, valueView } = this.#keyless();
    return element.lookup() ? this.#values.read(valueView, 0) : undefined;
  }

  /** Whether a value may have been added to a Bloom filter: `false` is certain, `true` is likely. */
  mayHave(this: BpfMap<"bloom_filter" & Type, Key, Value, Inner>, value: MapValue<Type, Value>): boolean {
    const { element, valueView } = this.#keyless();
    this.#values.write(valueView, 0, value);
    return element.lookup();
  }

  /**
   * The entries of an array map, read and written in memory that is shared with the kernel, without a system call. The map
   * needs the flag `BPF_F_MMAPABLE` (kernel 5.5), and values without a lock. Close it, or declare it with `using`.
   *
   * @throws TsbpfError without the flag; SyscallError: EPERM when the map is frozen, and writing is asked for.
   */
  mapped(
    this: BpfMap<"array" & Type, Key, Value, Inner>,
    options: { readonly readOnly?: boolean } = {},
  ): MappedArray<Value> {
    const { flags, maxEntries, name } = this.def;
    if ((flags & BPF_F_MMAPABLE) === 0) {
      throw new TsbpfError(`map '${name}' cannot be mapped: it was defined without BPF_F_MMAPABLE`, {
        hint: "Give its definition the flag: user space and programs then share its memory.",
      });
    }
    const value = this.def.value ?? this.#lacks("value");
    return MappedArray.map(this.#sys, this.fd, `map '${name}'`, { value, maxEntries, ...options });
  }

  /**
   * The memory of an arena (kernel 6.9): all of its pages, each of which the kernel provides when it is first touched, here
   * or by a program. Processes that share an arena need an address in its definition, which it then has in all of them.
   */
  memory(this: BpfMap<"arena" & Type, Key, Value, Inner>): ArenaMemory {
    const { name, maxEntries: pages, extra } = this.def;
    const address = extra === undefined ? undefined : BigInt(extra);
    return ArenaMemory.map(this.#sys, this.fd, `arena '${name}'`, { pages, address });
  }

  /**
   * Makes the map read-only for system calls, for good; programs may still write (kernel 5.2). For programs it is
   * `BPF_F_RDONLY_PROG`, at creation; with both, the verifier takes its values for constants.
   *
   * @throws SyscallError: EBUSY while the map is mapped writable or being written, EPERM when it is frozen already.
   */
  freeze(): void {
    mapFreeze(this.#sys, this.fd);
  }

  /** Pins the map to a path on a bpffs. @throws SyscallError: EEXIST, ENOENT, EPERM where it is no bpffs. */
  pin(path: string): void {
    pinObject(this.#sys, path, this.fd);
  }

  /**
   * Removes a pin of this map. The map lives on as long as something holds it.
   *
   * @throws TsbpfError when the pin is of another object; SyscallError: ENOENT.
   */
  unpin(path: string): void {
    const { id } = this.info();
    removePin(this.#sys, path, { kind: "map", id }, (fd) => readMapInfo(this.#sys, fd).id);
  }

  /** Closes the fd. Doing it again is fine. */
  close(): void {
    this.#fd.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }

  get #key(): Layout<Key> {
    return this.def.key ?? this.#lacks("key");
  }

  get #values(): ValueCodec<Type, Value> {
    this.#codec ??= valueCodec(this.def, this.def.value ?? this.#lacks("value"), this.#cpus);
    return this.#codec;
  }

  #lookup(element: MapElement, flags = 0): boolean {
    try {
      return element.lookup(flags);
    } catch (error) {
      throw explainAccess(this.def, "read", error);
    }
  }

  #write(view: DataView, offset: number, value: MapInput<Type, Value, Inner>): void {
    const owner = value as Partial<OwnsFd> | null;
    if (this.#holdsFds && typeof owner === "object" && typeof owner?.fd === "number") {
      if (this.def.value?.size === 8) view.setBigUint64(offset, BigInt(owner.fd), LITTLE_ENDIAN);
      else view.setUint32(offset, owner.fd, LITTLE_ENDIAN);
    } else {
      this.#values.write(view, offset, value as MapValue<Type, Value>);
    }
  }

  #lacks(part: "key" | "value"): never {
    throw new TsbpfError(`map '${this.def.name}' (${this.def.type}) has no ${part}s`, {
      hint: `Its definition gives no layout for a ${part}.`,
    });
  }

  /** The buffers that every access of a single entry goes through, with the key in place. */
  #at(key: Key): ElementBuffers {
    const layout = this.#key;
    this.#buffers ??= createBuffers(this.#sys, this.#fd, layout.size, this.#values.bytes);
    layout.write(this.#buffers.keyView, 0, key);
    return this.#buffers;
  }

  /** The buffers for a map that has values and no keys. */
  #keyless(): ElementBuffers {
    this.#buffers ??= createBuffers(this.#sys, this.#fd, 0, this.#values.bytes);
    return this.#buffers;
  }

  #batched(): BatchedMap {
    const sizes = { keySize: this.#key.size, valueSize: this.#values.bytes };
    return { sys: this.#sys, fd: this.fd, maxEntries: this.def.maxEntries, ...sizes };
  }

  #read(range: BatchRange, take: boolean): MapBatch<Key, MapValue<Type, Value>> {
    const { keySize, valueSize, ...map } = this.#batched();
    const { count, keys, values, cursor } = readBatch({ keySize, valueSize, ...map }, range, take);
    const entries = Array.from({ length: count }, (_, index): [Key, MapValue<Type, Value>] => [
      this.#key.read(keys, index * keySize),
      this.#values.read(values, index * valueSize),
    ]);
    return { entries, cursor };
  }

  #encodeKeys(keys: readonly Key[]): Uint8Array {
    const layout = this.#key;
    const bytes = new Uint8Array(keys.length * layout.size);
    const view = viewOf(bytes);
    for (const [index, key] of keys.entries()) layout.write(view, index * layout.size, key);
    return bytes;
  }

  #walk(): Generator<Batch, void> {
    const { type, maxEntries } = this.def;
    const fd = (): number => this.fd;
    const sizes = { keySize: this.#key.size, valueSize: this.#values.bytes };
    return walkMap({ sys: this.#sys, fd, type, maxEntries, ...sizes });
  }

  /** Some maps give every index as a key, whether or not something is there. */
  #isEntry(key: Key): boolean {
    return !SPARSE.includes(this.def.type) || this.has(key);
  }
}

/** A key and a value that system calls are made with again and again, without an allocation. */
interface ElementBuffers {
  readonly element: MapElement;
  readonly keyView: DataView;
  readonly valueView: DataView;
}

function createBuffers(sys: Syscalls, fd: Fd, keyBytes: number, valueBytes: number): ElementBuffers {
  const key = new Uint8Array(keyBytes);
  const value = new Uint8Array(valueBytes);
  return { element: mapElement(sys, fd, key, value), keyView: viewOf(key), valueView: viewOf(value) };
}

/** Map types whose keys are all there, and whose entries are not. */
const SPARSE: readonly MapTypeName[] = [
  "cpumap",
  "devmap",
  "prog_array",
  "array_of_maps",
  "sockmap",
  "xskmap",
  "cgroup_array",
  "perf_event_array",
  "reuseport_sockarray",
];

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Refuses a map whose type or sizes are not those of the definition: reading it would give nonsense. */
function checkShape(def: MapDef, info: MapInfo, what: string): void {
  const wrong = [
    ["type", mapTypeName(info.type), mapTypeName(mapTypeNumber(def.type))],
    ["key size", info.keySize, def.key?.size ?? 0],
    ["value size", info.valueSize, def.value?.size ?? 0],
    ["max_entries", info.maxEntries, def.maxEntries],
  ].filter(([, is, wanted]) => is !== wanted);
  if (wrong.length === 0) return;
  const list = wrong.map(([field, is, wanted]) => `${field} ${is} instead of ${wanted}`).join(", ");
  throw new TsbpfError(`${what} is not the map that '${def.name}' describes: it has ${list}`);
}
