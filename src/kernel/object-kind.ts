import { readlinkSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { F_DUPFD_CLOEXEC } from "../syscall/constants.ts";
import { check } from "../syscall/errno.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** What a descriptor can be of. */
export type ObjectKind = "map" | "program" | "link";

/** A second descriptor for what a caller's descriptor is of: theirs stays theirs. @throws SyscallError: EBADF. */
export function duplicate(sys: Syscalls, fd: number, what: string): Fd {
  const number = check(sys.fcntl(fd, F_DUPFD_CLOEXEC, 0), "fcntl(F_DUPFD_CLOEXEC)", { fd });
  return Fd.own(sys, number, what);
}

/**
 * Refuses a descriptor of another kind of object: the kernel would answer questions about it all the same, in another
 * struct.
 */
export function checkKind(fd: Fd, kind: ObjectKind): void {
  const is = kindOf(fd.number);
  if (is === undefined || is === kind) return;
  throw new TsbpfError(`${fd.what} is ${is === "other" ? "no BPF object" : `a ${is}`}, not a ${kind}`);
}

/** What it is, by the name that the kernel gives the descriptor; `undefined` where /proc does not tell. */
function kindOf(fd: number): ObjectKind | "other" | undefined {
  try {
    return KINDS[readlinkSync(`/proc/self/fd/${fd}`)] ?? "other";
  } catch {
    return undefined;
  }
}

const KINDS: Readonly<Record<string, ObjectKind>> = {
  "anon_inode:bpf-map": "map",
  "anon_inode:bpf-prog": "program",
  "anon_inode:bpf_link": "link",
  "anon_inode:bpf-link": "link", // as the kernel calls one that was opened by its pin or id
};
