import { TsbpfError } from "../../base/error.ts";

/** Queue sizes that the kernel takes (cpumap.c: 0 deletes the entry, more than 16384 is EOVERFLOW). */
export const QUEUE_SIZE = { min: 1, max: 16384, default: 192 } as const;

/** A queue size. @throws TsbpfError when the kernel would not take it, or would delete the entry instead. */
export function checkQueueSize(qsize: number): number {
  if (Number.isInteger(qsize) && qsize >= QUEUE_SIZE.min && qsize <= QUEUE_SIZE.max) return qsize;
  throw new TsbpfError(
    `queue size ${qsize} is not a whole number from ${QUEUE_SIZE.min} to ${QUEUE_SIZE.max}`,
    {
      hint: `The default is ${QUEUE_SIZE.default}. Packets that find a full queue are dropped.`,
    },
  );
}
