import { TsbpfError } from "../../base/error.ts";
import { rawTracepointOpen } from "../../syscall/bpf-prog.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { BPF_PROG_TYPE_TRACING } from "../../uapi/bpf.ts";
import { PERF_TYPE_TRACEPOINT } from "../../uapi/perf-event.ts";
import type { KernelOptions } from "../map.ts";
import type { BpfProgram } from "../program.ts";
import { readTracepointFile } from "../tracepoint-files.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { openPerfLink } from "./perf-link.ts";

/** Options of attachments that can carry a cookie. */
export interface CookieOptions extends KernelOptions {
  /** What `bpf_get_attach_cookie` gives the program, to tell its attachments apart. Default 0. */
  readonly cookie?: number | bigint;
}

/**
 * Attaches a program of type `tracepoint` to a tracepoint of the kernel: its context is the record that the event's `format`
 * file in tracefs describes. It sees the events of every process and CPU. Cookies: kernel 5.15.
 *
 * @param tracepoint - group and name: `sched:sched_switch`.
 * @throws TsbpfError where there is no such tracepoint (with one that is like it), or no tracefs to look it up in.
 * @example
 * ```ts
 * using link = attachTracepoint(prog, "sched:sched_process_exec");
 * ```
 */
export function attachTracepoint(program: BpfProgram, tracepoint: string, options: CookieOptions = {}): Link {
  const { sys = linuxSyscalls(), cookie } = options;
  const config = Number(readTracepointFile(tracepoint, "id"));
  return attempt(
    {
      what: `attach '${program.name}' to tracepoint ${tracepoint}`,
      feature: { feature: "BPF programs at tracepoints", since: "4.7", needs: "CONFIG_BPF_EVENTS=y" },
      hints: {
        EINVAL: "It takes a program of type tracepoint.",
        EEXIST: "The program is attached there already.",
        EACCES: "The program reads beyond the record of this tracepoint: look at its format in tracefs.",
      },
    },
    // One event on one CPU is enough: the program hangs on the tracepoint, and runs on every CPU.
    () =>
      openPerfLink(sys, program, `tracepoint ${tracepoint}`, {
        event: { type: PERF_TYPE_TRACEPOINT, config, sample_period: 1 },
        target: { pid: -1, cpu: 0 },
        cookie,
        facts: { type: "tracepoint", name: tracepoint.split(":")[1] ?? "", cookie: BigInt(cookie ?? 0) },
      }),
  );
}

/**
 * Attaches a program to a tracepoint as the kernel calls it: with the arguments of the tracepoint instead of a record. Less
 * work than {@link attachTracepoint} for the kernel, and no stable format.
 *
 * A program of type `raw_tracepoint` (kernel 4.17) is attached to any; one of type `tracing` with the attach type
 * `trace_raw_tp` (kernel 5.5) was loaded for one (`attachTo`), and follows its arguments as typed pointers. Cookies: kernel 6.10.
 *
 * @param tracepoint - without its group: `sched_switch`; `undefined` for a program that was loaded for one.
 * @throws TsbpfError: ENOENT where there is no such tracepoint.
 */
export function attachRawTracepoint(
  program: BpfProgram,
  tracepoint: string | undefined,
  options: CookieOptions = {},
): Link {
  const { sys = linuxSyscalls(), cookie } = options;
  const typed = program.type === BPF_PROG_TYPE_TRACING;
  if (typed !== (tracepoint === undefined)) {
    throw new TsbpfError(
      typed
        ? `'${program.name}' was loaded for its tracepoint, and cannot be attached to '${tracepoint}'`
        : `'${program.name}' is not loaded for one tracepoint: name the one to attach it to`,
    );
  }
  const where = tracepoint === undefined ? "its tracepoint" : `raw tracepoint ${tracepoint}`;
  return attempt(
    {
      what: `attach '${program.name}' to ${where}`,
      feature: {
        feature: "cookies of raw tracepoints",
        since: "6.10",
        lacking: (code) => cookie !== undefined && (code === "E2BIG" || code === "EINVAL"),
      },
      hints: {
        ENOENT:
          "There is no tracepoint of this name. Raw tracepoints are named without their group: sched_switch.",
        EINVAL:
          "It takes a program of type raw_tracepoint, or of type tracing with the attach type trace_raw_tp.",
      },
    },
    () => {
      const fd = rawTracepointOpen(sys, { name: tracepoint, prog_fd: program.fd, cookie });
      return BpfLink.own(sys, fd, `link of ${where}`, "raw_tracepoint");
    },
  );
}
