import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { MS_NODEV, MS_NOEXEC, MS_NOSUID } from "../syscall/constants.ts";
import { check } from "../syscall/errno.ts";
import { filesystemMagic, unmount } from "../syscall/mount.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { BPF_FS_MAGIC, TRACEFS_MAGIC } from "../uapi/fs-magic.ts";

// bpffs (pins) and tracefs (the log) are often not mounted, and `ip netns exec` hides them: it gives its command a private
// mount namespace with a fresh /sys, where a mount would vanish with the command, pins and all. There they are reached as
// the caller sees them, through /proc/PID/root of the nearest ancestor outside. What we mount carries our name as its
// source, so that we unmount it again, and nothing else.

/** A file system of the kernel that tsbpf needs. */
export type KernelFilesystem = "bpf" | "tracefs";

const FILESYSTEMS: Readonly<Record<KernelFilesystem, { magic: number; path: string; what: string }>> = {
  bpf: { magic: BPF_FS_MAGIC, path: "/sys/fs/bpf", what: "bpffs" },
  tracefs: { magic: TRACEFS_MAGIC, path: "/sys/kernel/tracing", what: "tracefs" },
};

/** Source of the mounts that we made, as /proc/mounts shows it. */
const MOUNT_SOURCE = "tsbpf";

/** The path where the file system is mounted for this process or its caller; `undefined` where it is not. */
export function findFilesystem(type: KernelFilesystem): string | undefined {
  const { magic, path } = FILESYSTEMS[type];
  if (filesystemMagic(path) === magic) return path;
  const outside = callerOutside();
  const there = outside === undefined ? undefined : `/proc/${outside}/root${path}`;
  return there !== undefined && filesystemMagic(there) === magic ? there : undefined;
}

/**
 * Finds the file system, and mounts it at its usual place where it is not mounted yet.
 *
 * @returns its path, which may lead through `/proc/PID/root`.
 * @throws TsbpfError that says how to mount it.
 */
export function ensureFilesystem(sys: Syscalls, type: KernelFilesystem): string {
  const found = findFilesystem(type);
  if (found !== undefined) return found;
  const { path, what } = FILESYSTEMS[type];
  try {
    mount(sys, type, path);
  } catch (cause) {
    throw new TsbpfError(`${what} is not mounted, and mounting it at ${path} failed`, {
      details: `  ${cause instanceof Error ? cause.message.split("\n")[0] : cause}`,
      hint: `Mount it as root: mount -t ${type} ${what} ${path}`,
      cause,
    });
  }
  const mounted = findFilesystem(type);
  if (mounted === undefined) throw new TsbpfError(`${what} was mounted at ${path}, and is not seen there`);
  return mounted;
}

/** Unmounts the file system where we mounted it, nothing is pinned in it, and nobody has it open; true where it did. */
export function releaseFilesystem(sys: Syscalls, type: KernelFilesystem): boolean {
  const { path } = FILESYSTEMS[type];
  const found = findFilesystem(type);
  if (found === undefined) return false;
  const outside = found === path ? undefined : callerOutside();
  const mounts = readFileSync(`/proc/${outside ?? "self"}/mounts`, "utf8");
  if (!mounts.split("\n").some((line) => line.startsWith(`${MOUNT_SOURCE} ${path} ${type} `))) return false;
  if (type === "bpf" && holdsPins(found)) return false;
  try {
    if (outside === undefined) unmount(sys, path);
    else execFileSync("nsenter", [`--mount=/proc/${outside}/ns/mnt`, "umount", path], { stdio: "pipe" });
    return true;
  } catch {
    return false; // somebody uses it by now: it stays
  }
}

function mount(sys: Syscalls, type: KernelFilesystem, path: string): void {
  const outside = callerOutside();
  if (outside === undefined) {
    const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    check(sys.mount(MOUNT_SOURCE, path, type, flags, null), "mount", { type, path });
  } else {
    const args = [`--mount=/proc/${outside}/ns/mnt`, "mount", "-t", type, MOUNT_SOURCE, path];
    execFileSync("nsenter", args, { stdio: "pipe" });
  }
}

/**
 * The nearest ancestor whose mounts and network namespace are both others than ours, by pid: the shell that called
 * `ip netns exec`. `undefined` where every ancestor that may be looked at has our mounts.
 */
function callerOutside(): number | undefined {
  const ours = { mnt: readlinkSync("/proc/self/ns/mnt"), net: readlinkSync("/proc/self/ns/net") };
  try {
    for (let pid = process.ppid; pid > 0; pid = parentOf(pid)) {
      if (readlinkSync(`/proc/${pid}/ns/mnt`) === ours.mnt) continue;
      return readlinkSync(`/proc/${pid}/ns/net`) === ours.net ? undefined : pid;
    }
  } catch {
    // an ancestor that may not be looked at ends the search
  }
  return undefined;
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}

/** Pins go with their mount. (Of a tracefs every mount shows the same, and the kernel keeps one that has open files.) */
function holdsPins(path: string): boolean {
  // The kernel puts its own iterators (maps.debug, progs.debug) into a bpffs.
  return readdirSync(path).some((name) => !name.endsWith(".debug"));
}
