import type { MapDef } from "../../asm/map-def.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import { bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit } from "../../uapi/helpers.ts";
import { LangError } from "../error.ts";
import type { IrValue } from "../ir/ir.ts";
import { constant, emit, here, type Recorder } from "../recorder.ts";
import { checkOwnReference, closeReference, openReference, RECORD } from "../references.ts";
import type { Region } from "../region.ts";
import type { OrElse } from "../value.ts";
import { addressOf, guard, makeView } from "../view.ts";
import { mapPointer } from "./maps.ts";

/** Records that room for a record is taken in a ring buffer; leaves the path where it is full. */
export function recordReserve(
  recorder: Recorder,
  ring: MapDef,
  layout: Layout,
  otherwise: OrElse["else"],
): unknown {
  const source = here();
  const args = [mapPointer(recorder, ring), constant(layout.size), constant(0)];
  const base: IrValue = emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper: bpf_ringbuf_reserve },
    args,
    reads: [],
    writes: [],
    removable: false,
    pure: false,
    pointer: "map_value",
    source,
  });
  guard(recorder, { kind: "compare", op: "eq", width: 64, a: base, b: constant(0) }, otherwise);
  const region: Region = {
    memory: "record",
    base,
    size: layout.size,
    slot: undefined,
    name: `the record of '${ring.name}'`,
    writable: true,
    scope: recorder.scope,
    epoch: 0,
  };
  openReference(recorder, { name: region.name, ...RECORD, region, source });
  return makeView(recorder, region, 0, layout);
}

/** Records that a record is handed over, or given up. */
export function recordDone(
  recorder: Recorder,
  view: unknown,
  how: "submit" | "discard",
  flags: number,
): void {
  const { region } = addressOf(view);
  const record = [...recorder.open].find((open) => open.region === region);
  if (record === undefined) {
    throw new LangError(
      region.memory === "record"
        ? `${region.name} was submitted or discarded before`
        : `${region.name} is no record`,
      here(),
      "Records come from $.reserve, and are submitted or discarded once.",
    );
  }
  checkOwnReference(recorder, record, how === "submit" ? "submitted" : "discarded");
  emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper: how === "submit" ? bpf_ringbuf_submit : bpf_ringbuf_discard },
    args: [region.base, constant(flags)],
    reads: ["map_value"],
    writes: [],
    removable: false,
    pure: false,
    pointer: undefined,
    source: here(),
  });
  closeReference(recorder, record);
}
