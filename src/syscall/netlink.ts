import { randomInt } from "node:crypto";
import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { EBADMSG, EINTR, ENOBUFS, ETIMEDOUT } from "../uapi/errno.ts";
import {
  AF_NETLINK,
  MSG_DONTWAIT,
  MSG_PEEK,
  MSG_TRUNC,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_NETLINK,
} from "../uapi/net.ts";
import {
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GENERIC,
  NETLINK_ROUTE,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_OVERRUN,
  NLMSGERR_ATTR_MSG,
} from "../uapi/netlink.ts";
import { nlmsghdr } from "../uapi/structs.ts";
import { POLLIN } from "./constants.ts";
import { check, describeErrno, errnoName, formatArgs, type SyscallArgs } from "./errno.ts";
import { Fd } from "./fd.ts";
import {
  decodeMessages,
  encodeMessage,
  NetlinkFormatError,
  NlAttrs,
  type NlMessage,
} from "./netlink-message.ts";
import type { Syscalls } from "./syscalls.ts";

/** A netlink request. */
export interface NlRequest {
  /** What it is called in error messages: `RTM_SETLINK`. */
  readonly name: string;
  /** The message type. */
  readonly type: number;
  /** Flags besides `NLM_F_REQUEST` and what the kind of exchange implies. */
  readonly flags?: number;
  /** Family header and attributes. */
  readonly payload: Uint8Array;
  /** What to show of the arguments if it fails. */
  readonly args?: SyscallArgs;
}

/** The answer to a request that the kernel acknowledged. */
export interface NlReply {
  /** The messages before the acknowledgement: the object asked for, or the echo of what was made. */
  readonly messages: readonly NlMessage[];
  /** What the kernel remarks although it did as asked. */
  readonly warning: string | undefined;
}

/** A request that the kernel refused, in the kernel's words. */
export class NetlinkError extends TsbpfError {
  /** The request's name: `RTM_SETLINK`. */
  readonly request: string;
  /** The errno number, positive. */
  readonly errno: number;
  /** The errno name. */
  readonly code: string;
  /** The kernel's explanation, if it gave one: `veth: Peer MTU is too large to set XDP`. */
  readonly extack: string | undefined;
  readonly args: SyscallArgs;

  constructor(request: string, errno: number, extack: string | undefined, args: SyscallArgs = {}) {
    const positive = Math.abs(errno);
    const words = extack === undefined ? "" : `: ${extack}`;
    super(`${request} failed: ${describeErrno(positive)}${words}${formatArgs(args)}`);
    this.request = request;
    this.errno = positive;
    this.code = errnoName(positive);
    this.extack = extack;
    this.args = args;
  }
}

/** How a {@link NetlinkSocket} waits. */
export interface NetlinkOptions {
  /** Longest wait for one answer, in milliseconds (5000). The kernel's RTNL lock can be held for a while. */
  readonly timeoutMs?: number;
}

/**
 * A netlink socket for synchronous requests, with extended acknowledgements on.
 *
 * It belongs to the network namespace of the thread that opened it, also when that thread moves on.
 *
 * @example
 * using route = NetlinkSocket.route(sys);
 * const link = linkByName(route, "eth0");
 */
export class NetlinkSocket {
  readonly #sys: Syscalls;
  readonly #fd: Fd;
  readonly #timeoutMs: number;
  #seq: number;
  /** Whether the answer to the last request has not been read to its end. */
  #unread = false;

  private constructor(sys: Syscalls, fd: Fd, timeoutMs: number) {
    this.#sys = sys;
    this.#fd = fd;
    this.#timeoutMs = timeoutMs;
    this.#seq = randomInt(1, 0x7fff_ffff);
  }

  /** rtnetlink(7): links, qdiscs, filters. */
  static route(sys: Syscalls, options: NetlinkOptions = {}): NetlinkSocket {
    return NetlinkSocket.#open(sys, NETLINK_ROUTE, "NETLINK_ROUTE", options);
  }

