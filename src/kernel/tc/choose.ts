import { TsbpfError } from "../../base/error.ts";
import type { NetlinkSocket } from "../../syscall/netlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { bpftoolBackend, findBpftool } from "./bpftool.ts";
import { clsactBackend } from "./clsact.ts";
import type { TcBackend, TcBackendName } from "./hook.ts";
import { kernelHasTcx, tcxBackend } from "./tcx.ts";

/** A backend, and why it was taken. */
export interface ChosenBackend {
  readonly backend: TcBackend;
  /** A clause for people, such as `bpftool 7.5.0 attaches to TCX`. */
  readonly reason: string;
}

/** What the backends need. */
export interface BackendNeeds {
  readonly sys: Syscalls;
  readonly route: NetlinkSocket;
  /** Where a program of this name is pinned; `undefined` where there is no bpffs to pin to. */
  readonly pinPath: ((program: string) => string) | undefined;
}

/**
 * Takes the backend that was asked for, or for `auto` the first that works here: bpftool, else the system call, else
 * clsact.
 *
 * @throws TsbpfError where the one that was asked for does not work.
 */
export function chooseTcBackend(wanted: TcBackendName | "auto", needs: BackendNeeds): ChosenBackend {
  const { sys, route, pinPath } = needs;
  switch (wanted) {
    case "bpftool":
      return { backend: bpftoolBackend(sys, requirePins(pinPath)), reason: "as asked" };
    case "tcx":
      return { backend: tcxBackend(sys), reason: "as asked" };
    case "clsact":
      return { backend: clsactBackend(route), reason: "as asked" };
    case "auto":
      return chooseAutomatically(needs);
  }
}

function chooseAutomatically({ sys, route, pinPath }: BackendNeeds): ChosenBackend {
  if (!kernelHasTcx(sys))
    return { backend: clsactBackend(route), reason: "this kernel has no TCX (before 6.6)" };
  const bpftool = findBpftool();
  const { version, tcx } = bpftool;
  if (tcx && pinPath !== undefined) {
    return { backend: bpftoolBackend(sys, pinPath, bpftool), reason: `bpftool ${version} attaches to TCX` };
  }
  const lacking =
    version === undefined
      ? "there is no bpftool"
      : tcx
        ? "there is no bpffs for bpftool's pins"
        : `bpftool ${version} cannot attach to TCX (7.5 can)`;
  return { backend: tcxBackend(sys), reason: `${lacking}; this kernel has TCX` };
}

function requirePins(pinPath: BackendNeeds["pinPath"]): (program: string) => string {
  if (pinPath !== undefined) return pinPath;
  throw new TsbpfError("bpftool attaches pinned programs, and there is no bpffs to pin to", {
    hint: "Mount one (mount -t bpf bpffs /sys/fs/bpf), or attach without bpftool: --tc tcx.",
  });
}
