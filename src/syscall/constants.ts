// Constants of the C library's headers (fcntl.h, poll.h, sys/mman.h, sys/mount.h, sched.h, sys/resource.h), which the
// kernel's exported BPF and network headers do not carry. The values are those of asm-generic, which x86, arm64 and
// riscv share.

/** open(2). */
export const O_RDONLY = 0;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

/** fcntl(2): duplicate a descriptor, close-on-exec. */
export const F_DUPFD_CLOEXEC = 1030;

/** poll(2). */
export const POLLIN = 1;
export const POLLERR = 8;
export const POLLHUP = 16;

/** mmap(2). */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;

/** mount(2), umount2(2). */
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 0x40000;
export const MNT_DETACH = 2;

/** setns(2). */
export const CLONE_NEWNET = 0x4000_0000;

/** prlimit(2). */
export const RLIMIT_MEMLOCK = 8;
