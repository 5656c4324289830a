import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import { fdLeakTracer } from "../../src/syscall/fd.ts";
import { decodeAck, NetlinkError, NetlinkSocket } from "../../src/syscall/netlink.ts";
import { attrString, attrU32, concatBytes, encodeMessage } from "../../src/syscall/netlink-message.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { fakeSyscalls } from "./fake-syscalls.ts";

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const MSG_PEEK = 2;
const F_MULTI = 2;
const F_DUMP_INTR = 0x10;
const F_CAPPED = 0x100;
const F_ACK_TLVS = 0x200;
const [EINTR, EEXIST, ENOBUFS] = [4, 17, 105];

const s32 = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
const NO_PAYLOAD = new Uint8Array(0);
const REQUEST = { name: "RTM_TEST", type: 18, payload: new Uint8Array(16), args: { dev: "eth0" } } as const;

/** What the fake kernel does when it is asked for the next datagram. */
type Step = Uint8Array | { readonly errno: number } | "silence";

/** A kernel that answers each request with the next script; a script gets the request's sequence number. */
function kernel(
  ...scripts: ((seq: number) => Step[])[]
): Syscalls & { readonly sent: number[]; readonly leaked: () => unknown[] } {
  const tracer = fdLeakTracer();
  const sent: number[] = [];
  let queue: Step[] = [];
  const sys = fakeSyscalls({
    fdTracker: tracer,
    socket: () => 3,
    setsockopt: () => 0,
    close: () => 0,
    sendto(_, bytes) {
      const view = new DataView(bytes.buffer);
      sent.push(view.getUint16(6, LITTLE_ENDIAN));
      queue = scripts.shift()?.(view.getUint32(8, LITTLE_ENDIAN)) ?? [];
      return bytes.byteLength;
    },
    poll(fds, timeoutMs) {
      const [step] = queue;
      if (step === undefined || step === "silence") {
        queue.shift();
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, timeoutMs);
        return 0;
      }
      for (const fd of fds) fd.revents = fd.events;
      return 1;
    },
    recv(_, buffer, flags) {
      const step = queue[0];
      if (!(step instanceof Uint8Array)) {
        queue.shift();
        return step === undefined || step === "silence" ? -11 : -step.errno;
      }
      buffer.set(step.subarray(0, buffer.byteLength));
      if ((flags & MSG_PEEK) === 0) queue.shift();
      return step.byteLength;
    },
  });
  return Object.assign(Object.create(sys), { sent, leaked: () => tracer.leaks() }) as never;
}

const message = (seq: number, type: number, flags: number, payload: Uint8Array): Uint8Array =>
  encodeMessage({ type, flags, seq, portId: 1, payload });
const header = (seq: number): Uint8Array =>
  encodeMessage({ type: 18, flags: 5, seq, portId: 0, payload: NO_PAYLOAD });
const ack = (seq: number, errno = 0, text?: string): Uint8Array =>
  message(
    seq,
    NLMSG_ERROR,
    F_CAPPED | (text === undefined ? 0 : F_ACK_TLVS),
    concatBytes(s32(-errno), header(seq), ...(text === undefined ? [] : [attrString(1, text)])),
  );
const done = (seq: number): Uint8Array => message(seq, NLMSG_DONE, F_MULTI, s32(0));
const item = (seq: number, byte: number, flags = F_MULTI): Uint8Array =>
  message(seq, 16, flags, Uint8Array.of(byte));

describe("request", () => {
  test("gives what came before the acknowledgement, and asks for one", () => {
    const sys = kernel((seq) => [concatBytes(item(seq, 1), ack(seq))]);
    using socket = NetlinkSocket.route(sys);
    const { messages, warning } = socket.request({ ...REQUEST, flags: 0x400 });
    expect(messages.map(({ payload }) => payload[0])).toEqual([1]);
    expect(warning).toBeUndefined();
    expect(sys.sent).toEqual([0x1 | 0x4 | 0x400]);
  });

  test("an error has the request, the errno, the kernel's explanation and the arguments", () => {
    const sys = kernel((seq) => [ack(seq, EEXIST, "Exclusivity flag on, cannot modify")]);
    using socket = NetlinkSocket.route(sys);
    const error = caught(() => socket.request(REQUEST));
    expect(error).toMatchObject({
      name: "NetlinkError",
      request: "RTM_TEST",
      errno: EEXIST,
      code: "EEXIST",
      extack: "Exclusivity flag on, cannot modify",
      args: { dev: "eth0" },
    });
    expect(error.message).toBe(
      "RTM_TEST failed: EEXIST (File exists): Exclusivity flag on, cannot modify [dev=eth0]",
    );
  });

  test("a remark on a success is a warning", () => {
    using socket = NetlinkSocket.route(kernel((seq) => [ack(seq, 0, "deprecated")]));
    expect(socket.request(REQUEST).warning).toBe("deprecated");
  });

  test("answers to other requests are skipped", () => {
    using socket = NetlinkSocket.route(
      kernel((seq) => [ack(seq - 1, EEXIST), item(seq + 1, 9), item(0, 8), item(seq, 1), ack(seq)]),
    );
    expect(socket.request(REQUEST).messages.map(({ payload }) => payload[0])).toEqual([1]);
  });

  test("a signal does not disturb it", () => {
    using socket = NetlinkSocket.route(kernel((seq) => [{ errno: EINTR }, ack(seq)]));
    expect(socket.request(REQUEST).messages).toEqual([]);
  });

  test("silence ends in ETIMEDOUT", () => {
    using socket = NetlinkSocket.route(
      kernel(() => ["silence"]),
      { timeoutMs: 20 },
    );
    expect(() => socket.request(REQUEST)).toThrow(
      "RTM_TEST failed: ETIMEDOUT (Connection timed out): no answer from the kernel in 20 ms [dev=eth0]",
    );
  });

  test("so do endless foreign messages", () => {
    const sys = kernel((seq) => Array.from({ length: 1e5 }, () => item(seq + 1, 1)));
    using socket = NetlinkSocket.route(sys, { timeoutMs: 20 });
    expect(() => socket.request(REQUEST)).toThrow("ETIMEDOUT");
  });

  test("lost answers are an error", () => {
    using socket = NetlinkSocket.route(kernel(() => [{ errno: ENOBUFS }]));
    expect(() => socket.request(REQUEST)).toThrow("ENOBUFS (No buffer space available): answers were lost");
  });

  test("malformed bytes are an error", () => {
    using socket = NetlinkSocket.route(kernel(() => [Uint8Array.of(1, 2, 3)]));
    expect(() => socket.request(REQUEST)).toThrow(
      "EBADMSG (Bad message): Netlink message at byte 0: length 0 with 3 bytes left",
    );
  });

  test("a request that cannot be sent is an error", () => {
    using socket = NetlinkSocket.route({ ...plain(kernel()), sendto: () => -ENOBUFS });
    expect(() => socket.request(REQUEST)).toThrow("RTM_TEST failed: ENOBUFS");
  });
});

