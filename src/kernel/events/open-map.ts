import { TsbpfError } from "../../base/error.ts";
import { F_DUPFD_CLOEXEC } from "../../syscall/constants.ts";
import { check } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import type { BpfMap } from "../map.ts";
import { mapTypeName } from "../map-type.ts";
import { type MapInfo, readMapInfo } from "../object-info.ts";

/** A map by a descriptor of our own. */
export interface OpenMap {
  readonly fd: Fd;
  readonly info: MapInfo;
}

/**
 * Takes a second descriptor for a map, since a reader may outlive the map object.
 *
 * @param type - `BPF_MAP_TYPE_*` that it must have.
 * @throws TsbpfError when the map is of another type; SyscallError: EMFILE.
 */
export function openMap(sys: Syscalls, map: BpfMap, type: number, what: string): OpenMap {
  const number = check(sys.fcntl(map.fd, F_DUPFD_CLOEXEC, 0), "fcntl(F_DUPFD_CLOEXEC)", { of: what });
  const fd = Fd.own(sys, number, what);
  try {
    const info = readMapInfo(sys, number);
    if (info.type === type) return { fd, info };
    throw new TsbpfError(
      `${what}: the map is of type '${mapTypeName(info.type)}', not '${mapTypeName(type)}'`,
    );
  } catch (error) {
    fd.close();
    throw error;
  }
}
