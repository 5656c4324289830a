/**
 * Cost of reading and writing a 32-byte record through a layout, beside the same by hand: `tsx bench/layout.ts`.
 *
 * Several layouts are in use at once, as in a real program: with one alone the JIT compiler specialises the generic code
 * for it and the figures flatter.
 */
import { array, be16, char, encode, struct, u8, u16, u32, u64 } from "../src/btf/layout/index.ts";

const RECORDS = 200_000;
const ROUNDS = 25;

const flow = struct("flow", {
  saddr: u32,
  daddr: u32,
  sport: be16,
  dport: be16,
  protocol: u8,
  cpu: u16,
  packets: u64.asNumber,
  bytes: u64.asNumber,
});
const exec = struct("exec", { pid: u32, ppid: u32, ts: u64, comm: array(char, 16) });
const words = struct("words", { a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32 });
const nested = struct("nested", {
  id: u64.asNumber,
  inner: struct("inner", { x: u32, y: u32 }),
  rest: array(u32, 4),
});

const view = new DataView(new ArrayBuffer(64));
for (let at = 0; at < 64; at += 8) view.setUint32(at, 0x12345678, true);
const execView = new DataView(
  encode(exec, { pid: 1234, ppid: 1, ts: 123_456_789n, comm: "ksoftirqd/2" }).buffer,
);

/** Nanoseconds per call: the best of some rounds, since everything that disturbs adds. */
function time(call: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < RECORDS; i++) sink = call();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / RECORDS);
  }
  return best;
}

let sink: unknown;

const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const readFlowByHand = () => ({
  saddr: view.getUint32(0, little),
  daddr: view.getUint32(4, little),
  sport: view.getUint16(8),
  dport: view.getUint16(10),
  protocol: view.getUint8(12),
  cpu: view.getUint16(14, little),
  packets: view.getUint32(16, little) + view.getUint32(20, little) * 2 ** 32,
  bytes: view.getUint32(24, little) + view.getUint32(28, little) * 2 ** 32,
});

// All of them first, so that no figure is from before the code was shared.
for (const layout of [flow, exec, words, nested]) {
  const zero = new DataView(new ArrayBuffer(64));
  const value = layout.read(zero, 0);
  for (let i = 0; i < 1000; i++) {
    layout.write(zero, 0, value as never);
    layout.read(zero, 0);
  }
}

const rows: [string, number, number][] = [];
for (const layout of [flow, words, nested, exec]) {
  const record = layout === exec ? execView : view;
  const value = layout.read(record, 0);
  rows.push([
    `${layout.name} (${Object.keys(layout.fields).length} members, ${layout.size} bytes)`,
    time(() => layout.read(record, 0)),
    time(() => layout.write(record, 0, value as never)),
  ]);
}
rows.push(["flow, reading by hand", time(readFlowByHand), Number.NaN]);
rows.push(["flow, one field", time(() => flow.fields.bytes.read(view, 0)), Number.NaN]);

console.log("record".padEnd(40), "read ns".padStart(10), "write ns".padStart(10));
for (const [name, read, write] of rows) {
  console.log(
    name.padEnd(40),
    read.toFixed(0).padStart(10),
    Number.isNaN(write) ? "" : write.toFixed(0).padStart(10),
  );
}
if (sink === undefined) throw new Error("nothing was read");
