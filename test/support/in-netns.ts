/**
 * The few calls the harness needs from this very process: entering a network namespace and SIOCETHTOOL. The product
 * has its own (src/syscall); the harness keeps a second, tiny implementation so that a defect in the one under test
 * cannot hide in the tests.
 */
import { closeSync, openSync } from "node:fs";
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const setns = libc.func("int setns(int fd, int nstype)");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const ioctl = libc.func("int ioctl(int fd, unsigned long request, void *argp)");

const CLONE_NEWNET = 0x40000000;
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const SIOCETHTOOL = 0x8946;

/** The `ETHTOOL_G*` / `ETHTOOL_S*` command pair of each offload (include/uapi/linux/ethtool.h). */
const OFFLOADS = {
  txChecksum: { get: 0x16, set: 0x17 },
  gro: { get: 0x2b, set: 0x2c },
} as const;

/** An offload the harness can read and switch. */
export type Offload = keyof typeof OFFLOADS;

/**
 * Runs `fn` with this thread inside the network namespace at `path` (`/run/netns/NAME` or `/proc/PID/ns/net`) and
 * returns to the old one, whatever happens. `fn` must be synchronous: after an `await`, other code would run in the
 * wrong namespace.
 */
export function inNetns<T>(path: string, fn: () => T): T {
  // The thread's own link: /proc/self would be the main thread's, which is wrong in a worker thread.
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    const target = openSync(path, "r");
    try {
      if (setns(target, CLONE_NEWNET) !== 0) throw new Error(`setns ${path}: errno ${koffi.errno()}`);
    } finally {
      closeSync(target);
    }
    try {
      const result = fn();
      if (result instanceof Promise) throw new Error("inNetns: the function must be synchronous");
      return result;
    } finally {
      // Going on in the wrong namespace would touch interfaces that are not ours: nothing but an abort is safe.
      if (setns(home, CLONE_NEWNET) !== 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

/** Whether `offload` is on for `dev` in the namespace at `netnsPath`. */
export function getOffload(netnsPath: string, dev: string, offload: Offload): boolean {
  return ethtoolValue(netnsPath, dev, OFFLOADS[offload].get, 0) !== 0;
}

/** Switches `offload` of `dev` in the namespace at `netnsPath`. */
export function setOffload(netnsPath: string, dev: string, offload: Offload, on: boolean): void {
  ethtoolValue(netnsPath, dev, OFFLOADS[offload].set, on ? 1 : 0);
}

/** `struct ethtool_value { u32 cmd; u32 data }` through `struct ifreq`; returns `data` as the kernel left it. */
function ethtoolValue(netnsPath: string, dev: string, cmd: number, data: number): number {
  const value = Buffer.alloc(8);
  value.writeUInt32LE(cmd, 0);
  value.writeUInt32LE(data, 4);
  const ifreq = Buffer.alloc(40);
  ifreq.write(dev, 0, 15, "latin1");
  ifreq.writeBigUInt64LE(koffi.address(value), 16);
  return inNetns(netnsPath, () => {
    const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw new Error(`socket: errno ${koffi.errno()}`);
    try {
      if (ioctl(fd, SIOCETHTOOL, ifreq) !== 0) {
        throw new Error(`SIOCETHTOOL 0x${cmd.toString(16)} ${dev}: errno ${koffi.errno()}`);
      }
    } finally {
      closeSync(fd);
    }
    return value.readUInt32LE(4);
  });
}
