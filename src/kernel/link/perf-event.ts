import { TsbpfError } from "../../base/error.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { perf_hw_id, perf_sw_ids, perf_type_id } from "../../uapi/perf-event.ts";
import { readCpus } from "../cpus.ts";
import type { BpfProgram } from "../program.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { openPerfLink } from "./perf-link.ts";
import type { CookieOptions } from "./tracepoint.ts";

/** A counter of the kernel: its name in lower case without `PERF_COUNT_SW_`, such as `cpu_clock`, `page_faults`. */
export type SoftwareCounter = CounterName<keyof typeof perf_sw_ids, "PERF_COUNT_SW_">;

/** A counter of the processor: its name in lower case without `PERF_COUNT_HW_`, such as `cpu_cycles`, `cache_misses`. */
export type HardwareCounter = CounterName<keyof typeof perf_hw_id, "PERF_COUNT_HW_">;

/** What to count. */
export type PerfCounter =
  | { readonly software: SoftwareCounter }
  | { readonly hardware: HardwareCounter }
  /** `PERF_TYPE_*` or the number of a PMU, and what it calls `config`. */
  | { readonly type: number; readonly config: number | bigint };

/** Options of {@link attachPerfEvent}. */
export interface AttachPerfEventOptions extends CookieOptions {
  /** Run the program so many times a second, as the kernel can. Either this or `period`. */
  readonly frequency?: number;
  /** Run the program once for so many counts. */
  readonly period?: number | bigint;
  /** Only on this CPU; default any, which takes a `pid`. */
  readonly cpu?: number;
  /** Only this thread, by its id; default every thread on the `cpu`. */
  readonly pid?: number;
}

/**
 * Attaches a program of type `perf_event` to a counter: it runs as often as the counter overflows, in the interrupt, on
 * whatever runs then. One event counts on one CPU or for one thread; see {@link attachPerfEventOnEachCpu}.
 *
 * @throws UnsupportedError where this machine lacks the counter, as virtual machines lack those of the processor; TsbpfError.
 * @example
 * ```ts
 * using link = attachPerfEvent(prog, { software: "cpu_clock" }, { frequency: 99, cpu: 0 });
 * ```
 */
export function attachPerfEvent(
  program: BpfProgram,
  counter: PerfCounter,
  options: AttachPerfEventOptions,
): Link {
  const { sys = linuxSyscalls(), frequency, period, cpu = -1, pid = -1, cookie } = options;
  if ((frequency === undefined) === (period === undefined)) {
    throw new TsbpfError("a perf event takes either a frequency or a period");
  }
  if (cpu === -1 && pid === -1) {
    throw new TsbpfError("a perf event counts on one CPU, for one thread, or both", {
      hint: "Give cpu or pid; attachPerfEventOnEachCpu covers all CPUs.",
    });
  }
  const { type, config, name } = encodeCounter(counter);
  return attempt(
    {
      what: `attach '${program.name}' to ${name}`,
      feature: {
        feature: `counter ${name}`,
        needs: "hardware that counts it (virtual machines often have none)",
        lacking: (code) => code === "ENOENT" || code === "ENODEV" || code === "EOPNOTSUPP",
        instead: "{ software: 'cpu_clock' } samples anywhere.",
      },
      hints: {
        EINVAL:
          "It takes a program of type perf_event, and a frequency below kernel.perf_event_max_sample_rate.",
        ESRCH: `There is no thread ${pid}.`,
      },
    },
    () =>
      openPerfLink(sys, program, name, {
        event: { type, config, sample_freq: frequency, sample_period: period },
        target: { pid, cpu },
        cookie,
        facts: { type: "event", perfType: type, config: BigInt(config), cookie: BigInt(cookie ?? 0) },
      }),
  );
}

/** The links of one program on several CPUs, one each. Disposing of it closes all. */
export interface LinkSet extends Disposable {
  readonly links: readonly Link[];
  /** Closes them all. */
  close(): void;
}

/**
 * {@link attachPerfEvent} on every CPU that is online, or on those given; on all or on none.
 *
 * @throws as `attachPerfEvent`.
 */
export function attachPerfEventOnEachCpu(
  program: BpfProgram,
  counter: PerfCounter,
  options: Omit<AttachPerfEventOptions, "cpu"> & { readonly cpus?: readonly number[] },
): LinkSet {
  const { cpus = readCpus().online, ...rest } = options;
  const links: Link[] = [];
  const close = (): void => {
    for (const link of links) link.close();
  };
  try {
    for (const cpu of cpus) links.push(attachPerfEvent(program, counter, { ...rest, cpu }));
  } catch (error) {
    close();
    throw error;
  }
  return { links, close, [Symbol.dispose]: close };
}

type CounterName<Names extends string, Prefix extends string> = Names extends `${Prefix}${infer Name}`
  ? Exclude<Lowercase<Name>, "max">
  : never;

function encodeCounter(counter: PerfCounter): {
  readonly type: number;
  readonly config: number | bigint;
  readonly name: string;
} {
  if ("software" in counter) {
    const config = perf_sw_ids[`PERF_COUNT_SW_${counter.software.toUpperCase()}` as keyof typeof perf_sw_ids];
    return { type: perf_type_id.PERF_TYPE_SOFTWARE, config, name: counter.software };
  }
  if ("hardware" in counter) {
    const config = perf_hw_id[`PERF_COUNT_HW_${counter.hardware.toUpperCase()}` as keyof typeof perf_hw_id];
    return { type: perf_type_id.PERF_TYPE_HARDWARE, config, name: counter.hardware };
  }
  return { ...counter, name: `perf event ${counter.type}/${counter.config}` };
}
