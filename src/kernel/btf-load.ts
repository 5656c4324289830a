import { btfLoad } from "../syscall/bpf-object.ts";
import { SyscallError } from "../syscall/errno.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { EINVAL, EPERM } from "../uapi/errno.ts";
import { permissionHint } from "./privileges.ts";

/**
 * Loads BTF into the kernel. What it describes is loaded next and keeps a reference of its own: close the descriptor then.
 *
 * BTF makes listings readable, and little depends on it, so two refusals are given back instead of thrown, and the caller
 * goes on without: EINVAL, of kernels that know no BTF (before 4.18) or not every kind in it, and EPERM, without CAP_BPF,
 * which a socket filter may be loaded without. Everything else is a failure of this machine (ENOMEM, EMFILE), not an
 * opinion about the BTF.
 *
 * @param what - what it describes, for messages: `program 'count'`.
 * @returns the descriptor, or the refusal with the kernel's own words in it.
 * @throws SyscallError for every other errno.
 */
export function loadBtf(sys: Syscalls, btf: Uint8Array, what: string): Fd | SyscallError {
  const { result } = btfLoad(sys, { btf });
  if (result >= 0) return Fd.own(sys, result, `BTF of ${what}`);
  if (result !== -EINVAL && result !== -EPERM) throw refusal(-result, what);
  return refusal(-result, what, result === -EINVAL ? readLog(sys, btf) : "");
}

function refusal(errno: number, what: string, log = ""): SyscallError {
  const hint = errno === EPERM ? permissionHint(["CAP_BPF"]) : undefined;
  return new SyscallError("bpf(BPF_BTF_LOAD)", errno, { of: what }, { details: log, hint });
}

/** Loads it once more to hear why it is refused. */
function readLog(sys: Syscalls, btf: Uint8Array): string {
  const log_buf = new Uint8Array(0x1_0000);
  const { result } = btfLoad(sys, { btf, log_buf, log_level: 1 });
  if (result >= 0) sys.close(result); // refused a moment ago: what was wrong is over
  return new TextDecoder().decode(log_buf.subarray(0, log_buf.indexOf(0))).trim();
}
