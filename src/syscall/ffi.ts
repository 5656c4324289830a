import { createRequire } from "node:module";
import { TsbpfError } from "../base/error.ts";
import { EEXIST } from "../uapi/errno.ts";
import { type SyscallArch, syscallNumbers } from "../uapi/syscall-numbers.ts";
import { check, SyscallError } from "./errno.ts";
import type { FdWatch, PollFd, RawMapping, Syscalls } from "./syscalls.ts";

/**
 * The real {@link Syscalls}: libc through koffi. This is the only file of the project that imports koffi.
 *
 * koffi is loaded on the first call, so importing tsbpf works anywhere; the object is immutable and made once.
 *
 * @throws {@link UnsupportedPlatformError} when this is not Linux, koffi has no binary for this machine, or the
 * processor's system-call numbers are not known.
 */
export function linuxSyscalls(): Syscalls {
  loaded ??= Object.freeze(load());
  return loaded;
}

/** tsbpf cannot make system calls here. What only builds, assembles and disassembles programs works anywhere. */
export class UnsupportedPlatformError extends TsbpfError {}

let loaded: Syscalls | undefined;

type Koffi = typeof import("koffi");

function load(): Syscalls {
  if (process.platform !== "linux") {
    throw new UnsupportedPlatformError(`Loading BPF programs needs Linux; this is ${process.platform}`, {
      hint: "Assembling, disassembling and the language work here; run what loads programs on Linux.",
    });
  }
  const { arch } = process;
  if (!(arch in syscallNumbers)) {
    throw new UnsupportedPlatformError(`The system-call numbers of ${arch} are not known to tsbpf`, {
      hint: `Supported: ${Object.keys(syscallNumbers).join(", ")}.`,
    });
  }
  return bindLibc(loadKoffi(), syscallNumbers[arch as SyscallArch]);
}

function loadKoffi(): Koffi {
  try {
    // Not a static import: that would fail where koffi has no binary, even for code that never makes a system call.
    return createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    throw new UnsupportedPlatformError(
      `koffi, which makes the system calls, cannot be loaded on linux-${process.arch}`,
      {
        hint: "Reinstall the dependencies on this machine, with optional dependencies on: they carry koffi's binary.",
        cause,
      },
    );
  }
}

