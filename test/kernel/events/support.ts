/** Shared by the kernel tests of events: programs that emit numbered records, and how to run them often. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import {
  add,
  afadd64,
  call,
  exit,
  jeq,
  lddw,
  type MapDef,
  mapDef,
  mapFd,
  mapValue,
  mov,
  mov32,
  type Program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r6,
  r10,
  stw,
  stxdw,
  stxw,
  xdp,
} from "../../../src/asm/index.ts";
import { type StructLayout, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { countLost, lostCounter, ringbufOutput } from "../../../src/kernel/events/lost.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { progTestRun } from "../../../src/syscall/bpf-prog.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { BPF_F_CURRENT_CPU, XDP_PASS } from "../../../src/uapi/bpf.ts";
import { bpf_get_smp_processor_id, bpf_perf_event_output } from "../../../src/uapi/helpers.ts";

/** What the programs emit: 16 bytes. */
export const numbered: StructLayout<
  "numbered",
  { seq: typeof u64.asNumber; cpu: typeof u32; magic: typeof u32 }
> = struct("numbered", { seq: u64.asNumber, cpu: u32, magic: u32 });
export const MAGIC = 0x5eed;

/** Counts the records that were attempted; the number of the next one. */
export const sequenceDef = (): MapDef<"array", number, number> => lostCounter("seq");

export const ringDef = (maxEntries: number): MapDef<"ringbuf", never, never> =>
  mapDef({ name: "events", type: "ringbuf", maxEntries });

export const perfDef = (maxEntries = 64): MapDef<"perf_event_array", number, number> =>
  mapDef({ name: "samples", type: "perf_event_array", key: u32, value: u32, maxEntries });

/** Puts the next record on the stack at r10 - 16. */
function nextRecord(sequence: MapDef) {
  return [
    mov(r6, r1),
    call(bpf_get_smp_processor_id),
    stxw([r10, -8], r0),
    stw([r10, -4], MAGIC),
    lddw(r1, mapValue(sequence)),
    mov32(r2, 1),
    afadd64([r1, 0], r2),
    stxdw([r10, -16], r2),
  ] as const;
}

/** Emits one record into a ring buffer, and counts it in `lost` where it does not fit. */
export function ringProducer(
  ring: MapDef<"ringbuf">,
  sequence: MapDef,
  lost: MapDef,
  flags = 0,
): Program<"xdp"> {
  return xdp("ring_producer", {
    entry: [
      ...nextRecord(sequence),
      ...ringbufOutput(ring, [r10, -16], numbered.size, flags),
      jeq(r0, 0, "done"),
      ...countLost(lost),
    ],
    done: [mov32(r0, XDP_PASS), exit()],
  });
}

/** Emits one sample into the perf buffer of its CPU, and counts in `lost` what does not fit. */
export function perfProducer(events: MapDef, sequence: MapDef, lost: MapDef): Program<"xdp"> {
  return xdp("perf_producer", {
    entry: [
      ...nextRecord(sequence),
      mov(r1, r6),
      lddw(r2, mapFd(events)),
      lddw(r3, BPF_F_CURRENT_CPU),
      mov(r4, r10),
      add(r4, -16),
      mov32(r5, numbered.size),
      call(bpf_perf_event_output),
      jeq(r0, 0, "done"),
      ...countLost(lost),
    ],
    done: [mov32(r0, XDP_PASS), exit()],
  });
}

/** Runs an XDP program so often, in the kernel, on this thread. */
export function run(sys: Syscalls, program: BpfProgram, repeat = 1): void {
  progTestRun(sys, { prog_fd: program.fd, data_in: PACKET, repeat });
}

const PACKET = new Uint8Array(64);

/** What a test of a reader works with: the maps, and a program that emits numbered records into the ring. */
export interface RingSetup extends Disposable {
  readonly map: BpfMap<"ringbuf", never, never>;
  /** How many records were attempted. */
  readonly produced: () => number;
  readonly lost: BpfMap<"array", number, number>;
  readonly program: BpfProgram;
  /** Emits so many records. */
  readonly emit: (records?: number) => void;
}

/** Creates a ring buffer of `size` bytes and its producer. */
export function setUpRing(sys: Syscalls, size = 4096, flags = 0): RingSetup {
  const defs = { ring: ringDef(size), seq: sequenceDef(), lost: lostCounter("lost") };
  const map = BpfMap.create(defs.ring, { sys });
  const seq = BpfMap.create(defs.seq, { sys });
  const lost = BpfMap.create(defs.lost, { sys });
  const maps = [map, seq, lost];
  const program = BpfProgram.load(ringProducer(defs.ring, defs.seq, defs.lost, flags), { sys, maps });
  return {
    map,
    lost,
    program,
    produced: () => seq.get(0) ?? 0,
    emit: (records = 1) => run(sys, program, records),
    [Symbol.dispose]: () => {
      for (const object of [program, ...maps]) object.close();
    },
  };
}

/** Runs a program on another thread, `rounds` times `repeat` runs. */
export async function runElsewhere(
  program: BpfProgram,
  { rounds, repeat }: { readonly rounds: number; readonly repeat: number },
): Promise<void> {
  const worker = new Worker(RUNNER, {
    eval: true,
    workerData: { fd: program.fd, rounds, repeat, koffi: createRequire(import.meta.url).resolve("koffi") },
  });
  await new Promise<void>((resolve, reject) => {
    worker.once("error", reject);
    worker.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`the runner ended with ${code}`)),
    );
  });
}

// A worker starts from plain JavaScript, without the loader of TypeScript: hence its own bpf(BPF_PROG_TEST_RUN).
const RUNNER = `
  const { workerData: { fd, rounds, repeat, koffi: path } } = require("node:worker_threads");
  const koffi = require(path);
  const syscall = koffi.load(null).func("syscall", "int", ["int", "int", "void *", "uint"]);
  const packet = new Uint8Array(64);
  const attr = new DataView(new ArrayBuffer(80));
  const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  attr.setUint32(0, fd, little);
  attr.setUint32(8, packet.length, little);
  attr.setBigUint64(16, koffi.address(packet), little);
  attr.setUint32(32, repeat, little);
  for (let round = 0; round < rounds; round++) {
    if (syscall(process.arch === "x64" ? 321 : 280, 10, new Uint8Array(attr.buffer), 80) < 0 && koffi.errno() !== 4)
      throw new Error("BPF_PROG_TEST_RUN: errno " + koffi.errno());
  }
  globalThis.kept = packet;
`;

/** How many mappings of BPF maps this process has. */
export function mappedRings(): number {
  return readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => /bpf-map|perf_event/.test(line)).length;
}

/** Collects garbage until a condition holds, or for half a second. */
export async function collectUntil(condition: () => boolean): Promise<boolean> {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  for (let attempt = 0; attempt < 25; attempt++) {
    gc();
    await setTimeout(20);
    if (condition()) return true;
  }
  return false;
}
