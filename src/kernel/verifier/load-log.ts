import { type ProgLoadAttr, progLoad } from "../../syscall/bpf-prog.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { E2BIG, EINVAL, ENOSPC } from "../../uapi/errno.ts";

/** What came of a load with a log. */
export interface LoggedLoad {
  /** The new descriptor, or `-errno`. `-ENOSPC` only where the log is too large for a string. */
  readonly result: number;
  /** What the verifier wrote, whole. */
  readonly log: string;
}

/**
 * Loads a program with the verifier's log, in a buffer that grows until the log fits: to the size that the kernel names
 * (6.4), else fourfold. The kernel verifies anew each time.
 *
 * @param attr - with a `log_level`.
 * @param expected - the `-errno` of an earlier load without a log, if there was one: what fails for its size writes a log
 * of tens of megabytes.
 */
export function loadWithLog(sys: Syscalls, attr: ProgLoadAttr, expected = 0): LoggedLoad {
  let cut: LoggedLoad | undefined;
  for (let size = expected === -E2BIG ? HUGE_LOG : FIRST_LOG; ; ) {
    const log_buf = new Uint8Array(size); // large ones cost little: the pages come with the first write
    const { result, log_true_size } = progLoad(sys, { ...attr, log_buf });
    const log = cString(log_buf);
    if (result === -EINVAL && log === "" && size > OLD_LARGEST_LOG) {
      if (cut !== undefined) return cut;
      size = OLD_LARGEST_LOG; // a kernel before 5.2 takes no larger one
      continue;
    }
    if (result !== -ENOSPC || size === LARGEST_LOG) return { result, log };
    cut = { result, log };
    size = Math.min(LARGEST_LOG, largerThan(size, log_true_size));
  }
}

const FIRST_LOG = 0x1_0000;
const HUGE_LOG = 0x400_0000;
/** The largest buffer before kernel 5.2 (`bpf_verifier_log`: UINT_MAX >> 8). */
const OLD_LARGEST_LOG = 0xff_ffff;
/** The kernel takes 2^30 bytes (UINT_MAX >> 2), and V8 makes strings of 2^29. */
const LARGEST_LOG = 0x1fff_0000;

function largerThan(size: number, needed: number | undefined): number {
  if (needed !== undefined && needed > size) return needed;
  return size < OLD_LARGEST_LOG ? Math.min(size * 4, OLD_LARGEST_LOG) : size * 4;
}

function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
