import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { linuxSyscalls } from "../../src/syscall/ffi.ts";
import type { FdWatch } from "../../src/syscall/syscalls.ts";

const FFI = fileURLToPath(new URL("../../src/syscall/ffi.ts", import.meta.url));
const linux = process.platform === "linux";

describe("linuxSyscalls", { skip: !linux }, () => {
  test("is one immutable object", () => {
    expect(linuxSyscalls()).toBe(linuxSyscalls());
    expect(Object.isFrozen(linuxSyscalls())).toBe(true);
  });

  test("results are the kernel's: a number, or -errno", () => {
    const sys = linuxSyscalls();
    const O_CLOEXEC = 0o2000000;
    expect(sys.open("/no/such/file", O_CLOEXEC, 0)).toBe(-2);
    expect(sys.close(-1)).toBe(-9);
    const fd = sys.open("/proc/self/comm", O_CLOEXEC, 0);
    expect(fd).toBeGreaterThan(2);
    const buffer = new Uint8Array(4);
    expect(sys.read(fd, buffer)).toBe(4);
    expect(buffer.every((byte) => byte !== 0)).toBe(true);
    expect(sys.close(fd)).toBe(0);
    expect(sys.read(fd, buffer)).toBe(-9);
  });

  test("poll, sockets and their addresses", () => {
    const sys = linuxSyscalls();
    const [AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC, POLLIN, MSG_DONTWAIT, MSG_TRUNC] = [
      1, 2, 0x80000, 1, 0x40, 0x20,
    ];
    const fd = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    try {
      const address = Uint8Array.from([1, 0, 0, ...Buffer.from(`tsbpf-ffi-${process.pid}`)]);
      expect(sys.bind(fd, address)).toBe(0);
      expect(sys.bind(fd, address)).toBe(-22);
      const got = new Uint8Array(110);
      const length = sys.getsockname(fd, got);
      expect(got.subarray(0, length)).toEqual(address);

      const entries = [
        { fd, events: POLLIN, revents: 99 },
        { fd: -1, events: POLLIN, revents: 99 },
      ];
      expect(sys.poll(entries, 0)).toBe(0);
      expect(entries.map(({ revents }) => revents)).toEqual([0, 0]);
      expect(sys.recv(fd, got, MSG_DONTWAIT)).toBe(-11);
      expect(sys.sendto(fd, Uint8Array.of(1, 2, 3), 0, address)).toBe(3);
      expect(sys.poll(entries, 1000)).toBe(1);
      expect(entries.map(({ revents }) => revents)).toEqual([POLLIN, 0]);
      // The true length, although the buffer is shorter.
      expect(sys.recv(fd, got.subarray(0, 2), MSG_DONTWAIT | MSG_TRUNC)).toBe(3);
    } finally {
      sys.close(fd);
    }
  });

  test("memory: an address, and a view of what is there", () => {
    const sys = linuxSyscalls();
    const [PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS] = [3, 0x22];
    const mapping = sys.mmap(8192, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    if (typeof mapping === "number") throw new Error(`mmap: ${mapping}`);
    expect(mapping.buffer.byteLength).toBe(8192);
    expect(mapping.address % 4096n).toBe(0n);
    new Uint8Array(mapping.buffer)[8191] = 7;
    expect(sys.munmap(mapping.address, 8192)).toBe(0);
    expect(sys.mmap(0, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)).toBe(-22);
  });

  test("the address of a slice is that of its first byte", () => {
    const sys = linuxSyscalls();
    const whole = new Uint8Array(32);
    expect(sys.addressOf(whole.subarray(5))).toBe(sys.addressOf(whole) + 5n);
    const pooled = Buffer.from("abc");
    expect(sys.addressOf(pooled)).toBe(
      sys.addressOf(new Uint8Array(pooled.buffer)) + BigInt(pooled.byteOffset),
    );
  });

  test("limits", () => {
    const sys = linuxSyscalls();
    const RLIMIT_NOFILE = 7;
    const limit = new BigUint64Array(2);
    expect(sys.prlimit(0, RLIMIT_NOFILE, null, new Uint8Array(limit.buffer))).toBe(0);
    expect(limit[0]).toBeGreaterThan(0n);
    expect(sys.prlimit(0, 999, null, new Uint8Array(16))).toBe(-22);
  });

  test("watchReadable calls back from the event loop, until it is closed", async () => {
    const sys = linuxSyscalls();
    const [AF_UNIX, SOCK_DGRAM] = [1, 2];
    const fd = sys.socket(AF_UNIX, SOCK_DGRAM | 0x80000, 0);
    const address = Uint8Array.from([1, 0, 0, ...Buffer.from(`tsbpf-watch-${process.pid}`)]);
    try {
      expect(sys.bind(fd, address)).toBe(0);
      let calls = 0;
      const buffer = new Uint8Array(8);
      const readable = new Promise<void>((resolve) => {
        const watch: FdWatch = sys.watchReadable(fd, () => {
          calls++;
          sys.recv(fd, buffer, 0);
          watch.close();
          resolve();
        });
      });
      expect(calls).toBe(0);
      // A second watch of one descriptor ends the process inside koffi, if it gets that far.
      expect(() => sys.watchReadable(fd, () => {})).toThrow(
        `watchReadable failed: EEXIST (File exists) [fd=${fd}]`,
      );
      sys.sendto(fd, Uint8Array.of(42), 0, address);
      await readable;
      expect(buffer[0]).toBe(42);
      sys.sendto(fd, Uint8Array.of(43), 0, address);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(calls).toBe(1);
    } finally {
      sys.close(fd);
    }
  });
});

describe("what cannot be watched", { skip: !linux }, () => {
  test.each([
    ["a regular file", "/etc/passwd", "EPERM (Operation not permitted)"],
    ["nothing", undefined, "EBADF (Bad file descriptor)"],
  ])("%s is an error, not the end of the process", (_, path, words) => {
    const sys = linuxSyscalls();
    const fd = path === undefined ? 99_999 : sys.open(path, 0o2000000, 0);
    try {
      expect(() => sys.watchReadable(fd, () => {})).toThrow(
        `epoll_ctl(EPOLL_CTL_ADD) failed: ${words} [fd=${fd}]`,
      );
    } finally {
      sys.close(fd);
    }
  });
});

// In a process of its own, so that what it pretends does not reach the other tests.
function messageWhere(pretence: string): string {
  const script = `
    ${pretence}
    const { linuxSyscalls } = await import(${JSON.stringify(FFI)});
    try { linuxSyscalls(); console.log("no error"); }
    catch (error) { console.log(error.name + ": " + error.message); }`;
  return execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    encoding: "utf8",
    timeout: 30_000,
  }).trim();
}

