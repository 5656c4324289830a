import { TsbpfError } from "../base/error.ts";
import type { Fd } from "../syscall/fd.ts";
import { tryLock } from "../syscall/socket.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** Longest time to wait for another tsbpf that works on the same network namespace. */
const PATIENCE_MS = 15_000;
const RETRY_MS = 20;
const NAME = "tsbpf.lock";

/**
 * Takes the lock of the current network namespace, so that only one tsbpf at a time changes what is attached in it.
 * Close it to let the next one in; the kernel does that for a process that dies.
 *
 * The lock is a name in the namespace's own table of abstract Unix sockets: unlike a file it is the same for everybody in
 * the namespace, whatever mounts they see, and it cannot be left behind.
 *
 * @param signal - ends the waiting.
 * @throws TsbpfError when another process holds it for too long; the signal's reason.
 */
export async function lockNamespace(sys: Syscalls, signal?: AbortSignal): Promise<Fd> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const lock = tryLock(sys, NAME);
    if (lock !== undefined) return lock;
    if (Date.now() > deadline) {
      throw new TsbpfError(
        `another tsbpf has been changing this network namespace for more than ${PATIENCE_MS / 1000} s`,
        { hint: "Wait for it, or end it: ss -xp | grep tsbpf.lock shows its process." },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    signal?.throwIfAborted();
  }
}

/** Whether a tsbpf is changing the current network namespace right now. */
export function isNamespaceLocked(sys: Syscalls): boolean {
  using lock = tryLock(sys, NAME);
  return lock === undefined;
}
