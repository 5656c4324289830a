import type { MapDef } from "../../asm/map-def.ts";
import type { Misuse } from "../../asm/misuse.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import { bpf_for_each_map_elem } from "../../uapi/helpers.ts";
import { LangError } from "../error.ts";
import type { IrParam, PointerKind } from "../ir/ir.ts";
import { callBody, recordTurns } from "../loop/forms.ts";
import { reaches } from "../loop/loop.ts";
import { constant, here, type Recorder } from "../recorder.ts";
import { describe, makeVal } from "../scalar.ts";
import type { HostVal } from "../value.ts";
import { makeView } from "../view.ts";
import type { View } from "../view-types.ts";
import { keyRegion, layoutOf, mapPointer, mapRegion } from "./maps.ts";

/** The map types that `bpf_for_each_map_elem` goes through. */
type ForEachType = "hash" | "array" | "percpu_hash" | "percpu_array" | "lru_hash" | "lru_percpu_hash";

const TYPES: ReadonlySet<string> = new Set<ForEachType>([
  "hash",
  "array",
  "percpu_hash",
  "percpu_array",
  "lru_hash",
  "lru_percpu_hash",
]);

/** A compile-time error, with a sentence, for a map that programs do not go through. */
export type CanGoThrough<D extends MapDef> = D["type"] extends ForEachType
  ? unknown
  : Misuse<`programs go through hashes and arrays, and this is a map of type ${D["type"]}`>;

/** A map's key, seen in place; it cannot be written. */
export type KeyView<D extends MapDef> = D extends { readonly key: infer L extends Layout }
  ? View<L, "map_value">
  : never;

const SINCE = [5, 13] as const;

/** Records the same for each entry of a map. */
export function recordForEach(
  recorder: Recorder,
  map: MapDef,
  body: (key: unknown, value: unknown) => unknown,
): HostVal<"s64"> {
  if (map?.kind !== "map" || !TYPES.has(map.type)) {
    throw new LangError(
      `$.forEach goes through hashes and arrays, and this is ${map?.kind === "map" ? `map '${map.name}' of type ${map.type}` : describe(map)}`,
      here(),
      map?.type === "ringbuf" ? "Records of a ring buffer are read by user space." : undefined,
    );
  }
  const { kernel } = recorder.target;
  if (!reaches(kernel, SINCE)) {
    throw new LangError(
      `kernel ${kernel.join(".")} has no bpf_for_each_map_elem, which $.forEach is`,
      here(),
      `It came with ${SINCE.join(".")}: build the program with { kernel: "${SINCE.join(".")}" }.`,
    );
  }
  const param = (index: number, pointer: PointerKind): IrParam => ({
    kind: "param",
    index,
    pointer,
    source: here(),
  });
  const [self, key, value] = [param(0, "map"), param(1, "map_value"), param(2, "map_value")];
  const turns = recordTurns(recorder, true, () => {
    const [keys, values] = [layoutOf(map, "key"), layoutOf(map, "value")];
    return body(
      makeView(recorder, keyRegion(recorder, map, key), 0, keys),
      makeView(recorder, mapRegion(recorder, map, value, values), 0, values),
    );
  });
  const call = callBody(recorder, turns, [self, key, value], (callback, captured) => ({
    helper: bpf_for_each_map_elem,
    args: [mapPointer(recorder, map), callback, captured, constant(0)],
  }));
  return makeVal(recorder, "s64", call) as HostVal<"s64">;
}
