import { bpf_cmd } from "../uapi/bpf.ts";
import { ENOENT } from "../uapi/errno.ts";
import type { AttrLayout, BpfAttr } from "./attr.ts";
import { type SyscallArgs, SyscallError } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/** A command of bpf(2), by its kernel name. */
export type BpfCmd = keyof typeof bpf_cmd;

/**
 * One bpf(2) call: passes a result `>= 0` through.
 *
 * @param args - What to show of the arguments if it fails.
 * @throws {@link SyscallError} named `bpf(BPF_...)`.
 */
export function bpf<L extends AttrLayout>(
  sys: Syscalls,
  cmd: BpfCmd,
  attr: BpfAttr<L>,
  args: () => SyscallArgs,
): number {
  const result = bpfRaw(sys, cmd, attr);
  if (result < 0) throw new SyscallError(`bpf(${cmd})`, -result, args());
  return result;
}

/** Like {@link bpf}, for calls where `ENOENT` is an ordinary answer ("no such key, no more ids"): it gives `undefined`. */
export function bpfOrNone<L extends AttrLayout>(
  sys: Syscalls,
  cmd: BpfCmd,
  attr: BpfAttr<L>,
  args: () => SyscallArgs,
): number | undefined {
  const result = bpfRaw(sys, cmd, attr);
  if (result === -ENOENT) return undefined;
  if (result < 0) throw new SyscallError(`bpf(${cmd})`, -result, args());
  return result;
}

/** One bpf(2) call with the kernel's own convention: a result `>= 0`, or `-errno`. */
export function bpfRaw<L extends AttrLayout>(sys: Syscalls, cmd: BpfCmd, attr: BpfAttr<L>): number {
  return sys.bpf(bpf_cmd[cmd], attr.bytes);
}

/** The kernel's name of an enum value, without its prefix, for a message: `CPUMAP`; the number if it has none. */
export function enumName(values: Readonly<Record<string, number>>, prefix: string, value: number): string {
  for (const [name, number] of Object.entries(values)) {
    if (number === value && name.startsWith(prefix)) return name.slice(prefix.length);
  }
  return String(value);
}
