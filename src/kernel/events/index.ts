// Events between programs and user space: readers of ring buffers and perf buffers, the sender of user ring buffers, and
// counting what is lost. Imports asm, btf, syscall and kernel, like all of kernel.

export { RingCorruptError } from "./error.ts";
export { countLost, type LostCounter, lostCounter, ringbufOutput } from "./lost.ts";
export { type EventReaders, mergeEvents, type NamedRecord } from "./merge.ts";
export { PerfBuffer, type PerfBufferOptions, type PerfMap, type RawSampleVisitor } from "./perf-buffer.ts";
export { type BatchOptions, EventReader, type WaitOptions } from "./reader.ts";
export { type RawVisitor, RingBuffer, type RingBufferOptions } from "./ring-buffer.ts";
export { UserRingBuffer, type UserRingSlot } from "./user-ring-buffer.ts";
