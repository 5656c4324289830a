import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDONLY } from "../syscall/constants.ts";
import { check } from "../syscall/errno.ts";
import { Fd } from "../syscall/fd.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import type { FdWatch, Syscalls } from "../syscall/syscalls.ts";
import { EAGAIN, EINTR } from "../uapi/errno.ts";
import { findFilesystem } from "./filesystems.ts";
import type { KernelOptions } from "./map.ts";

/** An event of the trace: a line that a program printed with `bpf_trace_printk`, or a tracepoint that was asked for. */
export interface TraceLine {
  /** `bpf_trace_printk`, or the tracepoint's name, such as `xdp_cpumap_enqueue`. */
  readonly event: string;
  /** Name of the task that ran on the core then, cut at 15 characters; `<...>` where the trace does not know it. */
  readonly task: string;
  readonly pid: number;
  /** The core that printed it. */
  readonly cpu: number;
  /** Seconds of the tracing clock. */
  readonly time: number;
  /** What was printed; of a tracepoint its fields, as `name=value` with spaces between. */
  readonly message: string;
  /** The line as `trace_pipe` shows it. */
  readonly raw: string;
}

/** A tracepoint to record beside the printed lines. */
export interface TraceEvent {
  /** System and name, such as `xdp/xdp_cpumap_enqueue`. */
  readonly name: string;
  /** A filter over its fields, such as `map_id == 14`. */
  readonly filter?: string;
}

/** Options of {@link TraceLog.open}. */
export interface TraceLogOptions extends KernelOptions {
  /** Where the tracefs is mounted; default where this process or its caller sees it, as `/sys/kernel/tracing`. */
  readonly tracefs?: string;
}

/**
 * Reads the lines of `bpf_trace_printk` from a tracing instance of its own, so that whoever reads the global
 * `trace_pipe` loses none. Dispose of it: it removes the instance.
 *
 * @example
 * ```ts
 * using log = TraceLog.open();
 * for await (const line of log) console.log(line.message);
 * ```
 */
export class TraceLog {
  /** The instance's name, below `instances` of the tracefs. */
  readonly name: string;
  readonly #directory: string;
  readonly #sys: Syscalls;
  readonly #pipe: Fd;
  readonly #buffer: Uint8Array = new Uint8Array(64 * 1024);
  readonly #decoder = new TextDecoder();
  #rest = "";
  #lost = 0;
  #removed = false;
  /** The watch of an iterator that waits for lines, and what ends its waiting. */
  #waiting: { readonly watch: FdWatch; readonly wake: () => void } | undefined;

  private constructor(name: string, directory: string, pipe: Fd, sys: Syscalls) {
    this.name = name;
    this.#directory = directory;
    this.#pipe = pipe;
    this.#sys = sys;
  }

  /**
   * Makes a tracing instance that records `bpf_trace_printk` from now on.
   *
   * @throws TsbpfError when there is no tracefs, or this process may not make an instance in it.
   */
  static open(options: TraceLogOptions = {}): TraceLog {
    const { sys = linuxSyscalls(), tracefs = findTracefs() } = options;
    const name = makeInstance(`${tracefs}/instances`);
    const directory = `${tracefs}/instances/${name}`;
    try {
      writeFileSync(`${directory}/events/bpf_trace/bpf_trace_printk/enable`, "1");
      const number = check(
        sys.open(`${directory}/trace_pipe`, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0),
        "open(trace_pipe)",
        { instance: name },
      );
      return new TraceLog(name, directory, Fd.own(sys, number, `trace_pipe of ${name}`), sys);
    } catch (error) {
      rmdirSync(directory);
      throw error;
    }
  }

  /**
   * Records a tracepoint as well, from now on.
   *
   * @throws TsbpfError where the kernel has no such tracepoint, or does not take the filter.
   */
  record({ name, filter }: TraceEvent): void {
    try {
      if (filter !== undefined) writeFileSync(`${this.#directory}/events/${name}/filter`, filter);
      writeFileSync(`${this.#directory}/events/${name}/enable`, "1");
    } catch (cause) {
      throw new TsbpfError(`cannot record the tracepoint ${name}`, {
        details: filter === undefined ? "" : `  with the filter ${filter}`,
        cause,
      });
    }
  }

  /** Events that were written over before they were read, so far. The kernel reports them in between the lines. */
  get lost(): number {
    return this.#lost;
  }

  /** The lines that are there now, without waiting; at most about 16 MiB of them at a time. */
  drain(): TraceLine[] {
    const lines: TraceLine[] = [];
    for (let reads = 0; reads < MAX_READS; reads++) {
      const some = this.#readSome();
      if (some === undefined) break;
      lines.push(...some);
    }
    return lines;
  }

