import { LITTLE_ENDIAN } from "../base/host.ts";
import { EADDRINUSE } from "../uapi/errno.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "../uapi/net.ts";
import { AttrError } from "./attr.ts";
import { check, SyscallError } from "./errno.ts";
import { Fd } from "./fd.ts";
import type { Syscalls } from "./syscalls.ts";

/**
 * A `sockaddr_un` in the abstract namespace: no file, gone with the last descriptor, one per network namespace (unix(7)).
 * @throws {@link AttrError} for an empty name or one over 107 bytes.
 */
export function sockaddrUnixAbstract(name: string): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  if (encoded.byteLength === 0 || encoded.byteLength > 107) {
    throw new AttrError(`"${name}" is not an abstract socket name`, { hint: "It has 1 to 107 bytes." });
  }
  const address = new Uint8Array(3 + encoded.byteLength);
  new DataView(address.buffer).setUint16(0, AF_UNIX, LITTLE_ENDIAN);
  address.set(encoded, 3);
  return address;
}

/**
 * Takes a machine-wide lock (within this network namespace) by binding an abstract socket; `undefined` if somebody has
 * it. The kernel releases it when the descriptor closes, also when the process dies.
 */
export function tryLock(sys: Syscalls, name: string): Fd | undefined {
  const number = check(sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket(AF_UNIX)");
  const fd = Fd.own(sys, number, `lock "${name}"`);
  const result = sys.bind(fd.number, sockaddrUnixAbstract(name));
  if (result >= 0) return fd;
  fd.close();
  if (result === -EADDRINUSE) return undefined;
  throw new SyscallError("bind(AF_UNIX)", -result, { name });
}