function bindLibc(
  koffi: Koffi,
  numbers: { readonly bpf: number; readonly perf_event_open: number },
): Syscalls {
  const libc = koffi.load(null);

  // One fixed-arity binding of syscall(2) per shape: a variadic call costs about twice as much. The result fits an
  // int, and an int comes back faster than a long.
  const syscall3 = libc.func("syscall", "int", ["int", "int", "void *", "uint"]);
  const syscall5 = libc.func("syscall", "int", ["int", "void *", "int", "int", "int", "ulong"]);

  const open = libc.func("int open(const char *path, int flags, ...)");
  const close = libc.func("int close(int fd)");
  const read = libc.func("intptr_t read(int fd, void *buf, size_t count)");
  const fcntl = libc.func("int fcntl(int fd, int cmd, ...)");
  const ioctl = libc.func("int ioctl(int fd, unsigned long request, ...)");
  const poll = libc.func("int poll(void *fds, unsigned long nfds, int timeout)");
  const socket = libc.func("int socket(int domain, int type, int protocol)");
  const bind = libc.func("int bind(int fd, const void *addr, uint addrlen)");
  const setsockopt = libc.func("int setsockopt(int fd, int level, int name, const void *value, uint length)");
  const getsockname = libc.func("int getsockname(int fd, void *addr, void *addrlen)");
  const sendto = libc.func(
    "intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *addr, uint addrlen)",
  );
  const recv = libc.func("intptr_t recv(int fd, void *data, size_t length, int flags)");
  const setns = libc.func("int setns(int fd, int nstype)");
  const mount = libc.func(
    "int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const char *data)",
  );
  const umount2 = libc.func("int umount2(const char *target, int flags)");
  const prlimit = libc.func("int prlimit(int pid, int resource, const void *newLimit, void *oldLimit)");
  const mmap = libc.func(
    "void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)",
  );
  const munmap = libc.func("int munmap(void *addr, size_t length)");

  const epollCreate1 = libc.func("int epoll_create1(int flags)");
  const epollCtl = libc.func("int epoll_ctl(int epfd, int op, int fd, void *event)");

  // errno is read before anything else can run on this thread.
  const { errno } = koffi;
  const result = (value: number): number => (value >= 0 ? value : -errno());

  // libuv takes neither a descriptor that epoll cannot wait for nor one it waits for already, and koffi 3.3.4 ends the
  // process when libuv refuses one. So it is tried here first.
  const watched = new Set<number>();
  const requireWatchable = (fd: number): void => {
    if (watched.has(fd)) throw new SyscallError("watchReadable", EEXIST, { fd });
    const epoll = check(result(epollCreate1(EPOLL_CLOEXEC)), "epoll_create1");
    const verdict = result(epollCtl(epoll, EPOLL_CTL_ADD, fd, EPOLL_EVENT_IN));
    close(epoll);
    check(verdict, "epoll_ctl(EPOLL_CTL_ADD)", { fd });
  };

  return {
    bpf(cmd, attr) {
      const value = syscall3(numbers.bpf, cmd, attr, attr.byteLength) as number;
      return value >= 0 ? value : -errno();
    },
    perfEventOpen: (attr, pid, cpu, groupFd, flags) =>
      result(syscall5(numbers.perf_event_open, attr, pid, cpu, groupFd, flags)),

    open: (path, flags, mode) => result(open(path, flags, "int", mode)),
    close: (fd) => result(close(fd)),
    read: (fd, buffer) => result(read(fd, buffer, buffer.byteLength)),
    fcntl: (fd, cmd, arg) => result(fcntl(fd, cmd, "long", arg)),
    ioctl: (fd, request, arg) =>
      result(typeof arg === "number" ? ioctl(fd, request, "long", arg) : ioctl(fd, request, "void *", arg)),
    poll(fds, timeoutMs) {
      const bytes = encodePollFds(fds);
      const ready = result(poll(bytes, fds.length, timeoutMs));
      if (ready >= 0) decodeRevents(bytes, fds);
      return ready;
    },

    socket: (domain, type, protocol) => result(socket(domain, type, protocol)),
    bind: (fd, address) => result(bind(fd, address, address.byteLength)),
    setsockopt: (fd, level, name, value) => result(setsockopt(fd, level, name, value, value.byteLength)),
    getsockname(fd, address) {
      const length = new Uint32Array([address.byteLength]);
      const value = result(getsockname(fd, address, length));
      return value < 0 ? value : (length[0] ?? 0);
    },
    sendto: (fd, data, flags, address) =>
      result(sendto(fd, data, data.byteLength, flags, address ?? null, address?.byteLength ?? 0)),
    recv: (fd, buffer, flags) => result(recv(fd, buffer, buffer.byteLength, flags)),

    setns: (fd, nstype) => result(setns(fd, nstype)),
    mount: (source, target, fstype, flags, data) => result(mount(source, target, fstype, flags, data)),
    umount2: (target, flags) => result(umount2(target, flags)),
    prlimit: (pid, resource, newLimit, oldLimit) => result(prlimit(pid, resource, newLimit, oldLimit)),

    mmap(length, prot, flags, fd, offset, near): RawMapping | number {
      const address = mmap(near ?? null, length, prot, flags, fd, offset) as bigint;
      if (address === MAP_FAILED) return -errno();
      return { address, buffer: koffi.view(address, length) };
    },
    munmap: (address, length) => result(munmap(address, length)),
    addressOf: (buffer) => koffi.address(buffer),

    watchReadable(fd, onReadable): FdWatch {
      requireWatchable(fd);
      const handle = koffi.node.poll(fd, { readable: true }, onReadable);
      watched.add(fd);
      const close = (): void => {
        if (!watched.delete(fd)) return;
        handle.close();
      };
      return { close, unref: () => handle.unref(), ref: () => handle.ref(), [Symbol.dispose]: close };
    },
  };
}

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
// struct epoll_event, at its longest; the events come first on every architecture, and nothing reads the rest.
const EPOLL_EVENT_IN = Uint32Array.of(1, 0, 0, 0);

/** `(void *) -1` as koffi gives it. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

// struct pollfd { int fd; short events; short revents; }, in host order.
function encodePollFds(fds: readonly PollFd[]): Int32Array {
  const words = new Int32Array(fds.length * 2);
  const shorts = new Int16Array(words.buffer);
  fds.forEach(({ fd, events }, i) => {
    words[i * 2] = fd;
    shorts[i * 4 + 2] = events;
  });
  return words;
}

function decodeRevents(words: Int32Array, fds: readonly PollFd[]): void {
  const shorts = new Int16Array(words.buffer);
  fds.forEach((entry, i) => {
    entry.revents = shorts[i * 4 + 3] ?? 0;
  });
}
