import { TsbpfError } from "../../base/error.ts";
import { LITTLE_ENDIAN } from "../../base/host.ts";
import type { Layout } from "../../btf/layout/index.ts";
import { mapDeleteElem, mapUpdateElem } from "../../syscall/bpf-map.ts";
import { PROT_READ, PROT_WRITE } from "../../syscall/constants.ts";
import { check, SyscallError } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { perfEventEnable, perfEventOpen } from "../../syscall/perf-event.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_MAP_TYPE_PERF_EVENT_ARRAY } from "../../uapi/bpf.ts";
import {
  PERF_COUNT_SW_BPF_OUTPUT,
  PERF_FORMAT_LOST,
  PERF_SAMPLE_RAW,
  PERF_TYPE_SOFTWARE,
} from "../../uapi/perf-event.ts";
import { readCpus } from "../cpus.ts";
import type { BpfMap, KernelOptions } from "../map.ts";
import { explainPermission } from "../privileges.ts";
import { pageSize, SharedMemory } from "../shared-memory.ts";
import { Doorbell } from "./doorbell.ts";
import { openMap } from "./open-map.ts";
import { PerfCursor } from "./perf-cursor.ts";
import { type PerfRing, PerfRingsCursor } from "./perf-rings.ts";
import { EventReader } from "./reader.ts";

/** Options of {@link PerfBuffer.open}. */
export interface PerfBufferOptions extends KernelOptions {
  /** Bytes of the buffer of each CPU, rounded up to a power of two of pages; default 256 KiB. */
  readonly sizePerCpu?: number | undefined;
  /** Whose samples to read; default those of all CPUs that are online. */
  readonly cpus?: readonly number[] | undefined;
  /**
   * Wake the reader after so many samples of a CPU; default 1. What is fewer stays in the buffer, where `drain` and
   * `take` find it: choose more than 1 only for a steady stream.
   */
  readonly wakeupEvents?: number | undefined;
}

/** Called with each sample as it lies in the buffer, and the CPU that it is from. To return `false` stops. */
export type RawSampleVisitor = (view: DataView, offset: number, length: number, cpu: number) => unknown;

/**
 * Reads what programs send with `bpf_perf_event_output` through a perf event array (`BPF_MAP_TYPE_PERF_EVENT_ARRAY`,
 * kernel 4.4): one buffer for each CPU, in which samples keep their order; between CPUs they have none. Where there is a
 * ring buffer (kernel 5.8), {@link RingBuffer} is the better one.
 *
 * It opens a perf event on each CPU and puts it into the map under the CPU's number; what a program sends on another CPU
 * is refused with ENOENT, so {@link PerfBuffer.addOnlineCpus} is to be called when one comes online later. One reader for a
 * map: a second one takes the place of the first.
 *
 * The kernel pads samples so that their data ends at a multiple of 8, less 4. A layout gives the true size; as bytes they
 * have up to 7 more.
 *
 * @example
 * ```ts
 * using samples = PerfBuffer.open(samplesMap, Event, { sizePerCpu: 1 << 20 });
 * for await (const { pid, comm } of samples) console.log(pid, comm);
 * console.log(`${samples.lost} lost`);
 * ```
 */
export class PerfBuffer<T = Uint8Array> extends EventReader<T> {
  readonly #sys: Syscalls;
  readonly #map: Fd;
  readonly #rings: PerfRing[];
  readonly #cursor: PerfRingsCursor;
  readonly #doorbell: Doorbell;
  readonly #settings: RingSettings;
  #lent = false;

