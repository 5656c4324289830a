import { LITTLE_ENDIAN } from "../base/host.ts";
import { progTestRun } from "../syscall/bpf-prog.ts";
import { SyscallError } from "../syscall/errno.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import {
  BPF_F_TEST_RUN_ON_CPU,
  BPF_F_TEST_XDP_LIVE_FRAMES,
  BPF_PROG_TYPE_RAW_TRACEPOINT,
  BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
  BPF_PROG_TYPE_SYSCALL,
} from "../uapi/bpf.ts";
import { xdp_md } from "../uapi/structs.ts";

/** What a program is run on. */
export interface TestRunOptions {
  /** The packet from its Ethernet header on, at least 14 bytes; for program types that see packets. */
  readonly data?: Uint8Array;
  /** The context as bytes: a `struct __sk_buff`, {@link xdpTestContext}, the arguments of a raw tracepoint. */
  readonly ctx?: Uint8Array;
  /** How often to run it; default once. The kernel gives the processor away in between. */
  readonly repeat?: number;
  /**
   * XDP: send the packets on as the program decides, instead of looking at the last one (kernel 5.18). They begin as if
   * received by the interface in `ctx`, else by the loopback interface of the network namespace.
   */
  readonly liveFrames?: boolean;
  /** Live frames in a batch, 1 to 256; default 64. */
  readonly batchSize?: number;
  /** Raw tracepoints: the CPU to run on; default whichever. */
  readonly cpu?: number;
  /** How much longer than `data` the packet may become; default 64 KiB. */
  readonly room?: number;
}

/** What came of a test run. */
export interface TestRunResult {
  /** What the program returned in the last run, as a signed 32-bit number: `XDP_PASS`, `TC_ACT_UNSPEC` (-1). 0 of live frames. */
  readonly retval: number;
  /** Nanoseconds for a run, on average. */
  readonly duration: number;
  /** The packet afterwards; empty where none was given, and of live frames. */
  readonly data: Uint8Array;
  /** The context afterwards; empty where none was given, and where its type has none to give back. */
  readonly ctx: Uint8Array;
}

/**
 * Runs a program in the kernel on a packet or a context (`BPF_PROG_TEST_RUN`, kernel 4.12).
 *
 * @param type - `BPF_PROG_TYPE_*`, which decides what can be given and what comes back.
 * @throws SyscallError with what its errno means here.
 */
export function testRun(
  sys: Syscalls,
  program: { readonly fd: number; readonly type: number },
  options: TestRunOptions = {},
): TestRunResult {
  const { data, repeat, liveFrames = false, batchSize, cpu, room = ROOM } = options;
  const ctx = options.ctx?.slice(); // programs of type syscall write into what they are given
  const givesBack = !liveFrames && !TAKES_ONLY.includes(program.type);
  try {
    const result = progTestRun(sys, {
      prog_fd: program.fd,
      data_in: data,
      data_out: givesBack && data !== undefined ? new Uint8Array(data.length + room) : undefined,
      ctx_in: ctx,
      ctx_out: givesBack && ctx !== undefined ? new Uint8Array(Math.max(ctx.length, LARGEST_CTX)) : undefined,
      repeat,
      flags: (liveFrames ? BPF_F_TEST_XDP_LIVE_FRAMES : 0) | (cpu === undefined ? 0 : BPF_F_TEST_RUN_ON_CPU),
      cpu,
      batch_size: batchSize,
    });
    return {
      retval: result.retval | 0,
      duration: result.duration,
      data: result.data_out,
      ctx: program.type === BPF_PROG_TYPE_SYSCALL && ctx !== undefined ? ctx : result.ctx_out,
    };
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const { call, errno, args } = error;
    throw new SyscallError(call, errno, args, { hint: testRunHint(error, options), cause: error });
  }
}

/**
 * A `struct xdp_md` for {@link TestRunOptions.ctx}: the kernel wants the packet's place in it to agree with its length.
 *
 * @param length - of `data`, the metadata before the packet included.
 * @param place.ingressIfindex - the interface that received it, with `rxQueue`; default the loopback interface.
 * @param place.metaLength - how much of the front of `data` is metadata, a multiple of 4; default 0.
 */
export function xdpTestContext(
  length: number,
  place: { readonly ingressIfindex?: number; readonly rxQueue?: number; readonly metaLength?: number } = {},
): Uint8Array {
  const { ingressIfindex = 0, rxQueue = 0, metaLength = 0 } = place;
  const bytes = new Uint8Array(xdp_md.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(xdp_md.data, metaLength, LITTLE_ENDIAN);
  view.setUint32(xdp_md.data_end, length, LITTLE_ENDIAN);
  view.setUint32(xdp_md.ingress_ifindex, ingressIfindex, LITTLE_ENDIAN);
  view.setUint32(xdp_md.rx_queue_index, rxQueue, LITTLE_ENDIAN);
  return bytes;
}

/** The kernel copies no packet that is longer than an IP packet can be: more room is never needed. */
const ROOM = 0x1_0000;
/** `struct __sk_buff` is the largest context, and grows. */
const LARGEST_CTX = 512;
/** Types that refuse to be asked for packet and context. */
const TAKES_ONLY: readonly number[] = [
  BPF_PROG_TYPE_RAW_TRACEPOINT,
  BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
  BPF_PROG_TYPE_SYSCALL,
];

function testRunHint({ code }: SyscallError, { data, ctx, liveFrames }: TestRunOptions): string | undefined {
  switch (code) {
    case "ENOTSUPP":
      return "The kernel has no test run for this type of program.";
    case "EINVAL":
      if (data !== undefined && data.length < ETHERNET_HEADER) {
        return `A packet begins with its Ethernet header of ${ETHERNET_HEADER} bytes; ${data.length} were given.`;
      }
      if (liveFrames === true) return "Live frames are for XDP programs, from kernel 5.18 on.";
      return ctx === undefined
        ? "This type of program may need a context (ctx), or take no packet (data)."
        : "The context may say something about the packet that is not so: of XDP use xdpTestContext(data.length).";
    case "ENOSPC":
      return "The packet grew by more than `room`.";
    case "EPERM":
      return "A test run takes CAP_BPF, and of programs that see packets CAP_NET_ADMIN.";
    default:
      return undefined;
  }
}

const ETHERNET_HEADER = 14;
