/** Memory that pointers point into. */
export class Memory {
  readonly kind: "packet" | "stack";
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(kind: "packet" | "stack", bytes: Uint8Array) {
    this.kind = kind;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

/** A place in a memory. */
export interface Pointer {
  readonly memory: Memory;
  readonly at: number;
}

/** What a register may hold: a number of 64 bits, a pointer, the context. */
export type Value = bigint | Pointer | "ctx";

/** Tells pointers into memory from other values. */
export function isPointer(value: Value | undefined): value is Pointer {
  return typeof value === "object";
}

/** Reads 1, 2, 4 or 8 bytes, little-endian. */
export function readBytes({ memory, at }: Pointer, size: number): bigint {
  check(memory, at, size);
  let result = 0n;
  for (let index = size - 1; index >= 0; index--) {
    result = (result << 8n) | BigInt(memory.bytes[at + index] as number);
  }
  return result;
}

/** Writes the low bytes of a number, little-endian. */
export function writeBytes({ memory, at }: Pointer, size: number, value: bigint): void {
  check(memory, at, size);
  for (let index = 0; index < size; index++) {
    memory.bytes[at + index] = Number((value >> BigInt(index * 8)) & 0xffn);
  }
}

function check(memory: Memory, at: number, size: number): void {
  if (at < 0 || at + size > memory.bytes.length) {
    throw new Error(`access of ${size} bytes at ${at} of ${memory.bytes.length} bytes of ${memory.kind}`);
  }
}