  private constructor(sys: Syscalls, map: Fd, settings: RingSettings, layout: Layout<T> | undefined) {
    const rings: PerfRing[] = [];
    const cursor = new PerfRingsCursor(rings);
    const doorbell = new Doorbell(sys, () => rings.map(({ fd }) => fd));
    super({
      what: settings.what,
      cursor,
      doorbell,
      layout,
      padding: 7,
      lend: () => {
        this.#lent = true;
        for (const { memory } of rings) memory.lend();
      },
      free: () => {
        for (const ring of rings) closeRing(sys, map, ring);
        map.close();
      },
    });
    this.#sys = sys;
    this.#map = map;
    this.#rings = rings;
    this.#cursor = cursor;
    this.#doorbell = doorbell;
    this.#settings = settings;
  }

  /**
   * Opens the buffers and puts them into the map.
   *
   * @param layout - what a sample is; `undefined` for bytes.
   * @throws TsbpfError when the map is none, or has no place for a CPU; SyscallError: EPERM or EACCES without CAP_PERFMON,
   * ENODEV for a CPU of `cpus` that is not online, EMFILE, EPERM or ENOMEM where memory may not be locked
   * (kernel.perf_event_mlock_kb).
   */
  static open(map: PerfMap, layout?: undefined, options?: PerfBufferOptions): PerfBuffer<Uint8Array>;
  static open<T>(map: PerfMap, layout: Layout<T>, options?: PerfBufferOptions): PerfBuffer<T>;
  static open<T>(map: PerfMap, layout?: Layout<T>, options: PerfBufferOptions = {}): PerfBuffer<T> {
    const { sys = linuxSyscalls(), cpus, sizePerCpu = 256 * 1024, wakeupEvents = 1 } = options;
    const what = `perf buffer '${map.def.name}'`;
    const page = pageSize();
    if (!(sizePerCpu > 0 && sizePerCpu <= MAX_SIZE)) {
      throw new TsbpfError(`${what}: sizePerCpu is ${sizePerCpu}, which is not from 1 to ${MAX_SIZE}`);
    }
    if (!Number.isInteger(wakeupEvents) || wakeupEvents < 1) {
      throw new TsbpfError(`${what}: wakeupEvents is ${wakeupEvents}, which is not a positive integer`);
    }
    const size = Math.max(page, 2 ** Math.ceil(Math.log2(sizePerCpu)));
    const { fd, info } = openMap(sys, map, BPF_MAP_TYPE_PERF_EVENT_ARRAY, what);
    const buffer = new PerfBuffer(
      sys,
      fd,
      { what, page, size, wakeupEvents, places: info.maxEntries },
      layout,
    );
    try {
      if (cpus === undefined) buffer.addOnlineCpus();
      else for (const cpu of new Set(cpus)) buffer.#add(cpu);
    } catch (error) {
      buffer.close();
      throw error;
    }
    return buffer;
  }

  /**
   * Reads the samples of CPUs, too, that came online since it was opened; gives their numbers. A CPU that goes offline and
   * comes back keeps its buffer.
   *
   * @throws as {@link PerfBuffer.open}
   */
  addOnlineCpus(): readonly number[] {
    const added = this.ask(() => readCpus().online).filter(
      (cpu) => !this.cpus.includes(cpu) && this.#tryAdd(cpu),
    );
    this.#doorbell.ring(); // whoever waits is to wait for these, too
    return added;
  }

  /** The CPUs whose samples it reads. */
  get cpus(): readonly number[] {
    return this.#rings.map(({ cpu }) => cpu);
  }

  /**
   * {@link EventReader.drain} without making anything for a sample, and with the CPU that it is from. The view shows the
   * sample only inside the callback; `length` includes the padding.
   *
   * @throws as {@link EventReader.drain}
   */
  drainRaw(callback: RawSampleVisitor, limit: number = Number.POSITIVE_INFINITY): number {
    const cursor = this.#cursor;
    this.lend();
    return this.scan(() => callback(cursor.view, cursor.offset, cursor.length, cursor.cpu), limit);
  }