  /** Generic netlink. */
  static generic(sys: Syscalls, options: NetlinkOptions = {}): NetlinkSocket {
    return NetlinkSocket.#open(sys, NETLINK_GENERIC, "NETLINK_GENERIC", options);
  }

  static #open(sys: Syscalls, protocol: number, name: string, options: NetlinkOptions): NetlinkSocket {
    const number = check(
      sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol),
      `socket(AF_NETLINK, ${name})`,
    );
    const fd = Fd.own(sys, number, `${name} socket`);
    // Both are best effort: EXT_ACK came with 4.12, CAP_ACK with 4.3; without them errors only have less to say.
    const on = new Uint8Array(new Uint32Array([1]).buffer);
    sys.setsockopt(number, SOL_NETLINK, NETLINK_EXT_ACK, on);
    sys.setsockopt(number, SOL_NETLINK, NETLINK_CAP_ACK, on);
    return new NetlinkSocket(sys, fd, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  /**
   * Sends a request and waits for its acknowledgement.
   * @throws {@link NetlinkError} if the kernel refuses it, or does not answer in time (ETIMEDOUT).
   */
  request(request: NlRequest): NlReply {
    const seq = this.#send(request, NLM_F_ACK);
    const deadline = Date.now() + this.#timeoutMs;
    const messages: NlMessage[] = [];
    for (;;) {
      for (const message of this.#receive(request, deadline)) {
        if (message.seq !== seq) continue;
        if (message.type !== NLMSG_ERROR) {
          if (message.type > NLMSG_OVERRUN) messages.push(message);
          continue;
        }
        this.#unread = false;
        const { errno, text } = decodeAck(message);
        if (errno !== 0) throw new NetlinkError(request.name, errno, text, request.args);
        return { messages, warning: text };
      }
    }
  }

  /**
   * Sends a dump request and collects every message of the answer. A dump that the kernel marks as interrupted (things
   * changed meanwhile) is taken again.
   *
   * @throws {@link NetlinkError}, with EINTR if the dump was interrupted again and again.
   */
  dump(request: NlRequest): readonly NlMessage[] {
    for (let attempt = 0; attempt < MAX_DUMP_ATTEMPTS; attempt++) {
      const messages = this.#dumpOnce(request);
      if (messages !== undefined) return messages;
    }
    throw new NetlinkError(
      request.name,
      EINTR,
      `the dump was interrupted ${MAX_DUMP_ATTEMPTS} times`,
      request.args,
    );
  }

  /** Closes the socket; doing it again is fine. */
  close(): void {
    this.#fd.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** `undefined` if the dump is not a consistent picture. */
  #dumpOnce(request: NlRequest): readonly NlMessage[] | undefined {
    const seq = this.#send(request, NLM_F_DUMP);
    const deadline = Date.now() + this.#timeoutMs;
    const messages: NlMessage[] = [];
    let consistent = true;
    for (;;) {
      for (const message of this.#receive(request, deadline)) {
        if (message.seq !== seq) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) consistent = false;
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          this.#unread = false;
          const { errno, text } = message.type === NLMSG_ERROR ? decodeAck(message) : decodeDone(message);
          if (errno !== 0) throw new NetlinkError(request.name, errno, text, request.args);
          return consistent ? messages : undefined;
        }
        if (message.type > NLMSG_OVERRUN) messages.push(message);
      }
    }
  }

  #send(request: NlRequest, flags: number): number {
    if (this.#unread) this.#drain();
    this.#seq = (this.#seq + 1) >>> 0;
    const seq = this.#seq;
    const bytes = encodeMessage({
      type: request.type,
      flags: NLM_F_REQUEST | flags | (request.flags ?? 0),
      seq,
      portId: 0,
      payload: request.payload,
    });
    for (;;) {
      const result = this.#sys.sendto(this.#fd.number, bytes, 0);
      if (result === -EINTR) continue;
      if (result < 0)
        throw new NetlinkError(request.name, -result, "the request could not be sent", request.args);
      this.#unread = true;
      return seq;
    }
  }

  /** Reads what an exchange left that failed half-way: the kernel begins no dump while another one is under way (EBUSY). */
  #drain(): void {
    const buffer = new Uint8Array(DRAIN_BYTES);
    for (let reads = 0; reads < MAX_DRAIN_READS; reads++) {
      const length = this.#sys.recv(this.#fd.number, buffer, MSG_DONTWAIT);
      if (length < 0 && length !== -EINTR && length !== -ENOBUFS) break;
    }
    this.#unread = false;
  }

  /** The messages of the next datagram. */
  #receive(request: NlRequest, deadline: number): NlMessage[] {
    const fail = (errno: number, text: string): NetlinkError =>
      new NetlinkError(request.name, errno, text, request.args);
    for (;;) {
      const left = deadline - Date.now();
      if (left <= 0) throw fail(ETIMEDOUT, `no answer from the kernel in ${this.#timeoutMs} ms`);
      const entry = { fd: this.#fd.number, events: POLLIN, revents: 0 };
      const ready = this.#sys.poll([entry], left);
      if (ready === 0 || ready === -EINTR) continue;
      if (ready < 0) throw fail(-ready, "poll failed");

      // The length first: an answer that is longer than the buffer would lose its end.
      const length = this.#sys.recv(entry.fd, new Uint8Array(1), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
      if (length === -EINTR) continue;
      if (length < 0) throw fail(-length, length === -ENOBUFS ? "answers were lost" : "recv failed");
      const buffer = new Uint8Array(length);
      const received = this.#sys.recv(entry.fd, buffer, MSG_DONTWAIT);
      if (received === -EINTR) continue;
      if (received < 0) throw fail(-received, "recv failed");
      try {
        return decodeMessages(buffer.subarray(0, received));
      } catch (error) {
        throw error instanceof NetlinkFormatError ? fail(EBADMSG, error.message) : error;
      }
    }
  }
}

