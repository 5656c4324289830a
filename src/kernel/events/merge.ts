import { setImmediate } from "node:timers/promises";
import { TsbpfError } from "../../base/error.ts";
import type { BatchOptions, EventReader } from "./reader.ts";

/** Readers by name. */
export type EventReaders = { readonly [name: string]: EventReader<unknown> };

/** A record of one of several readers, with that reader's name. */
export type NamedRecord<Readers extends EventReaders> = {
  [Name in keyof Readers & string]: Readers[Name] extends EventReader<infer T>
    ? { readonly from: Name; readonly record: T }
    : never;
}[keyof Readers & string];

/**
 * Watches several readers at once: their records as they come, until all readers are closed, the signal aborts, or the
 * loop is left. The readers have their turns; records of one keep their order, between readers there is none.
 *
 * Up to `limit` records of one reader (default 64) are taken before the loop sees the first of them; a loop that is left
 * has lost those.
 *
 * @throws TsbpfError when there is no reader.
 * @example
 * ```ts
 * for await (const event of mergeEvents({ execs, exits })) {
 *   if (event.from === "execs") console.log(event.record.comm);
 * }
 * ```
 */
export async function* mergeEvents<Readers extends EventReaders>(
  readers: Readers,
  options: BatchOptions = {},
): AsyncGenerator<NamedRecord<Readers>, void> {
  const { signal, limit = 64 } = options;
  if (Object.keys(readers).length === 0) throw new TsbpfError("mergeEvents was given no reader");
  for (;;) {
    const open = Object.entries(readers).filter(([, reader]) => !reader.closed);
    if (open.length === 0) return;
    let found = false;
    for (const [from, reader] of open) {
      if (signal?.aborted === true) return;
      if (reader.closed) continue;
      for (const record of reader.take(limit)) {
        found = true;
        yield { from, record } as NamedRecord<Readers>;
      }
    }
    if (signal?.aborted === true) return;
    if (found) await setImmediate();
    else
      await anyReadable(
        open.map(([, reader]) => reader),
        signal,
      );
  }
}

/** Waits until one of them is readable or closed, or the signal aborts. */
async function anyReadable(
  readers: readonly EventReader<unknown>[],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (readers.length === 0) return;
  const enough = new AbortController();
  const abort = (): void => enough.abort();
  signal?.addEventListener("abort", abort);
  const waits = readers.map((reader) => reader.readable({ signal: enough.signal }));
  try {
    await Promise.race(waits);
  } finally {
    signal?.removeEventListener("abort", abort);
    enough.abort();
    await Promise.allSettled(waits);
  }
}
