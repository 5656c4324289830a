import { statfsSync } from "node:fs";
import { BPF_FS_MAGIC, TRACEFS_MAGIC } from "../uapi/fs-magic.ts";
import { MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID } from "./constants.ts";
import { check } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/** The magic number of the file system a path is on (statfs(2)), or `undefined` if the path cannot be looked at. */
export function filesystemMagic(path: string): number | undefined {
  try {
    return statfsSync(path).type >>> 0;
  } catch {
    return undefined;
  }
}

/** Whether a path is on a BPF file system, where objects can be pinned. */
export function isBpffs(path: string): boolean {
  return filesystemMagic(path) === BPF_FS_MAGIC;
}

/** Whether a path is on tracefs. */
export function isTracefs(path: string): boolean {
  return filesystemMagic(path) === TRACEFS_MAGIC;
}

/**
 * Mounts a fresh BPF file system on an existing directory, for root alone (mode 0700).
 * @throws `SyscallError`: EPERM without CAP_SYS_ADMIN, ENOENT, EBUSY.
 */
export function mountBpffs(sys: Syscalls, target: string): void {
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  check(sys.mount("bpf", target, "bpf", flags, "mode=0700"), "mount", { fstype: "bpf", target });
}

/** Mounts tracefs on an existing directory. @throws `SyscallError` */
export function mountTracefs(sys: Syscalls, target: string): void {
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  check(sys.mount("tracefs", target, "tracefs", flags, null), "mount", { fstype: "tracefs", target });
}

/**
 * Unmounts what is mounted on `target`; `lazy` (`MNT_DETACH`) also while it is in use.
 * @throws `SyscallError`: EINVAL if nothing is mounted there, EBUSY.
 */
export function unmount(sys: Syscalls, target: string, options: { readonly lazy?: boolean } = {}): void {
  check(sys.umount2(target, options.lazy === true ? MNT_DETACH : 0), "umount2", { target });
}
