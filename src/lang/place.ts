import { binary, unary } from "./arithmetic.ts";
import type { IrValue, Width } from "./ir/ir.ts";
import { KINDS, type ScalarKind } from "./kind.ts";
import { readMemory } from "./memory.ts";
import { constant, get, load, type Recorder, set, store } from "./recorder.ts";
import type { Place } from "./value.ts";

/** Reads a place, as a value of its kind. */
export function readPlace(recorder: Recorder, place: Place, kind: ScalarKind): IrValue {
  if (place.kind === "variable") return get(recorder, place.variable);
  const { region, offset, size, bits } = place;
  const { signed } = KINDS[kind];
  const loaded = readMemory(recorder, region, offset, size);
  if (bits === undefined) {
    return signed && size < 4 ? unary(recorder, size === 1 ? "sext8" : "sext16", 32, loaded) : loaded;
  }
  const width: Width = size === 8 ? 64 : 32;
  if (signed) {
    const up = binary(recorder, "lsh", width, loaded, constant(width - bits.shift - bits.width));
    return binary(recorder, "arsh", width, up, constant(width - bits.width));
  }
  const low = bits.shift === 0 ? loaded : binary(recorder, "rsh", width, loaded, constant(bits.shift));
  return bits.shift + bits.width === size * 8
    ? low
    : binary(recorder, "and", width, low, constant(maskOf(bits.width)));
}

/** Writes a value of its kind to a place. */
export function writePlace(recorder: Recorder, place: Place, value: IrValue): void {
  if (place.kind === "variable") {
    set(recorder, place.variable, value);
    return;
  }
  const { region, offset, size, bits } = place;
  if (bits === undefined) {
    store(recorder, region, offset, size, value);
    return;
  }
  const width: Width = size === 8 ? 64 : 32;
  const all = maskOf(size * 8);
  const field = maskOf(bits.width) << BigInt(bits.shift);
  const others = binary(recorder, "and", width, load(recorder, region, offset, size), constant(all & ~field));
  const cut = binary(recorder, "and", width, value, constant(maskOf(bits.width)));
  const placed = bits.shift === 0 ? cut : binary(recorder, "lsh", width, cut, constant(bits.shift));
  store(recorder, region, offset, size, binary(recorder, "or", width, others, placed));
}

function maskOf(bits: number): bigint {
  return (1n << BigInt(bits)) - 1n;
}
