import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import { driverInfo, setTxChecksumOffload, txChecksumOffload } from "../../src/syscall/ethtool.ts";
import { fdLeakTracer } from "../../src/syscall/fd.ts";
import { encodePerfEventAttr, type PerfEventAttr } from "../../src/syscall/perf-event.ts";
import { sockaddrUnixAbstract, tryLock } from "../../src/syscall/socket.ts";
import { fakeSyscalls } from "./fake-syscalls.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("perf_event_attr", { skip: !LITTLE_ENDIAN }, () => {
  // Words of 4 bytes at their offsets; everything else is zero. The flag word is at 40.
  test.each<[string, PerfEventAttr, Record<number, number>]>([
    ["a tracepoint", { type: 2, config: 300 }, { 0: 2, 8: 300 }],
    [
      "BPF output, woken per sample",
      { type: 1, config: 10, sample_type: 0x400, sample_period: 1, wakeup_events: 1 },
      {
        0: 1,
        8: 10,
        16: 1,
        24: 0x400,
        48: 1,
      },
    ],
    ["a frequency sets the freq bit", { type: 0, sample_freq: 99 }, { 16: 99, 40: 1 << 10 }],
    [
      "bits",
      { type: 1, set: ["disabled", "exclude_kernel", "watermark"] },
      { 0: 1, 40: 1 | (1 << 5) | (1 << 14) },
    ],
    ["a kprobe by name", { type: 8, kprobe_func: "f", probe_offset: 4 }, { 0: 8, 56: 0x1000, 64: 4 }],
    [
      "a uprobe",
      { type: 9, uprobe_path: "/x", probe_offset: 64, config: 1 },
      { 0: 9, 8: 1, 56: 0x1000, 64: 64 },
    ],
  ])("%s", (_, given, words) => {
    const { bytes } = encodePerfEventAttr({ addressOf: () => 0x1000n }, given);
    const view = new DataView(bytes.buffer);
    for (let offset = 0; offset < bytes.byteLength; offset += 4) {
      const expected = offset === 4 ? bytes.byteLength : (words[offset] ?? 0);
      expect(view.getUint32(offset, true), `offset ${offset}`).toBe(expected);
    }
  });

  test("a period and a frequency are one field", () => {
    expect(() =>
      encodePerfEventAttr({ addressOf: () => 0n }, { type: 0, sample_freq: 1, sample_period: 1 }),
    ).toThrow("sample_period and sample_freq are one field");
  });
});

describe("abstract sockets", () => {
  test.skipIf(!LITTLE_ENDIAN)("an address is the family, a NUL and the name", () => {
    expect(hex(sockaddrUnixAbstract("ab"))).toBe("0100006162");
  });

  test.each(["", "x".repeat(108), "é".repeat(54)])("%j is not a name", (name) => {
    expect(() => sockaddrUnixAbstract(name)).toThrow("is not an abstract socket name");
  });

  test("a lock that is taken gives undefined and leaves no socket", () => {
    const tracer = fdLeakTracer();
    const sys = fakeSyscalls({ socket: () => 5, close: () => 0, bind: () => -98, fdTracker: tracer });
    expect(tryLock(sys, "x")).toBeUndefined();
    tracer.assertNone();
  });

  test("another failure is an error and leaves no socket", () => {
    const tracer = fdLeakTracer();
    const sys = fakeSyscalls({ socket: () => 5, close: () => 0, bind: () => -12, fdTracker: tracer });
    expect(() => tryLock(sys, "x")).toThrow("bind(AF_UNIX) failed: ENOMEM (Cannot allocate memory) [name=x]");
    tracer.assertNone();
  });
});

describe("ethtool", () => {
  // A driver that sees what the ioctl passes: the name, and the command behind the pointer.
  function driver(answer: number) {
    const tracer = fdLeakTracer();
    const commands: Uint8Array[] = [];
    const requests: string[] = [];
    const sys = fakeSyscalls({
      fdTracker: tracer,
      socket: () => 5,
      close: () => 0,
      addressOf(buffer) {
        commands.push(buffer);
        return 0x1000n;
      },
      ioctl(_, request, arg) {
        requests.push(`${request.toString(16)} ${typeof arg === "number" ? arg : hex(arg)}`);
        return answer;
      },
    });
    return { sys, commands, requests, tracer };
  }

  test.skipIf(!LITTLE_ENDIAN)("the request is an ifreq with the name and the command's address", () => {
    const { sys, commands, requests, tracer } = driver(0);
    setTxChecksumOffload(sys, "eth0", false);
    expect(requests).toEqual([`8946 65746830${"00".repeat(12)}0010${"00".repeat(22)}`]);
    expect(commands.map(hex)).toEqual(["1700000000000000"]);
    tracer.assertNone();
  });

  test("a driver that does not know the command", () => {
    const { sys, tracer } = driver(-95);
    expect(txChecksumOffload(sys, "lo")).toBeUndefined();
    expect(driverInfo(sys, "lo")).toBeUndefined();
    expect(() => setTxChecksumOffload(sys, "lo", true)).toThrow(
      "ioctl(SIOCETHTOOL, ETHTOOL_STXCSUM) failed: EOPNOTSUPP (Operation not supported) [dev=lo, value=true]",
    );
    tracer.assertNone();
  });

  test("an interface that is not there", () => {
    const { sys, tracer } = driver(-19);
    expect(() => txChecksumOffload(sys, "nope")).toThrow(
      "ioctl(SIOCETHTOOL, ETHTOOL_GTXCSUM) failed: ENODEV (No such device) [dev=nope]",
    );
    tracer.assertNone();
  });

  test.each(["", "a-name-of-16-byt", "a\0b"])("%j is not a name", (name) => {
    const { sys, requests } = driver(0);
    expect(() => txChecksumOffload(sys, name)).toThrow("is not an interface name");
    expect(requests).toEqual([]);
  });
});
