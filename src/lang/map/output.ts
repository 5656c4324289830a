import type { MapDef } from "../../asm/map-def.ts";
import type { Misuse } from "../../asm/misuse.ts";
import type { ProgTypeName } from "../../asm/program.ts";
import { BPF_F_CURRENT_CPU } from "../../uapi/bpf.ts";
import { callHelper, mayCall } from "../call/helper-call.ts";
import { LangError } from "../error.ts";
import { helperShapes } from "../generated/helper-shapes.ts";
import type { IrValue } from "../ir/ir.ts";
import { checkOptions } from "../pointer.ts";
import { here, type Recorder } from "../recorder.ts";
import { describe, isScalar } from "../scalar.ts";
import type { Addressable, HostVal } from "../value.ts";
import { addressOf } from "../view.ts";

/** Options of `$.output`, by the map's type. */
export type OutputOptions<Type extends string = string> = Type extends "ringbuf"
  ? RingOutputOptions
  : PerfOutputOptions;

/** Options of `$.output` to a ring buffer. */
export interface RingOutputOptions {
  /** `BPF_RB_NO_WAKEUP` or `BPF_RB_FORCE_WAKEUP`. Default 0: wakes the reader where it has read all before. */
  readonly flags?: number;
}

/** Options of `$.output` to a perf event array. */
export interface PerfOutputOptions {
  /**
   * So many of the packet's first bytes follow the data in the sample: for programs that see packets. At most as many as the
   * packet has, else there is no sample (EFAULT).
   */
  readonly packet?: number | HostVal<"u8" | "u16" | "u32">;
}

/** A compile-time error, with a sentence, for a map that takes no events. */
export type CanOutput<D extends MapDef> = D["type"] extends "ringbuf" | "perf_event_array"
  ? unknown
  : Misuse<`events go to a ring buffer or a perf event array, and this is a map of type ${D["type"]}`>;

/** The sending of events. */
export interface Outputs {
  /**
   * Copies an event to user space: into a ring buffer (kernel 5.8), or into the perf buffer of the CPU that the program runs on.
   * Gives 0, or a negative error number: EAGAIN where the ring is full, ENOENT where nobody reads this CPU's buffer, ENOSPC
   * where that is full. In a ring buffer `$.reserve` saves the copy.
   */
  output<D extends MapDef>(
    map: D & CanOutput<D>,
    data: Addressable,
    options?: OutputOptions<D["type"]>,
  ): HostVal<"s64">;
}

/** Makes the `$.output` of a program or function. */
export function createOutputs(recorder: Recorder, context: IrValue): Outputs {
  return {
    output: (map: MapDef, data, options = {}) => recordOutput(recorder, context, map, data, options) as never,
  };
}

function recordOutput(
  recorder: Recorder,
  context: IrValue,
  map: MapDef,
  data: unknown,
  options: RingOutputOptions & PerfOutputOptions,
): unknown {
  const { region, size } = addressOf(data);
  if (region.memory === "packet" || region.memory === "ctx") {
    throw new LangError(
      `$.output sends what is in the program's own memory, and this is ${describe(data)} in ${region.name}`,
      here(),
      region.memory === "packet"
        ? "Bytes of the packet itself follow with { packet: length }; or copy what you want into a $.struct."
        : "Copy what you want into a $.struct.",
    );
  }
  if (map?.type === "ringbuf") {
    const { flags = 0, ...others } = options;
    checkOptions("$.output to a ring buffer", others);
    return callHelper(recorder, helperShapes.bpf_ringbuf_output, context, [map, data, size, flags]);
  }
  if (map?.type !== "perf_event_array") {
    throw new LangError(
      `$.output sends to ${map?.kind === "map" ? `map '${map.name}' of type ${map.type}` : describe(map)}`,
      here(),
      "Events go to a map of type ringbuf or perf_event_array.",
    );
  }
  const { packet, ...others } = options;
  checkOptions("$.output to a perf event array", others);
  const { type } = recorder.build;
  const shape = helperShapes.bpf_perf_event_output;
  if (!mayCall(type, shape.helper)) {
    throw new LangError(
      `programs of type ${type} may not send to a perf event array`,
      here(),
      "Send to a ring buffer.",
    );
  }
  return callHelper(recorder, shape, context, [map, flagsOf(type, packet), data, size]);
}

/** The program types whose samples may have bytes of the packet. */
const WITH_PACKET: ReadonlySet<ProgTypeName> = new Set([
  "xdp",
  "sched_cls",
  "sched_act",
  "socket_filter",
  "cgroup_skb",
]);

/** The kernel has 20 bits for the length (`BPF_F_CTXLEN_MASK`). */
const MOST = 0xfffff;
const CURRENT_CPU = BigInt(BPF_F_CURRENT_CPU);

function flagsOf(type: ProgTypeName, packet: PerfOutputOptions["packet"]): bigint | HostVal<"u64"> {
  if (packet === undefined) return CURRENT_CPU;
  if (!WITH_PACKET.has(type)) {
    throw new LangError(`programs of type ${type} have no packet whose bytes could be sent`, here());
  }
  if (isScalar(packet)) return (packet as HostVal<"u32">).to(U64).shl(32).or(CURRENT_CPU);
  if (!Number.isInteger(packet) || packet < 0 || packet > MOST) {
    throw new LangError(
      `${describe(packet)} bytes of the packet cannot be sent`,
      here(),
      `Give a number from 0 to ${MOST}, or a value.`,
    );
  }
  return (BigInt(packet) << 32n) | CURRENT_CPU;
}

const U64 = { kind: "u64", size: 8 } as const;
