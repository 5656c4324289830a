import { TsbpfError } from "../base/error.ts";
import { heldCapabilities } from "../kernel/privileges.ts";
import { CLONE_NEWNET } from "../syscall/constants.ts";
import { check, SyscallError } from "../syscall/errno.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import { NetlinkSocket } from "../syscall/netlink.ts";
import { currentNetnsInode, openNetns } from "../syscall/netns.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** What the commands that touch the kernel work with. */
export interface Context extends Disposable {
  readonly sys: Syscalls;
  /** rtnetlink in the network namespace that the command works in. */
  readonly route: NetlinkSocket;
  /** Inode of that namespace. */
  readonly netns: number;
}

/**
 * Enters the network namespace that was asked for, and opens what the commands need. The process stays in it: a command
 * works in one namespace and then ends.
 *
 * @throws TsbpfError when a capability is missing, or there is no such namespace.
 */
export function openContext(options: { readonly netns?: string | undefined } = {}): Context {
  const sys = linuxSyscalls();
  requireRoot();
  if (options.netns !== undefined) enterNamed(sys, options.netns);
  const route = NetlinkSocket.route(sys);
  return { sys, route, netns: currentNetnsInode(), [Symbol.dispose]: () => route[Symbol.dispose]() };
}

/**
 * Moves this process into a network namespace for good.
 *
 * @param netns - a name of `ip netns`, or a path.
 * @throws SyscallError
 */
export function enterNetns(sys: Syscalls, netns: string): void {
  using target = openNetns(sys, netns.includes("/") ? { path: netns } : { name: netns });
  check(sys.setns(target.number, CLONE_NEWNET), "setns(CLONE_NEWNET)", { to: netns });
}

function enterNamed(sys: Syscalls, netns: string): void {
  try {
    enterNetns(sys, netns);
  } catch (cause) {
    if (!(cause instanceof SyscallError) || cause.code !== "ENOENT") throw cause;
    throw new TsbpfError(`there is no network namespace '${netns}'`, {
      hint: "`ip netns list` shows the names there are.",
      cause,
    });
  }
}

/** Loading takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; finding again what was attached takes CAP_SYS_ADMIN. */
export function requireRoot(): void {
  const held = heldCapabilities();
  const missing = (["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] as const).filter((name) => !held.has(name));
  if (missing.length === 0) return;
  throw new TsbpfError(`this takes root: the process lacks ${missing.join(" and ")}`, {
    hint: "Run it again with sudo. `dump`, `doctor` and `features` do without.",
  });
}
