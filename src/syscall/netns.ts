import { fstatSync, statSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { ENOENT } from "../uapi/errno.ts";
import { CLONE_NEWNET, O_CLOEXEC, O_RDONLY } from "./constants.ts";
import { check, describeErrno, SyscallError } from "./errno.ts";
import { Fd } from "./fd.ts";
import type { Syscalls } from "./syscalls.ts";

/** How to name a network namespace: as `ip netns` does, by a process in it, or by a file (`/proc/42/ns/net`). */
export type NetnsRef = { readonly name: string } | { readonly pid: number } | { readonly path: string };

/** The thread could not go back to its network namespace: everything it does from now on is in the wrong one. */
export class NetnsRestoreError extends TsbpfError {}

/**
 * Opens a network namespace.
 * @throws `SyscallError`: ENOENT with a hint when there is none of that name, EACCES, EPERM.
 */
export function openNetns(sys: Syscalls, ref: NetnsRef): Fd {
  const [first, ...others] = netnsPaths(ref);
  let result = sys.open(first, O_RDONLY | O_CLOEXEC, 0);
  for (const path of others) {
    if (result !== -ENOENT) break;
    result = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
  }
  if (result < 0) {
    const hint =
      result === -ENOENT && "name" in ref ? "`ip netns list` shows the names there are." : undefined;
    throw new SyscallError("open", -result, { path: first }, { hint });
  }
  return Fd.own(sys, result, `network namespace ${describeRef(ref)}`);
}

/** The network namespace that the calling thread is in. */
export function openCurrentNetns(sys: Syscalls): Fd {
  return openNetns(sys, { path: CURRENT });
}

/** The inode number of a network namespace, which names it on this machine for as long as it exists. */
export function netnsInode(ns: Fd): number {
  return fstatSync(ns.number).ino;
}

/** The inode number of the network namespace that the calling thread is in. */
export function currentNetnsInode(): number {
  return statSync(CURRENT).ino;
}

/**
 * Runs `fn` with the calling thread in another network namespace, and always comes back.
 *
 * setns(2) moves one thread. Sockets that `fn` opens stay in that namespace, and child processes it starts begin there
 * (they start from this thread). Work that libuv does on its own threads, which is every asynchronous file operation
 * and DNS look-up, happens in the old namespace; and a callback that runs later runs after the return. So `fn` must be
 * synchronous: a promise is an error. The mount namespace stays the caller's, so `/sys/class/net` still shows the
 * interfaces of the namespace that `/sys` was mounted in.
 *
 * @throws {@link NetnsRestoreError} if the way back is barred; end the process then.
 * @throws `SyscallError` from setns(2): EPERM without CAP_SYS_ADMIN.
 */
export function withNetns<T>(sys: Syscalls, ns: Fd, fn: () => T extends PromiseLike<unknown> ? never : T): T {
  using home = openCurrentNetns(sys);
  check(sys.setns(ns.number, CLONE_NEWNET), "setns(CLONE_NEWNET)", { to: ns.what });
  let failure: { readonly error: unknown } | undefined;
  let value: T | undefined;
  try {
    value = fn();
  } catch (error) {
    failure = { error };
  }
  const back = sys.setns(home.number, CLONE_NEWNET);
  if (back < 0) {
    throw new NetnsRestoreError(
      `The thread is stuck in ${ns.what}: setns back failed: ${describeErrno(-back)}`,
      {
        hint: "Whatever this process does to interfaces from now on would hit the wrong namespace; end it.",
        cause: failure?.error,
      },
    );
  }
  if (failure !== undefined) throw failure.error;
  if (isThenable(value)) {
    throw new TsbpfError("withNetns was given an asynchronous function", {
      hint: "Its continuation would run in the old namespace. Open the sockets inside, use them outside.",
    });
  }
  return value as T;
}

// "self" is the process's main thread; setns may have moved this one.
const CURRENT = "/proc/thread-self/ns/net";

function netnsPaths(ref: NetnsRef): [string, ...string[]] {
  if ("path" in ref) return [ref.path];
  if ("pid" in ref) return [`/proc/${ref.pid}/ns/net`];
  if (!/^[^/\0]+$/.test(ref.name) || ref.name === "." || ref.name === "..") {
    throw new TsbpfError(`"${ref.name}" is not the name of a network namespace`, {
      hint: "A name is a file in /run/netns; give a path or a process id otherwise.",
    });
  }
  return [`/run/netns/${ref.name}`, `/var/run/netns/${ref.name}`];
}

function describeRef(ref: NetnsRef): string {
  if ("name" in ref) return `"${ref.name}"`;
  return "pid" in ref ? `of process ${ref.pid}` : ref.path;
}

function isThenable(value: unknown): boolean {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