const DEFAULT_TIMEOUT_MS = 5000;
/** What the kernel puts into one datagram of a dump, at most. */
const DRAIN_BYTES = 32 * 1024;
const MAX_DRAIN_READS = 10_000;
const MAX_DUMP_ATTEMPTS = 10;

/** An acknowledgement's verdict and text. */
export interface Ack {
  /** 0, or a positive errno. */
  readonly errno: number;
  readonly text: string | undefined;
}

/**
 * Reads an `NLMSG_ERROR`: s32 error, the echoed request (its header alone when `NLM_F_CAPPED`), then, with
 * `NLM_F_ACK_TLVS`, attributes. A malformed tail costs the text, not the verdict.
 */
export function decodeAck(message: NlMessage): Ack {
  const { payload, flags } = message;
  if (payload.byteLength < 4) return { errno: EBADMSG, text: "an acknowledgement without an error number" };
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const errno = Math.abs(view.getInt32(0, LITTLE_ENDIAN));
  if ((flags & NLM_F_ACK_TLVS) === 0 || payload.byteLength < 4 + nlmsghdr.size)
    return { errno, text: undefined };
  const echoed = (flags & NLM_F_CAPPED) !== 0 ? nlmsghdr.size : view.getUint32(4, LITTLE_ENDIAN);
  return { errno, text: extackText(payload.subarray(4 + Math.ceil(echoed / 4) * 4)) };
}

/** Reads an `NLMSG_DONE`: s32 error, then attributes with `NLM_F_ACK_TLVS`. */
function decodeDone(message: NlMessage): Ack {
  const { payload, flags } = message;
  if (payload.byteLength < 4) return { errno: 0, text: undefined };
  const errno = Math.abs(
    new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getInt32(0, LITTLE_ENDIAN),
  );
  return { errno, text: (flags & NLM_F_ACK_TLVS) === 0 ? undefined : extackText(payload.subarray(4)) };
}

function extackText(attrs: Uint8Array): string | undefined {
  try {
    return new NlAttrs(attrs).string(NLMSGERR_ATTR_MSG);
  } catch (error) {
    if (error instanceof NetlinkFormatError) return undefined;
    throw error;
  }
}
