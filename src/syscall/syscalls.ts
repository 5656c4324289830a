import type { FdTracker } from "./fd.ts";

/**
 * Every call tsbpf makes into the kernel, as one small interface that is passed in, never reached for as a global.
 * That is what lets a test wrap it and make the nth call fail.
 *
 * The convention is the kernel's own: a result `>= 0`, or `-errno`. Nothing throws at this level; the functions above
 * (`mapCreate`, `openNetlink`, ...) turn a negative result into a `SyscallError`. Every descriptor is close-on-exec:
 * callers pass the `*_CLOEXEC` flag where the call has one, and `bpf()` sets it itself.
 *
 * Members are plain closures (none uses `this`), so `{ ...sys, bpf: myBpf }` is a valid replacement.
 */
export interface Syscalls {
  /**
   * bpf(2). `attr` is the encoded `union bpf_attr`; its byte length is the size given to the kernel.
   *
   * Buffers whose addresses are inside `attr` must be reachable until the call returns; `BpfAttr` sees to that.
   */
  readonly bpf: (cmd: number, attr: Uint8Array) => number;
  /** perf_event_open(2). `attr` is an encoded `struct perf_event_attr`. */
  readonly perfEventOpen: (
    attr: Uint8Array,
    pid: number,
    cpu: number,
    groupFd: number,
    flags: number,
  ) => number;

  /** open(2). */
  readonly open: (path: string, flags: number, mode: number) => number;
  /** close(2). Never retry it: on Linux the descriptor is gone even after `EINTR`. */
  readonly close: (fd: number) => number;
  /** read(2) into the whole of `buffer`. */
  readonly read: (fd: number, buffer: Uint8Array) => number;
  /** fcntl(2) with an integer argument. */
  readonly fcntl: (fd: number, cmd: number, arg: number) => number;
  /** ioctl(2) with a pointer argument (a buffer) or an integer one. */
  readonly ioctl: (fd: number, request: number, arg: Uint8Array | number) => number;
  /** poll(2). Fills in each entry's `revents`; returns how many are not zero. `timeoutMs` -1 waits for ever. */
  readonly poll: (fds: PollFd[], timeoutMs: number) => number;

  /** socket(2). */
  readonly socket: (domain: number, type: number, protocol: number) => number;
  /** bind(2) to an encoded `sockaddr`; see `sockaddrUnixAbstract`. */
  readonly bind: (fd: number, address: Uint8Array) => number;
  /** setsockopt(2). */
  readonly setsockopt: (fd: number, level: number, name: number, value: Uint8Array) => number;
  /** getsockname(2) into `address`; returns the address length (which may exceed the buffer's). */
  readonly getsockname: (fd: number, address: Uint8Array) => number;
  /** sendto(2); without `address` it is send(2). */
  readonly sendto: (fd: number, data: Uint8Array, flags: number, address?: Uint8Array) => number;
  /** recv(2). With `MSG_TRUNC` in `flags` a datagram socket returns the true length, which may exceed the buffer's. */
  readonly recv: (fd: number, buffer: Uint8Array, flags: number) => number;

  /** setns(2). Moves the calling thread only; see `withNetns`. */
  readonly setns: (fd: number, nstype: number) => number;
  /** mount(2). */
  readonly mount: (
    source: string,
    target: string,
    fstype: string,
    flags: number,
    data: string | null,
  ) => number;
  /** umount2(2). */
  readonly umount2: (target: string, flags: number) => number;
  /** prlimit(2): `struct rlimit64` as two host-order u64. `null` leaves that side out. */
  readonly prlimit: (
    pid: number,
    resource: number,
    newLimit: Uint8Array | null,
    oldLimit: Uint8Array | null,
  ) => number;

  /** mmap(2) at an address the kernel chooses, which is `near` where that is free. Gives `-errno`, or the mapping; see `mapMemory` for an owned one. */
  readonly mmap: (
    length: number,
    prot: number,
    flags: number,
    fd: number,
    offset: number,
    near?: bigint,
  ) => RawMapping | number;
  /** munmap(2). Every view of the mapping is dead memory afterwards: reading one kills the process. */
  readonly munmap: (address: bigint, length: number) => number;

  /**
   * The address of a buffer's first byte, for fields of a `bpf_attr`.
   *
   * It stays valid while the buffer is reachable and not transferred to another thread, and no longer: the caller
   * keeps a reference until the kernel is done. An empty buffer has no meaningful address.
   */
  readonly addressOf: (buffer: Uint8Array) => bigint;

  /**
   * Calls `onReadable` from the event loop whenever `fd` is readable (level-triggered), until the watch is closed.
   * Works on whatever epoll(7) takes: sockets, ring-buffer maps, perf events, trace pipes. It sets `O_NONBLOCK` on the
   * descriptor. Keep the returned object: a watch that is collected as garbage ends.
   *
   * Not a system call, and unlike those it throws.
   *
   * @throws `SyscallError`: EPERM for what epoll cannot wait for (a regular file), EBADF, EEXIST while `fd` is watched.
   */
  readonly watchReadable: (fd: number, onReadable: () => void) => FdWatch;

  /** Told of every `Fd` that is opened and closed through this object; what a leak test plugs in. */
  readonly fdTracker?: FdTracker | undefined;
}

/** One entry of {@link Syscalls.poll}, `struct pollfd`. */
export interface PollFd {
  readonly fd: number;
  /** What to wait for: `POLLIN` and so on. */
  readonly events: number;
  /** What happened; written by the call. */
  revents: number;
}

/** What mmap(2) gave: an address, and the memory there as an `ArrayBuffer` that does not own it. */
export interface RawMapping {
  readonly address: bigint;
  readonly buffer: ArrayBuffer;
}

/** A running {@link Syscalls.watchReadable}. */
export interface FdWatch {
  /** Stops it; doing it again is fine. Close the watch before the descriptor. */
  close(): void;
  /** Lets the process exit although the watch is open. */
  unref(): void;
  /** Undoes {@link FdWatch.unref}. */
  ref(): void;
  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void;
}
