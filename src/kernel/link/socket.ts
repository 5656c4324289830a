import { fstatSync } from "node:fs";
import { LITTLE_ENDIAN } from "../../base/host.ts";
import { check } from "../../syscall/errno.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import {
  SO_ATTACH_BPF,
  SO_ATTACH_REUSEPORT_EBPF,
  SO_DETACH_BPF,
  SO_DETACH_REUSEPORT_BPF,
  SOL_SOCKET,
} from "../../uapi/net.ts";
import type { KernelOptions } from "../map.ts";
import type { BpfProgram } from "../program.ts";
import { UnsupportedError } from "../unsupported.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { unlinked } from "./unlinked.ts";

/**
 * Attaches a program of type `socket_filter` to a socket (kernel 3.19): it decides how many bytes of each arriving packet the
 * socket gets; 0 drops it. A socket has one filter; another one takes its place.
 *
 * The filter goes with the socket. Closing the link takes it off before that.
 *
 * @param socket - its descriptor, which stays the caller's. Of a Node.js socket it is `socket._handle.fd`.
 * @throws TsbpfError: ENOTSOCK, EINVAL for a program of another type, EPERM where the socket's filter is locked.
 */
export function attachSocketFilter(program: BpfProgram, socket: number, options: KernelOptions = {}): Link {
  return attachToSocket(program, socket, options, FILTER);
}

/**
 * Attaches a program of type `sk_reuseport` (kernel 4.19) or `socket_filter` (kernel 4.5) to the group of sockets that share
 * one address through SO_REUSEPORT: it chooses which of them gets a connection or datagram. Taking it off: kernel 5.2.
 *
 * @param socket - the descriptor of any bound socket of the group, which stays the caller's.
 * @throws TsbpfError: EINVAL for a program of another type, or a socket without SO_REUSEPORT.
 */
export function attachReuseport(program: BpfProgram, socket: number, options: KernelOptions = {}): Link {
  return attachToSocket(program, socket, options, REUSEPORT);
}

interface SocketHook {
  readonly kind: "socket_filter" | "sk_reuseport";
  readonly name: string;
  readonly attach: number;
  readonly detach: number;
  readonly hints: Readonly<Record<string, string>>;
}

const FILTER: SocketHook = {
  kind: "socket_filter",
  name: "the filter",
  attach: SO_ATTACH_BPF,
  detach: SO_DETACH_BPF,
  hints: {
    EINVAL: "It takes a program of type socket_filter.",
    EPERM: "The socket's filter was locked (SO_LOCK_FILTER).",
    ENOTSOCK: "The descriptor is not that of a socket.",
    EBADF: "The descriptor is closed.",
  },
};

const REUSEPORT: SocketHook = {
  kind: "sk_reuseport",
  name: "the choice",
  attach: SO_ATTACH_REUSEPORT_EBPF,
  detach: SO_DETACH_REUSEPORT_BPF,
  hints: {
    ...FILTER.hints,
    EINVAL: "It takes a program of type sk_reuseport or socket_filter, and a socket with SO_REUSEPORT.",
    EPERM: "Choosing takes a socket with SO_REUSEPORT, set before it was bound.",
    ENOTSUPP: "The socket's protocol has no groups.",
  },
};

function attachToSocket(
  program: BpfProgram,
  socket: number,
  { sys = linuxSyscalls() }: KernelOptions,
  { kind, name, attach, detach, hints }: SocketHook,
): Link {
  const option = (value: number): Uint8Array => {
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setInt32(0, value, LITTLE_ENDIAN);
    return new Uint8Array(bytes.buffer);
  };
  const what = `${name} of socket ${socket}`;
  const set = (next: BpfProgram): number => {
    const progId = next.info().id;
    const optname = attach === SO_ATTACH_BPF ? "SO_ATTACH_BPF" : "SO_ATTACH_REUSEPORT_EBPF";
    attempt({ what: `attach '${next.name}' to socket ${socket}`, feature: { feature: optname }, hints }, () =>
      check(sys.setsockopt(socket, SOL_SOCKET, attach, option(next.fd)), `setsockopt(${optname})`, {
        socket,
      }),
    );
    return progId;
  };
  let progId = set(program);
  const inode = inodeOf(socket);
  return unlinked({
    kind,
    what,
    update(next, { expected }) {
      if (expected !== undefined) {
        throw new UnsupportedError(`cannot compare ${what} with the expected '${expected.name}'`, {
          feature: "an expected program for socket options",
          hint: "The kernel replaces whatever is there: leave expected out.",
        });
      }
      progId = set(next);
    },
    detach() {
      // The number may be another socket's by now: the filter went with the socket it was for.
      if (inodeOf(socket) !== inode) return;
      check(sys.setsockopt(socket, SOL_SOCKET, detach, option(0)), "setsockopt(SO_DETACH_BPF)", { socket });
    },
    info: () => ({ kind, id: undefined, progId }),
  });
}

function inodeOf(fd: number): bigint | undefined {
  try {
    return fstatSync(fd, { bigint: true }).ino;
  } catch {
    return undefined; // closed
  }
}