describe("where system calls cannot be made", () => {
  test.each([
    [
      "another operating system",
      'Object.defineProperty(process, "platform", { value: "darwin" });',
      "UnsupportedPlatformError: Loading BPF programs needs Linux; this is darwin\n" +
        "  Assembling, disassembling and the language work here; run what loads programs on Linux.",
    ],
    [
      "a processor without known call numbers",
      'Object.defineProperty(process, "platform", { value: "linux" }); Object.defineProperty(process, "arch", { value: "mips" });',
      "UnsupportedPlatformError: The system-call numbers of mips are not known to tsbpf\n" +
        "  Supported: x64, arm64, riscv64.",
    ],
    [
      "koffi without its binary",
      'const { Module } = await import("node:module"); const real = Module._load; Module._load = function (id, ...rest) { if (id === "koffi") throw new Error("Cannot find the native Koffi module"); return real.call(this, id, ...rest); };',
      `UnsupportedPlatformError: koffi, which makes the system calls, cannot be loaded on linux-${process.arch}\n` +
        "  Reinstall the dependencies on this machine, with optional dependencies on: they carry koffi's binary.",
    ],
  ])("%s", { skip: !linux }, (_, pretence, expected) => {
    expect(messageWhere(pretence)).toBe(expected);
  });
});
