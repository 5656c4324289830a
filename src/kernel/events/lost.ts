import { add, mov, mov32 } from "../../asm/alu.ts";
import { aadd64 } from "../../asm/atomic.ts";
import { call } from "../../asm/call.ts";
import type { Insn } from "../../asm/insn.ts";
import { type LddwSource, lddw, type Memory, mapFd, mapValue } from "../../asm/load-store.ts";
import { type MapDef, mapDef, type TypedMapDef } from "../../asm/map-def.ts";
import { r1, r2, r3, r4 } from "../../asm/register.ts";
import { u32, u64 } from "../../btf/layout/index.ts";
import { bpf_ringbuf_output } from "../../uapi/helpers.ts";
import type { BpfMap } from "../map.ts";

/** A map that counts lost records: 64 bits under key 0, or so many of each CPU. */
export type LostCounter =
  | BpfMap<"array", number, number>
  | BpfMap<"array", number, bigint>
  | BpfMap<"percpu_array", number, number>
  | BpfMap<"percpu_array", number, bigint>;

/**
 * Describes the map that {@link countLost} counts in. A ring buffer does not count what did not fit: the program that
 * wanted to send it is told, and has to. In the language: `$.atomic.add($.global(lost), 1)`.
 *
 * @example
 * ```ts
 * const events = mapDef({ name: "events", type: "ringbuf", maxEntries: 256 * 1024 });
 * const lost = lostCounter("events_lost");
 *
 * const send = xdp("send", {
 *   entry: [
 *     stdw([r10, -8], 7), // the record
 *     ...ringbufOutput(events, [r10, -8], 8),
 *     jeq(r0, 0, "done"),
 *     ...countLost(lost),
 *   ],
 *   done: [mov32(r0, XDP_PASS), exit()],
 * });
 *
 * using eventsMap = BpfMap.create(events);
 * using lostMap = BpfMap.create(lost);
 * using prog = BpfProgram.load(send, { maps: [eventsMap, lostMap] });
 * using ring = RingBuffer.open(eventsMap, Event, { lost: lostMap });
 * console.log(ring.lost);
 * ```
 */
export function lostCounter(name: string): TypedMapDef<"array", typeof u32, typeof u64.asNumber> {
  return mapDef({ name, type: "array", key: u32, value: u64.asNumber, maxEntries: 1 });
}

/**
 * Counts one lost record: a macro for where `bpf_ringbuf_output` gave an error, or `bpf_ringbuf_reserve` NULL. It adds
 * atomically, so no CPU's count is lost in turn. r1 and r2 are overwritten. Kernel 5.2.
 *
 * @param counter - from {@link lostCounter}: an array map of one 64-bit entry.
 */
export function countLost(counter: MapDef): readonly Insn<never, never>[] {
  return [lddw(r1, mapValue(counter)), mov32(r2, 1), aadd64([r1, 0], r2)];
}

/**
 * Copies a record into a ring buffer: a macro around `bpf_ringbuf_output` (kernel 5.8). r0 becomes 0, or negative where
 * the record did not fit; r1 to r5 are lost.
 *
 * @param record - where it is, all of it written.
 * @param size - its length in bytes.
 * @param flags - `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`; by default a reader is woken that has read all before it.
 */
export function ringbufOutput(
  ring: MapDef<"ringbuf">,
  record: Memory,
  size: number,
  flags = 0,
): readonly Insn<never, "bpf_ringbuf_output">[] {
  const [base, offset] = record;
  const map: LddwSource<never> = mapFd(ring);
  return [
    mov(r2, base),
    ...(offset === 0 ? [] : [add(r2, offset)]),
    lddw(r1, map),
    mov32(r3, size),
    mov32(r4, flags),
    call(bpf_ringbuf_output),
  ];
}

/** What a counter has counted, over all CPUs. */
export function readLost(counter: LostCounter): number {
  const found: unknown = counter.get(0) ?? 0;
  const counts = Array.isArray(found) ? found : [found];
  return counts.reduce((sum: number, count: number | bigint) => sum + Number(count), 0);
}
