/**
 * Cost of reading events: `tsx bench/events.ts [records]`, as root. Default ten million records of 16 bytes for each way.
 *
 * A program run with BPF_PROG_TEST_RUN fills a buffer, then it is read; the ways to read take turns, so that they can be
 * compared with each other. The time to fill is not counted. Nothing may be lost, and every record is looked at.
 */

import { lostCounter } from "../src/kernel/events/lost.ts";
import { PerfBuffer } from "../src/kernel/events/perf-buffer.ts";
import { RingBuffer } from "../src/kernel/events/ring-buffer.ts";
import { BpfMap } from "../src/kernel/map.ts";
import { BpfProgram } from "../src/kernel/program.ts";
import { linuxSyscalls } from "../src/syscall/ffi.ts";
import {
  numbered,
  perfDef,
  perfProducer,
  ringDef,
  ringProducer,
  run,
  sequenceDef,
} from "../test/kernel/events/support.ts";

const BUFFER = 16 * 1024 * 1024;
const ROUND = 200_000;
const total = Number(process.argv[2] ?? 10_000_000);
const sys = linuxSyscalls();
// Everything stays open until the process ends.

/** Counts records and checks that each is the one that follows. */
class Sequence {
  next = 0;
  see(seq: number): void {
    if (seq !== this.next) throw new Error(`record ${seq} came where ${this.next} was due`);
    this.next++;
  }
}

interface Way {
  readonly name: string;
  readonly sequence: Sequence;
  readonly fill: (records: number) => void;
  /** Reads everything that is there, `records` records. */
  readonly read: (records: number) => void | Promise<void>;
  readonly lost: () => number;
  ns: number;
}

type Read<Reader> = (reader: Reader, sequence: Sequence, records: number) => void | Promise<void>;

function ringWay<T>(
  name: string,
  open: (map: BpfMap<"ringbuf", never, never>) => RingBuffer<T>,
  read: Read<RingBuffer<T>>,
): Way {
  const defs = { ring: ringDef(BUFFER), seq: sequenceDef(), lost: lostCounter("lost") };
  const map = BpfMap.create(defs.ring);
  const seq = BpfMap.create(defs.seq);
  const lost = BpfMap.create(defs.lost);
  const maps = [map, seq, lost];
  const program = BpfProgram.load(ringProducer(defs.ring, defs.seq, defs.lost), { maps });
  const reader = open(map);
  const sequence = new Sequence();
  return {
    name,
    sequence,
    fill: (records) => run(sys, program, records),
    read: (records) => read(reader, sequence, records),
    lost: () => lost.get(0) ?? 0,
    ns: 0,
  };
}

function perfWay(name: string, read: Read<PerfBuffer<{ seq: number }>>): Way {
  const defs = { perf: perfDef(), seq: sequenceDef(), lost: lostCounter("lost") };
  const map = BpfMap.create(defs.perf);
  const seq = BpfMap.create(defs.seq);
  const lost = BpfMap.create(defs.lost);
  const maps = [map, seq, lost];
  const program = BpfProgram.load(perfProducer(defs.perf, defs.seq, defs.lost), { maps });
  const reader = PerfBuffer.open(map, numbered, { sizePerCpu: BUFFER });
  // This thread may move from one CPU to another, and between CPUs there is no order: only the number counts.
  const sequence = new Sequence();
  return {
    name,
    sequence,
    fill: (records) => run(sys, program, records),
    read: (records) => read(reader, sequence, records),
    lost: () => reader.lost,
    ns: 0,
  };
}

const { seq } = numbered.fields;
const takeAsync = async (
  records: AsyncIterable<{ readonly seq: number }>,
  sequence: Sequence,
  count: number,
): Promise<void> => {
  const end = sequence.next + count;
  for await (const record of records) {
    sequence.see(record.seq);
    if (sequence.next === end) return;
  }
};

const ways: readonly Way[] = [
  ringWay(
    "ring buffer, drainRaw, one field",
    (map) => RingBuffer.open(map),
    (ring, sequence) => {
      ring.drainRaw((view, offset) => sequence.see(seq.read(view, offset)));
    },
  ),
  ringWay(
    "ring buffer, drain, bytes in place",
    (map) => RingBuffer.open(map),
    (ring, sequence) => {
      ring.drain((bytes) => {
        sequence.see(
          (bytes[0] ?? 0) + (bytes[1] ?? 0) * 0x100 + (bytes[2] ?? 0) * 0x10000 + (bytes[3] ?? 0) * 0x1000000,
        );
      });
    },
  ),
  ringWay(
    "ring buffer, drain, decoded",
    (map) => RingBuffer.open(map, numbered),
    (ring, sequence) => {
      ring.drain((record) => sequence.see(record.seq));
    },
  ),
  ringWay(
    "ring buffer, batches(), decoded",
    (map) => RingBuffer.open(map, numbered),
    async (ring, sequence, count) => {
      const end = sequence.next + count;
      for await (const batch of ring.batches()) {
        for (const record of batch) sequence.see(record.seq);
        if (sequence.next === end) return;
      }
    },
  ),
  ringWay(
    "ring buffer, for await, decoded",
    (map) => RingBuffer.open(map, numbered),
    (ring, sequence, count) => takeAsync(ring, sequence, count),
  ),
  perfWay("perf buffer, drain, decoded", (perf, sequence) => {
    perf.drain(() => sequence.see(sequence.next));
  }),
];

/** Time that this process had a processor for, garbage collection included: what else runs here does not count. */
function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

let fillNs = 0;
for (let done = 0; done < total; done += ROUND) {
  const count = Math.min(ROUND, total - done);
  for (const way of ways) {
    const start = cpuNs();
    way.fill(count);
    const filled = cpuNs();
    await way.read(count);
    way.ns += cpuNs() - filled;
    fillNs += filled - start;
    if (way.sequence.next !== done + count) throw new Error(`${way.name}: ${way.sequence.next} records`);
  }
}

const fastest = Math.min(...ways.map(({ ns }) => ns));
console.log(`${total} records for each way, of ${numbered.size} bytes`);
console.log(`filling, in the kernel: ${(fillNs / total / ways.length).toFixed(0)} ns per record`);
console.log("way".padEnd(40), "ns".padStart(8), "ratio".padStart(8), "lost".padStart(8));
for (const { name, ns, lost } of ways) {
  const columns = [(ns / total).toFixed(0), (ns / fastest).toFixed(1), String(lost())];
  console.log(name.padEnd(40), ...columns.map((column) => column.padStart(8)));
}