  /** Bytes to be read, of all CPUs. */
  get available(): number {
    return this.ask(() => this.#cursor.available);
  }

  /**
   * Samples that the kernel dropped, since the buffer was full, from its opening on. Exact from kernel 6.0 on. Older ones
   * tell it between samples: there it is what was read so far, and losses are missing that no sample followed yet.
   */
  get lost(): number {
    return this.ask(() => this.#rings.reduce((sum, ring) => sum + lostOf(this.#sys, ring), 0));
  }

  /** Adds a CPU of the list of those online; it may have gone since the list was read. */
  #tryAdd(cpu: number): boolean {
    try {
      this.#add(cpu);
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.code === "ENODEV") return false;
      throw error;
    }
  }

  #add(cpu: number): void {
    const ring = openRing(this.#sys, this.#map, this.#settings, cpu);
    if (this.#lent) ring.memory.lend();
    this.#rings.push(ring);
  }
}

/** A map for {@link PerfBuffer}. */
export type PerfMap = BpfMap<"perf_event_array">;

interface RingSettings {
  readonly what: string;
  readonly page: number;
  readonly size: number;
  readonly wakeupEvents: number;
  /** `max_entries` of the map. */
  readonly places: number;
}

/** More than the kernel lets a single buffer have. */
const MAX_SIZE = 2 ** 30;

function openRing(sys: Syscalls, map: Fd, settings: RingSettings, cpu: number): PerfRing {
  const { page, size, places } = settings;
  const what = `${settings.what} of CPU ${cpu}`;
  if (cpu >= places) {
    throw new TsbpfError(`${settings.what} has no place for CPU ${cpu}: the map has ${places} entries`, {
      hint: "Give the map as many entries as there are possible CPUs.",
    });
  }
  const { fd, countsLost } = openEvent(sys, what, settings.wakeupEvents, cpu);
  let memory: SharedMemory | undefined;
  try {
    memory = SharedMemory.map(sys, fd.number, what, {
      length: page + size,
      prot: PROT_READ | PROT_WRITE,
      offset: 0,
    });
    const cursor = new PerfCursor({ what, memory: memory.buffer, dataOffset: page, size });
    perfEventEnable(sys, fd.number);
    mapUpdateElem(sys, map.number, hostU32(cpu), hostU32(fd.number));
    return { cpu, fd, memory, cursor, countsLost };
  } catch (error) {
    memory?.close();
    fd.close();
    throw error;
  }
}

function openEvent(
  sys: Syscalls,
  what: string,
  wakeup_events: number,
  cpu: number,
): { readonly fd: Fd; readonly countsLost: boolean } {
  const attr = {
    type: PERF_TYPE_SOFTWARE,
    config: PERF_COUNT_SW_BPF_OUTPUT,
    sample_period: 1,
    sample_type: PERF_SAMPLE_RAW,
    wakeup_events,
  };
  const open = (read_format: number): Fd =>
    Fd.own(
      sys,
      explainPermission(["CAP_PERFMON"], () =>
        perfEventOpen(sys, { ...attr, read_format }, { pid: -1, cpu }),
      ),
      what,
    );
  try {
    return { fd: open(PERF_FORMAT_LOST), countsLost: true };
  } catch (error) {
    // Before kernel 6.0 that format does not exist.
    if (!(error instanceof SyscallError) || error.code !== "EINVAL") throw error;
    return { fd: open(0), countsLost: false };
  }
}

function closeRing(sys: Syscalls, map: Fd, { cpu, fd, memory }: PerfRing): void {
  try {
    mapDeleteElem(sys, map.number, hostU32(cpu));
  } catch {
    // The kernel removes it with the last descriptor of the map.
  }
  memory.close();
  fd.close();
}

function lostOf(sys: Syscalls, { fd, cursor, countsLost }: PerfRing): number {
  if (!countsLost) return cursor.lost;
  const values = new BigUint64Array(2); // the event's count, then the lost samples
  check(sys.read(fd.number, new Uint8Array(values.buffer)), "read(perf event)", { of: fd.what });
  return Number(values[1]);
}

function hostU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, LITTLE_ENDIAN);
  return bytes;
}
