import type { Layout } from "../../btf/layout/layout.ts";
import { LangError } from "../error.ts";
import { here, type OpenRecord, type Recorder } from "../recorder.ts";
import { checkOwnReference, closeReference, openReference } from "../references.ts";
import type { Region } from "../region.ts";
import { describe } from "../scalar.ts";
import { internals } from "../value.ts";
import { isView } from "../view.ts";

// A spin lock is held from bpf_spin_lock to bpf_spin_unlock, on each path. Like a record, it is what must be given back.

/** Refuses what is no lock of a map's value. */
export function checkLock(helper: string, given: unknown): void {
  const inside = isView(given) ? given[internals] : undefined;
  const { opaque } = (inside?.layout ?? {}) as Partial<Layout & { opaque: string }>;
  if (opaque === "bpf_spin_lock" && inside?.region.memory === "map_value") return;
  throw new LangError(
    `${helper} takes a lock in a map's value, and this is ${describe(given)}`,
    here(),
    "Declare a member for it, lock: spinLock (of tsbpf/layout), and give that: value.lock.",
  );
}

/** The lock is held from here on. */
export function takeLock(recorder: Recorder, given: unknown): void {
  const { region, offset } = placeOf(given);
  openReference(recorder, {
    name: nameOf(region),
    done: "released",
    undone: "still held",
    remedy: "$.bpf_spin_unlock",
    region: undefined,
    lock: { region, offset },
    source: here(),
  });
}

/** The lock is not held any more. */
export function releaseLock(recorder: Recorder, given: unknown): void {
  const { region, offset } = placeOf(given);
  const isIt = ({ lock }: OpenRecord): boolean =>
    lock !== undefined && lock.region.base === region.base && lock.offset === offset;
  const held = [...recorder.open].find(isIt);
  if (held === undefined) {
    throw new LangError(
      `${nameOf(region)} is released, and is not held here`,
      here(),
      "Take it with $.bpf_spin_lock, on each path that leads here.",
    );
  }
  checkOwnReference(recorder, held, "released");
  closeReference(recorder, held);
}

function placeOf(given: unknown): { readonly region: Region; readonly offset: number } {
  return (given as { readonly [internals]: { readonly region: Region; readonly offset: number } })[internals];
}

function nameOf(region: Region): string {
  return `the lock in ${region.name}`;
}
