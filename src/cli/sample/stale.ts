import { listNetns } from "../../kernel/namespaces.ts";

/** Pins of an interface or a network namespace that has gone. They keep programs, CPU map and threads alive. */
export interface StalePins {
  readonly path: string;
  /** Why nothing can use them any more. */
  readonly reason: string;
}

/** Finds pins whose network namespace no process and no name holds any more, or whose interface has gone from `netns`. */
export function findStalePins(
  directories: readonly { readonly path: string; readonly netns: number; readonly ifindex: number }[],
  current: { readonly netns: number; readonly inUse: ReadonlySet<number> },
): readonly StalePins[] {
  const elsewhere = directories.some(({ netns }) => netns !== current.netns);
  const alive = new Set(elsewhere ? [...listNetns()].map(({ inode }) => inode) : []);
  return directories.flatMap(({ path, netns, ifindex }) => {
    if (netns === current.netns) {
      return current.inUse.has(ifindex)
        ? []
        : [{ path, reason: "nothing of ours is attached to its interface" }];
    }
    return alive.has(netns) ? [] : [{ path, reason: "its network namespace has gone" }];
  });
}