  /**
   * The lines as they come, until the log is closed or the signal aborts. Nothing polls while there are none, and lines
   * that nobody asks for stay in the kernel's buffer. One iterator at a time can wait.
   *
   * @throws TsbpfError when another iterator waits already.
   */
  async *lines(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<TraceLine, void> {
    const { signal } = options;
    const onAbort = (): void => this.#waiting?.wake();
    signal?.addEventListener("abort", onAbort);
    try {
      while (signal?.aborted !== true && !this.#pipe.closed) {
        const lines = this.#readSome();
        if (lines === undefined) {
          await this.#readable();
          continue;
        }
        yield* lines;
        // Lines may come as fast as they are read: signals and timers must have their turn all the same.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Resolves when there is something to read, the log is closed, or somebody wakes it. */
  async #readable(): Promise<void> {
    if (this.#waiting !== undefined) {
      throw new TsbpfError(`somebody waits for the lines of ${this.name} already`, {
        hint: "A line is read once: hand it on, or open a log for each reader.",
      });
    }
    // Watched only while waiting: the event loop would spin on lines that are there and not wanted yet.
    await new Promise<void>((resolve) => {
      const watch = this.#sys.watchReadable(this.#pipe.number, resolve);
      this.#waiting = { watch, wake: resolve };
    }).finally(() => this.#stopWaiting());
  }

  #stopWaiting(): void {
    const { watch, wake } = this.#waiting ?? {};
    this.#waiting = undefined;
    watch?.close();
    wake?.();
  }

  /** The lines of one read; `undefined` where nothing is there. */
  #readSome(): TraceLine[] | undefined {
    for (;;) {
      const length = this.#sys.read(this.#pipe.number, this.#buffer);
      if (length === -EINTR) continue;
      if (length === -EAGAIN || length === 0) return undefined;
      check(length, "read(trace_pipe)", { instance: this.name });
      const text = this.#rest + this.#decoder.decode(this.#buffer.subarray(0, length), { stream: true });
      const complete = text.split("\n");
      this.#rest = complete.pop() ?? "";
      this.#lost += complete.reduce((sum, raw) => sum + parseLostEvents(raw), 0);
      return complete.map(parseTraceLine).filter((line) => line !== undefined);
    }
  }

  /** What `for await` walks through. */
  [Symbol.asyncIterator](): AsyncGenerator<TraceLine, void> {
    return this.lines();
  }

  /**
   * Stops recording, ends an iterator that waits, and removes the instance. Doing it again is fine.
   *
   * @throws TsbpfError while somebody else has a file of the instance open; call it again then.
   */
  close(): void {
    this.#stopWaiting();
    this.#pipe.close();
    if (this.#removed) return;
    try {
      rmdirSync(this.#directory);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") {
        throw new TsbpfError(`the tracing instance ${this.name} cannot be removed`, {
          hint: `Somebody has one of its files open (fuser ${this.#directory}/*).`,
          cause,
        });
      }
    }
    this.#removed = true;
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Reads of the pipe in one {@link TraceLog.drain}, lest it never ends where lines come as fast as they are read. */
const MAX_READS = 256;

/**
 * Parses a line of `trace_pipe`: `task-pid [cpu] flags time: event: message`. Gives `undefined` for lines of
 * another shape, such as {@link parseLostEvents | lost events} and the rest of a message with a newline in it.
 */
export function parseTraceLine(raw: string): TraceLine | undefined {
  // A task's name may hold spaces, dashes and brackets, but not the whole of what follows it: it has 15 characters. The
  // message may, so the first match counts.
  const match = /^\s*(.*?\S)-(\d+)\s+(?:\([ \d-]+\)\s+)?\[(\d+)\]\s+\S+\s+(\d+\.\d+): (\w+): (.*)$/.exec(raw);
  if (match === null) return undefined;
  const [, task = "", pid, cpu, time, event = "", message = ""] = match;
  return { event, task, pid: Number(pid), cpu: Number(cpu), time: Number(time), message, raw };
}

/** How many events a line says were lost, as in `CPU:1 [LOST 12 EVENTS]`; 0 of every other line. */
export function parseLostEvents(raw: string): number {
  const [, count] = /^CPU:\d+ \[LOST (\d+) EVENTS\]$/.exec(raw) ?? [];
  return Number(count ?? 0);
}

function findTracefs(): string {
  const found = findFilesystem("tracefs");
  if (found !== undefined) return found;
  throw new TsbpfError("there is no tracefs to read the log from", {
    hint: "Mount it as root: mount -t tracefs tracefs /sys/kernel/tracing",
  });
}

/** Makes an instance with a name that nobody has. */
function makeInstance(instances: string): string {
  for (let count = 0; ; count++) {
    const name = `tsbpf-${process.pid}-${count}`;
    try {
      mkdirSync(`${instances}/${name}`);
      return name;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "EEXIST") continue; // of another log, thread or pid namespace
      throw new TsbpfError(`cannot make a tracing instance in ${instances}`, {
        hint: "It takes root, and a tracefs: mount -t tracefs tracefs /sys/kernel/tracing",
        cause,
      });
    }
  }
}

/**
 * Removes the instances that tsbpf processes left behind when they were killed; gives their names.
 *
 * @param tracefs - where the tracefs is mounted.
 */
export function removeStaleInstances(tracefs: string): readonly string[] {
  return readdirSync(`${tracefs}/instances`).filter((name) => {
    const pid = /^tsbpf-(\d+)-\d+$/.exec(name)?.[1];
    if (pid === undefined || isRunning(pid)) return false;
    try {
      rmdirSync(`${tracefs}/instances/${name}`);
      return true;
    } catch {
      return false; // EBUSY: its process runs in a pid namespace that is out of sight; ENOENT: somebody else was first
    }
  });
}

function isRunning(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").length > 0;
  } catch {
    return false;
  }
}
