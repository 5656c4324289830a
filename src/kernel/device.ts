import { TsbpfError } from "../base/error.ts";
import { NetlinkSocket } from "../syscall/netlink.ts";
import { linkByIndex, linkByName, type Link as NetworkInterface } from "../syscall/rtnetlink.ts";
import type { Syscalls } from "../syscall/syscalls.ts";

/** The interface of this name or index. @throws TsbpfError where the socket's network namespace has none. */
export function findDevice(route: NetlinkSocket, device: string | number): NetworkInterface {
  const found = typeof device === "number" ? linkByIndex(route, device) : linkByName(route, device);
  if (found !== undefined) return found;
  const which = typeof device === "number" ? `with index ${device}` : `'${device}'`;
  throw new TsbpfError(`no interface ${which}`, {
    hint: "`ip link` shows those of this network namespace.",
  });
}

/** {@link findDevice} in the current network namespace. */
export function findDeviceHere(sys: Syscalls, device: string | number): NetworkInterface {
  using route = NetlinkSocket.route(sys);
  return findDevice(route, device);
}
