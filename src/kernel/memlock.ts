import { release } from "node:os";
import { RLIMIT_MEMLOCK } from "../syscall/constants.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { bpf_cmd } from "../uapi/bpf.ts";
import { EPERM } from "../uapi/errno.ts";
import { kernelBefore } from "./privileges.ts";

/**
 * System calls that get by with RLIMIT_MEMLOCK: before kernel 5.11 maps, programs and BTF count against it (64 KiB by
 * default), and EPERM is what the kernel says when it is used up. There, and only there, the first EPERM to one of those
 * raises the limit of this process as far as it may, and tries once more.
 *
 * From 5.11 on it gives back `sys` itself: memory counts against the control group.
 *
 * @param kernel - `uname -r`, for tests.
 */
export function withMemlock(sys: Syscalls, kernel: string = release()): Syscalls {
  if (!kernelBefore(5, 11, kernel)) return sys;
  let raised = false;
  return {
    ...sys,
    bpf(cmd, attr) {
      const result = sys.bpf(cmd, attr);
      if (result !== -EPERM || raised || !COUNTED.includes(cmd)) return result;
      raised = true; // whether it helps or not: once is enough
      return raiseMemlock(sys) ? sys.bpf(cmd, attr) : result;
    },
  };
}

const COUNTED: readonly number[] = [bpf_cmd.BPF_MAP_CREATE, bpf_cmd.BPF_PROG_LOAD, bpf_cmd.BPF_BTF_LOAD];
const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** Raises the soft limit: to no limit with CAP_SYS_RESOURCE, else to the hard limit. */
function raiseMemlock(sys: Syscalls): boolean {
  if (setMemlock(sys, UNLIMITED, UNLIMITED)) return true;
  const now = new BigUint64Array(2);
  if (sys.prlimit(0, RLIMIT_MEMLOCK, null, new Uint8Array(now.buffer)) < 0) return false;
  const [soft = 0n, hard = 0n] = now;
  return soft < hard && setMemlock(sys, hard, hard);
}

function setMemlock(sys: Syscalls, soft: bigint, hard: bigint): boolean {
  return sys.prlimit(0, RLIMIT_MEMLOCK, new Uint8Array(BigUint64Array.of(soft, hard).buffer), null) >= 0;
}
