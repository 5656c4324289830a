/** Synthetic rings in ordinary memory, written as the kernel writes them. */
import type { RingLayout } from "../../src/kernel/events/ring-cursor.ts";

export const LITTLE: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
export const PAGE = 64; // whatever it is, as far as the cursor is concerned
export const BUSY = 0x8000_0000;
export const DISCARD = 0x4000_0000;

/** A BPF ring buffer of `size` bytes that begins at `start`. */
export interface SyntheticRing extends RingLayout {
  /** Appends a record: its header and bytes, in both copies of the data; moves the producer. */
  readonly push: (bytes: readonly number[], flags?: number) => void;
  /** Appends a header with nothing behind it; moves the producer by `step`. */
  readonly pushHeader: (header: number, step: number) => void;
  /** Writes the header of the record at a position again. */
  readonly setHeader: (position: bigint, header: number) => void;
  readonly setProducer: (position: bigint) => void;
  readonly consumerPosition: () => bigint;
  readonly producerPosition: () => bigint;
}

export function syntheticRing(size: number, start = 0n, page: number = PAGE): SyntheticRing {
  const consumer = new ArrayBuffer(page);
  const producer = new ArrayBuffer(page + 2 * size);
  const consumerWord = new BigUint64Array(consumer);
  const producerWord = new BigUint64Array(producer, 0, 1);
  const view = new DataView(producer);
  consumerWord[0] = start;
  producerWord[0] = start;
  const setByte = (position: bigint, value: number): void => {
    const at = Number(position % BigInt(size));
    view.setUint8(page + at, value);
    view.setUint8(page + at + size, value);
  };
  const setHeader = (position: bigint, header: number): void => {
    const bytes = new Uint8Array(Uint32Array.of(header, 0).buffer);
    bytes.forEach((byte, index) => {
      setByte(position + BigInt(index), byte);
    });
  };
  const position = (): bigint => producerWord[0] as bigint;
  const move = (step: number): void => {
    producerWord[0] = BigInt.asUintN(64, position() + BigInt(step));
  };
  return {
    what: "ring buffer 'synthetic'",
    consumer,
    producer,
    dataOffset: page,
    size,
    push: (bytes, flags = 0) => {
      setHeader(position(), (bytes.length | flags) >>> 0);
      bytes.forEach((byte, index) => {
        setByte(position() + 8n + BigInt(index), byte);
      });
      move((bytes.length + 15) & ~7);
    },
    pushHeader: (header, step) => {
      setHeader(position(), header);
      move(step);
    },
    setHeader,
    setProducer: (value) => {
      producerWord[0] = value;
    },
    consumerPosition: () => consumerWord[0] as bigint,
    producerPosition: position,
  };
}
