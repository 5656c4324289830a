/** File descriptors of this process, by what they are, so that a test can assert that it closed what it opened. */
import { readdirSync, readlinkSync } from "node:fs";

/**
 * Open descriptors as `kind -> number`. A kind is the link target of /proc/self/fd without its inode:
 * `anon_inode:bpf-prog`, `anon_inode:bpf-map`, `anon_inode:bpf_link`, `anon_inode:[perf_event]`, `socket`, `pipe`, or a path.
 */
export function openFds(): ReadonlyMap<string, number> {
  const kinds = new Map<string, number>();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      const kind = /^(socket|pipe|net|mnt):\[\d+\]$/.exec(target)?.[1] ?? target;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    } catch {
      // The descriptor that read the directory.
    }
  }
  return kinds;
}

/** Kinds that belong to the product: BPF objects, perf events, network namespaces, and sockets. */
const WATCHED =
  /^(anon_inode:(bpf|btf|inode|\[perf_event)|net$|socket$|\/sys\/(fs\/bpf|kernel)|\/run\/netns|\/proc\/)/;

/**
 * Starts watching; the returned function gives one line per kind of which more are open than at the start, and an
 * empty list if nothing leaked.
 *
 * @example
 * ```ts
 * let leaks: () => readonly string[];
 * beforeEach(() => { leaks = watchFds(); });
 * afterEach(() => { expect(leaks()).toEqual([]); });
 * ```
 */
export function watchFds(): () => readonly string[] {
  const before = openFds();
  return () =>
    [...openFds()]
      .filter(([kind, count]) => WATCHED.test(kind) && count > (before.get(kind) ?? 0))
      .map(([kind, count]) => `${count - (before.get(kind) ?? 0)} x ${kind} still open`);
}