describe("dump", () => {
  test("collects several datagrams up to the end mark", () => {
    const sys = kernel((seq) => [concatBytes(item(seq, 1), item(seq, 2)), item(seq, 3), done(seq)]);
    using socket = NetlinkSocket.route(sys);
    expect(socket.dump(REQUEST).map(({ payload }) => payload[0])).toEqual([1, 2, 3]);
    expect(sys.sent).toEqual([0x1 | 0x300]);
  });

  test("is taken again when the kernel marks it as interrupted", () => {
    const sys = kernel(
      (seq) => [item(seq, 1, F_MULTI | F_DUMP_INTR), item(seq, 2), done(seq)],
      (seq) => [item(seq, 7), done(seq)],
    );
    using socket = NetlinkSocket.route(sys);
    expect(socket.dump(REQUEST).map(({ payload }) => payload[0])).toEqual([7]);
  });

  test("but not for ever", () => {
    const interrupted = (seq: number): Step[] => [item(seq, 1, F_MULTI | F_DUMP_INTR), done(seq)];
    const sys = kernel(...Array.from({ length: 20 }, () => interrupted));
    using socket = NetlinkSocket.route(sys);
    expect(() => socket.dump(REQUEST)).toThrow(
      "RTM_TEST failed: EINTR (Interrupted system call): the dump was interrupted 10 times",
    );
    expect(sys.sent).toHaveLength(10);
  });

  test("an error in the end mark counts", () => {
    using socket = NetlinkSocket.route(kernel((seq) => [message(seq, NLMSG_DONE, F_MULTI, s32(-EEXIST))]));
    expect(() => socket.dump(REQUEST)).toThrow("RTM_TEST failed: EEXIST");
  });

  test("an error instead of an answer counts", () => {
    using socket = NetlinkSocket.route(kernel((seq) => [ack(seq, EEXIST, "no")]));
    expect(() => socket.dump(REQUEST)).toThrow("EEXIST (File exists): no");
  });
});

test("the socket is closed at the end", () => {
  const sys = kernel((seq) => [ack(seq)]);
  {
    using socket = NetlinkSocket.generic(sys);
    socket.request(REQUEST);
    expect(sys.leaked()).toHaveLength(1);
  }
  expect(sys.leaked()).toHaveLength(0);
});

test("no socket, no object", () => {
  expect(() => NetlinkSocket.route(fakeSyscalls({ socket: () => -97 }))).toThrow(
    "socket(AF_NETLINK, NETLINK_ROUTE) failed: EAFNOSUPPORT",
  );
});

describe("acknowledgements", () => {
  const read = (flags: number, payload: Uint8Array) =>
    decodeAck({ type: 2, flags, seq: 1, portId: 0, payload });

  test("with the whole request echoed", () => {
    const request = encodeMessage({ type: 19, flags: 5, seq: 1, portId: 0, payload: new Uint8Array(10) });
    const text = concatBytes(attrU32(2, 12), attrString(1, "No"));
    expect(read(F_ACK_TLVS, concatBytes(s32(-22), request, text))).toEqual({ errno: 22, text: "No" });
  });

  test.each<[string, Uint8Array]>([
    ["attributes that overrun", concatBytes(s32(-22), header(1), Uint8Array.of(255, 0, 1, 0))],
    ["an echo that overruns", concatBytes(s32(-22), new Uint8Array(16).fill(0xff), attrString(1, "No"))],
    ["an echo that is cut", concatBytes(s32(-22), new Uint8Array(3))],
  ])("%s cost the text, not the verdict", (_, payload) => {
    expect(read(F_ACK_TLVS, payload)).toEqual({ errno: 22, text: undefined });
  });

  test("without an error number it is not a success", () => {
    expect(read(0, NO_PAYLOAD).errno).toBe(74);
  });

  test("any bytes give a verdict", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(0xffff), (payload, flags) => {
        expect(read(flags, payload).errno).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 2000 },
    );
  });
});

function caught(action: () => unknown): NetlinkError {
  try {
    action();
  } catch (error) {
    if (error instanceof NetlinkError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

function plain(sys: Syscalls): Syscalls {
  const { socket, setsockopt, close } = sys;
  return fakeSyscalls({ socket, setsockopt, close });
}
