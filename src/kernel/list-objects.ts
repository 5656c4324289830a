import { mapGetFdById, mapGetNextId, progGetFdById, progGetNextId } from "../syscall/bpf-object.ts";
import { Fd } from "../syscall/fd.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import type { KernelOptions } from "./map.ts";
import { type MapInfo, type ProgramInfo, readMapInfo, readProgramInfo } from "./object-info.ts";

/**
 * What the kernel tells about every program of the machine, in the order of their ids. Needs CAP_SYS_ADMIN.
 *
 * @example
 * ```ts
 * for (const { id, name, tag } of listPrograms()) console.log(id, name, tag);
 * ```
 */
export function listPrograms({ sys = linuxSyscalls() }: KernelOptions = {}): readonly ProgramInfo[] {
  return walk(sys, progGetNextId, progGetFdById, readProgramInfo);
}

/** What the kernel tells about every map of the machine, in the order of their ids. Needs CAP_SYS_ADMIN. */
export function listMaps({ sys = linuxSyscalls() }: KernelOptions = {}): readonly MapInfo[] {
  return walk(sys, mapGetNextId, mapGetFdById, readMapInfo);
}

/** One that goes while the ids are walked is left out. */
function walk<Info>(
  sys: Syscalls,
  next: (sys: Syscalls, id: number) => number | undefined,
  open: (sys: Syscalls, id: number) => number | undefined,
  read: (sys: Syscalls, fd: number) => Info,
): readonly Info[] {
  const found: Info[] = [];
  for (let id = next(sys, 0); id !== undefined; id = next(sys, id)) {
    const number = open(sys, id);
    if (number === undefined) continue;
    using fd = Fd.own(sys, number, `object ${id}`);
    found.push(read(sys, fd.number));
  }
  return found;
}
