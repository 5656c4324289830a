import { LITTLE_ENDIAN } from "../base/host.ts";
import {
  PERF_EVENT_IOC_DISABLE,
  PERF_EVENT_IOC_ENABLE,
  PERF_EVENT_IOC_SET_BPF,
  PERF_FLAG_FD_CLOEXEC,
} from "../uapi/perf-event.ts";
import { perf_event_attr } from "../uapi/structs.ts";
import { AttrError, BpfAttr } from "./attr.ts";
import { check } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/** Fields of `struct perf_event_attr`, as the kernel names them. */
export interface PerfEventAttr {
  /** `enum perf_type_id`, or the number in `/sys/bus/event_source/devices/<pmu>/type` (kprobe, uprobe). */
  readonly type: number;
  /** Depends on the type: a tracepoint's id, `PERF_COUNT_SW_BPF_OUTPUT` 10, bit 0 of the probe PMUs: return probe. */
  readonly config?: number | bigint | undefined;
  /** One sample per so many events. Not together with `sample_freq`. */
  readonly sample_period?: number | bigint | undefined;
  /** So many samples a second. */
  readonly sample_freq?: number | bigint | undefined;
  /** `enum perf_event_sample_format`. */
  readonly sample_type?: number | bigint | undefined;
  readonly read_format?: number | bigint | undefined;
  /** Wake a reader after so many samples; 0 never does. */
  readonly wakeup_events?: number | undefined;
  /** kprobe PMU: the function; 0 config offset at its entry. */
  readonly kprobe_func?: string | undefined;
  /** uprobe PMU: the file. */
  readonly uprobe_path?: string | undefined;
  /** kprobe PMU without `kprobe_func`: the address. */
  readonly kprobe_addr?: number | bigint | undefined;
  /** Bytes from the start of the function or of the file. */
  readonly probe_offset?: number | bigint | undefined;
  /** Single-bit fields to set. */
  readonly set?: readonly PerfEventBit[] | undefined;
}

/** The single-bit fields that tsbpf uses. */
export type PerfEventBit =
  | "disabled"
  | "inherit"
  | "exclude_user"
  | "exclude_kernel"
  | "exclude_hv"
  | "exclude_idle"
  | "watermark";

/** What to count where; -1 is "any". */
export interface PerfEventTarget {
  /** A process; -1 for all of them (then `cpu` must be given). */
  readonly pid: number;
  /** A CPU; -1 for all of them (then `pid` must be given). */
  readonly cpu: number;
  readonly groupFd?: number | undefined;
}

/**
 * Opens a perf event; the descriptor is close-on-exec and the caller's to close.
 *
 * @throws `SyscallError`: EACCES or EPERM (CAP_PERFMON, kernel.perf_event_paranoid), ENOENT (no such event here), ENODEV.
 */
export function perfEventOpen(sys: Syscalls, a: PerfEventAttr, target: PerfEventTarget): number {
  const attr = encodePerfEventAttr(sys, a);
  const { pid, cpu, groupFd = -1 } = target;
  return check(
    sys.perfEventOpen(attr.bytes, pid, cpu, groupFd, PERF_FLAG_FD_CLOEXEC),
    "perf_event_open",
    () => ({
      type: a.type,
      config: a.config,
      kprobe_func: a.kprobe_func,
      uprobe_path: a.uprobe_path,
      pid,
      cpu,
    }),
  );
}

/** Encodes a `struct perf_event_attr` in host byte order. @throws {@link AttrError} */
export function encodePerfEventAttr(
  sys: Pick<Syscalls, "addressOf">,
  a: PerfEventAttr,
): BpfAttr<typeof perf_event_attr> {
  if (a.sample_period !== undefined && a.sample_freq !== undefined) {
    throw new AttrError("sample_period and sample_freq are one field; give one of them");
  }
  const attr = new BpfAttr(sys, perf_event_attr)
    .u32("type", a.type)
    .u32("size_", perf_event_attr.size)
    .u64("config", a.config)
    .u64("sample_period", a.sample_period)
    .u64("sample_freq", a.sample_freq)
    .u64("sample_type", a.sample_type)
    .u64("read_format", a.read_format)
    .u32("wakeup_events", a.wakeup_events)
    .cstr("kprobe_func", a.kprobe_func)
    .cstr("uprobe_path", a.uprobe_path)
    .u64("kprobe_addr", a.kprobe_addr)
    .u64("probe_offset", a.probe_offset);
  for (const name of a.set ?? []) setBit(attr.bytes, BIT[name]);
  if (a.sample_freq !== undefined) setBit(attr.bytes, FREQ);
  return attr;
}

/** Starts the event. */
export function perfEventEnable(sys: Syscalls, fd: number): void {
  check(sys.ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), "ioctl(PERF_EVENT_IOC_ENABLE)", { fd });
}

/** Stops the event. */
export function perfEventDisable(sys: Syscalls, fd: number): void {
  check(sys.ioctl(fd, PERF_EVENT_IOC_DISABLE, 0), "ioctl(PERF_EVENT_IOC_DISABLE)", { fd });
}

/** Runs a BPF program at each event (kprobe, tracepoint, perf event program types). */
export function perfEventSetBpf(sys: Syscalls, fd: number, progFd: number): void {
  check(sys.ioctl(fd, PERF_EVENT_IOC_SET_BPF, progFd), "ioctl(PERF_EVENT_IOC_SET_BPF)", {
    fd,
    prog_fd: progFd,
  });
}

// Bits of the 64-bit word at `disabled`, counted from the least significant one of the first declared field. On a
// big-endian machine C puts the first bit-field in the most significant bit.
const BIT: Readonly<Record<PerfEventBit, number>> = {
  disabled: 0,
  inherit: 1,
  exclude_user: 4,
  exclude_kernel: 5,
  exclude_hv: 6,
  exclude_idle: 7,
  watermark: 14,
};
const FREQ = 10;

function setBit(bytes: Uint8Array, bit: number): void {
  const byte = perf_event_attr.disabled + (bit >>> 3);
  const mask = LITTLE_ENDIAN ? 1 << (bit & 7) : 0x80 >>> (bit & 7);
  bytes[byte] = (bytes[byte] ?? 0) | mask;
}
