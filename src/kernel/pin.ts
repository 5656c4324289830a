import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { TsbpfError } from "../base/error.ts";
import { objGet, objPin } from "../syscall/bpf-object.ts";
import { SyscallError } from "../syscall/errno.ts";
import { Fd } from "../syscall/fd.ts";
import { isBpffs } from "../syscall/mount.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { checkKind, type ObjectKind } from "./object-kind.ts";
import { permissionHint } from "./privileges.ts";

/** Gives an object a name on a bpffs. @throws SyscallError: EEXIST, ENOENT, EPERM, each with what to do about it. */
export function pinObject(sys: Syscalls, path: string, fd: number): void {
  explained(path, () => objPin(sys, { pathname: path, bpf_fd: fd }));
}

/**
 * Opens what is pinned at a path, which must be of a kind.
 *
 * @throws SyscallError: ENOENT, EACCES; TsbpfError where it is of another kind.
 */
export function openPin(sys: Syscalls, path: string, kind: ObjectKind): Fd {
  const number = explained(path, () => objGet(sys, { pathname: path }));
  const fd = Fd.own(sys, number, `${kind} '${path}'`);
  try {
    checkKind(fd, kind);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/**
 * Removes a pin, which must be of this very object; the object lives on as long as something holds it.
 *
 * @param idOf - reads the id of an object of the kind.
 * @throws TsbpfError when the pin is of another object; SyscallError: ENOENT.
 */
export function removePin(
  sys: Syscalls,
  path: string,
  { kind, id }: { readonly kind: ObjectKind; readonly id: number },
  idOf: (fd: number) => number,
): void {
  using pinned = openPin(sys, path, kind);
  const pinnedId = idOf(pinned.number);
  if (pinnedId !== id) {
    throw new TsbpfError(`'${path}' is a pin of ${kind} ${pinnedId}, not of ${kind} ${id}`, {
      hint: "Somebody else's, or of another version: it was left there.",
    });
  }
  rmSync(path);
}

function explained<Result>(path: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const hint = pinHint(error.code, path);
    if (hint === undefined) throw error;
    throw new SyscallError(error.call, error.errno, error.args, { hint, cause: error });
  }
}

function pinHint(code: string, path: string): string | undefined {
  const directory = dirname(path);
  switch (code) {
    case "EEXIST":
      return "Something has that name already: open it, or remove it first.";
    case "ENOENT":
      return isBpffs(BPFFS) || isBpffs(directory)
        ? `There is no such path; the directories of ${path} must be there before anything is pinned in them.`
        : NOT_MOUNTED;
    case "EPERM":
    case "EACCES":
      if (isBpffs(directory)) return permissionHint(["CAP_BPF"]);
      return isBpffs(BPFFS) ? `${directory} is on no bpffs: pin below ${BPFFS}.` : NOT_MOUNTED;
    default:
      return undefined;
  }
}

const BPFFS = "/sys/fs/bpf";
const NOT_MOUNTED = `There is no bpffs, which pins are on. Mount it as root: mount -t bpf bpffs ${BPFFS}`;
