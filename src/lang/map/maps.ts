import { type LddwSource, mapFd, mapValue } from "../../asm/load-store.ts";
import type { MapDef } from "../../asm/map-def.ts";
import type { Misuse } from "../../asm/misuse.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import { BPF_F_RDONLY_PROG } from "../../uapi/bpf.ts";
import type { Helper } from "../../uapi/helper.ts";
import { bpf_map_delete_elem, bpf_map_lookup_elem, bpf_map_update_elem } from "../../uapi/helpers.ts";
import { LangError } from "../error.ts";
import type { AtomicOp, IrCall, IrValue, MemoryClass } from "../ir/ir.ts";
import { type A, aKind, KINDS } from "../kind.ts";
import { checkRegion, checkWritable, constant, emit, here, type Recorder, type Scope } from "../recorder.ts";
import { isForeign, type Region } from "../region.ts";
import { describe, isScalar, makeVal, operandValue } from "../scalar.ts";
import {
  type HostVal,
  internals,
  type Memory,
  type Operand,
  type OrElse,
  type Val,
  type where,
} from "../value.ts";
import { addressOf, guard, isView, makeStackView, makeView, pointerTo } from "../view.ts";
import type { Init, View } from "../view-types.ts";

/** The map types that `bpf_map_lookup_elem` finds values in. */
export type LookupType =
  | "hash"
  | "array"
  | "percpu_hash"
  | "percpu_array"
  | "lru_hash"
  | "lru_percpu_hash"
  | "lpm_trie"
  | "array_of_maps"
  | "hash_of_maps";

/** The map types whose entries programs write and delete. */
export type UpdateType = Exclude<LookupType, "array_of_maps" | "hash_of_maps">;

/** A compile-time error, with a sentence, for a map that cannot be looked into. */
export type CanLookUp<D extends MapDef> = D["type"] extends LookupType
  ? unknown
  : D["type"] extends "sockmap" | "sockhash"
    ? Misuse<"a socket of a map is found with $.findSocket, and released">
    : Misuse<`programs cannot look up values in a map of type ${D["type"]}`>;

/** A compile-time error, with a sentence, for a map that programs do not write. */
export type CanUpdate<D extends MapDef> = D["type"] extends UpdateType
  ? unknown
  : Misuse<`programs cannot write entries of a map of type ${D["type"]}`>;

/** A compile-time error, with a sentence, for a map whose entries programs do not delete. */
export type CanDelete<D extends MapDef> = D["type"] extends "array" | "percpu_array"
  ? Misuse<"the elements of an array cannot be deleted: write zeros to them">
  : CanUpdate<D>;

/** What a map's key is given as: a value or a constant, members of a struct, or a view of one. */
export type KeyOf<D extends MapDef> = D extends { readonly key: infer L extends Layout } ? Init<L> : never;
/** What a map's value is given as. */
export type ValueOf<D extends MapDef> = D extends { readonly value: infer L extends Layout }
  ? Init<L>
  : never;
/** A map's value, seen in place; of a map of maps: the map that was found, for further lookups. */
export type ValueView<D extends MapDef> = D extends {
  readonly type: "array_of_maps" | "hash_of_maps";
  readonly inner: infer Inner extends MapDef;
}
  ? Inner
  : D extends { readonly value: infer L extends Layout }
    ? View<L, "map_value">
    : never;

/** What happens where a map has no entry for a key. */
export type MissingOptions = OrElse;

/** A map that was found in a map of maps. */
interface FoundMap {
  readonly value: IrValue;
  readonly scope: Scope;
  readonly recorder: Recorder;
}

/** Records a lookup; gives the value in place, and leaves the path where there is none. */
export function recordLookup(
  recorder: Recorder,
  map: MapDef,
  key: unknown,
  otherwise: OrElse["else"],
): unknown {
  const { value, view } = recordFind(recorder, map, key);
  guard(recorder, { kind: "compare", op: "eq", width: 64, a: value, b: constant(0) }, otherwise);
  return view();
}

/** Records a lookup alone: the address or null, and the view for where it is not null. */
export function recordFind(
  recorder: Recorder,
  map: MapDef,
  key: unknown,
): { readonly value: IrValue; view(): unknown } {
  const pointer = map?.inner === undefined ? "map_value" : "map";
  const value = callMap(recorder, bpf_map_lookup_elem, map, [memoryArgument(recorder, map, "key", key)], {
    reads: ["stack", "packet", "map_value"],
    writes: [],
    removable: true,
    pointer,
  });
  return { value, view: () => valueView(recorder, map, value) };
}

/** A view of the value at an address; of a map of maps: the definition of the map that was found, with its address. */
function valueView(recorder: Recorder, map: MapDef, address: IrValue): unknown {
  if (map.inner !== undefined) {
    const inside: FoundMap = { value: address, scope: recorder.scope, recorder };
    return Object.freeze({ ...(map.inner as MapDef), [internals]: inside });
  }
  const layout = layoutOf(map, "value");
  return makeView(recorder, mapRegion(recorder, map, address, layout), 0, layout);
}

/** Records a lookup of an object of the kernel; gives its address or null. */
export function recordObjectLookup(recorder: Recorder, helper: Helper, map: MapDef, key: unknown): IrValue {
  return callMap(recorder, helper, map, [memoryArgument(recorder, map, "key", key)], {
    reads: ["stack", "packet", "map_value"],
    writes: [],
    removable: false,
    pointer: "memory",
  });
}

/** Records an update of an entry. */
export function recordUpdate(
  recorder: Recorder,
  map: MapDef,
  key: unknown,
  value: unknown,
  flags: Operand<"u64">,
): HostVal<"s64"> {
  const args = [memoryArgument(recorder, map, "key", key), memoryArgument(recorder, map, "value", value)];
  args.push(operandValue(recorder, "u64", flags));
  const effects = {
    reads: ["stack", "packet", "map_value"],
    writes: ["map_value"],
    removable: false,
  } as const;
  return makeVal(
    recorder,
    "s64",
    callMap(recorder, bpf_map_update_elem, map, args, effects),
  ) as HostVal<"s64">;
}

/** Records that an entry is deleted. */
export function recordDelete(recorder: Recorder, map: MapDef, key: unknown): HostVal<"s64"> {
  const args = [memoryArgument(recorder, map, "key", key)];
  const effects = {
    reads: ["stack", "packet", "map_value"],
    writes: ["map_value"],
    removable: false,
  } as const;
  return makeVal(
    recorder,
    "s64",
    callMap(recorder, bpf_map_delete_elem, map, args, effects),
  ) as HostVal<"s64">;
}

/** The value of an array's only entry, without a lookup (kernel 5.2). */
export function recordGlobal(recorder: Recorder, map: MapDef): unknown {
  if (map.type !== "array" || map.maxEntries !== 1 || internals in map) {
    throw new LangError(
      `map '${map.name}' is ${internals in map ? "one that a lookup found" : "no array with one entry"}`,
      here(),
      "Global data is the value of an array map with maxEntries: 1; for others use $.lookup.",
    );
  }
  const layout = layoutOf(map, "value");
  const address = addressOfMap(recorder, mapValue(map, 0), "map_value");
  return makeView(recorder, mapRegion(recorder, map, address, layout), 0, layout);
}

/** The address of a map, as helpers take it. */
export function mapPointer(recorder: Recorder, map: MapDef): IrValue {
  if (typeof map !== "object" || map?.kind !== "map") {
    throw new LangError(`${describe(map)} stands where a map is wanted`, here(), "Describe one with mapDef.");
  }
  const found = (map as { readonly [internals]?: FoundMap })[internals];
  if (found !== undefined) {
    if (found.recorder === recorder && found.scope.inside) return found.value;
    throw new LangError(
      `the map '${map.name}' that a lookup found is used outside of the branch that it exists in`,
      here(),
      "Use it where it was found: elsewhere it may not be there.",
    );
  }
  return addressOfMap(recorder, mapFd(map), "map");
}

/** Records an atomic operation on a field of a map's value. */
export function recordAtomic(
  recorder: Recorder,
  op: AtomicOp,
  field: unknown,
  value: unknown,
  expected?: unknown,
): HostVal {
  const inside = isScalar(field) ? field[internals] : undefined;
  if (inside?.place?.kind !== "memory" || inside.place.region.memory !== "map_value") {
    const where = inside?.place?.kind === "memory" ? ` in ${inside.place.region.name}` : "";
    throw new LangError(
      `$.atomic takes fields of maps' values, and this is ${describe(field)}${where}`,
      here(),
      "The kernel has atomic operations on those only. Elsewhere read it, compute, and set it.",
    );
  }
  const { place, kind } = inside;
  checkWritable(recorder, place.region, place.offset);
  const { bits } = KINDS[kind];
  if (place.bits !== undefined || bits < 32) {
    throw new LangError(
      `$.atomic takes fields of 32 and 64 bits, and this is ${place.bits === undefined ? aKind(kind) : "a bit field"}`,
      here(),
      "The kernel has atomic operations on those only: declare the field wider.",
    );
  }
  const node = emit(recorder, {
    kind: "atomic",
    op,
    size: bits === 64 ? 8 : 4,
    base: place.region.base,
    offset: place.offset,
    value: operandValue(recorder, kind, value),
    expected: expected === undefined ? undefined : operandValue(recorder, kind, expected),
    memory: "map_value",
    pointer: undefined,
    source: here(),
  });
  return makeVal(recorder, kind, node) as HostVal;
}

/** The atomic operations, on fields of maps' values. */
export interface Atomic {
  /** Adds; nothing comes back. */
  add<F extends Val>(field: F & CanBeAtomic<F>, value: Operand<F["kind"]>): void;
  /** Sets bits. */
  or<F extends Val>(field: F & CanBeAtomic<F>, value: Operand<F["kind"]>): void;
  /** Keeps only these bits. */
  and<F extends Val>(field: F & CanBeAtomic<F>, value: Operand<F["kind"]>): void;
  /** Flips bits. */
  xor<F extends Val>(field: F & CanBeAtomic<F>, value: Operand<F["kind"]>): void;
  /** Adds; gives what was there before (kernel 5.12, as all that follow). */
  fetchAdd<F extends Val>(field: F & CanBeAtomic<F>, value: Operand<F["kind"]>): Val<F["kind"]>;
  /** Writes; gives what was there before. */
  xchg<F extends Val>(field: F & CanBeAtomic<F>, value: Operand<F["kind"]>): Val<F["kind"]>;
  /** Writes `value` where `expected` is there; gives what was there before. */
  cmpxchg<F extends Val>(
    field: F & CanBeAtomic<F>,
    expected: Operand<F["kind"]>,
    value: Operand<F["kind"]>,
  ): Val<F["kind"]>;
}

/** A compile-time error, with a sentence, for what the kernel has no atomic operations for. */
export type CanBeAtomic<F extends Val> = F extends { readonly [where]: infer M extends Memory }
  ? M extends "map_value"
    ? F["kind"] extends AtomicKind
      ? unknown
      : Misuse<`the kernel has atomic operations on 32 and 64 bits, and this is ${A<F["kind"]>}`>
    : Misuse<`atomic operations are for fields of maps' values, and this is in ${Places[M]}`>
  : Misuse<"atomic operations are for fields of maps' values, and this has been computed">;

/** What to call a view's memory in sentences. */
interface Places {
  packet: "the packet";
  map_value: "a map's value";
  stack: "the stack";
  record: "a record";
  ctx: "the context";
  kernel: "the kernel's memory";
  user: "a process's memory";
}

/** The kinds that the kernel has atomic operations for. */
export type AtomicKind = "u32" | "u64" | "s32" | "s64";

/** Makes the `$.atomic` of a program. */
export function createAtomic(recorder: Recorder): Atomic {
  const plain =
    (op: AtomicOp) =>
    (field: unknown, value: unknown): never =>
      recordAtomic(recorder, op, field, value) as never;
  return {
    add: plain("add"),
    or: plain("or"),
    and: plain("and"),
    xor: plain("xor"),
    fetchAdd: plain("fetch_add"),
    xchg: plain("xchg"),
    cmpxchg: (field, expected, value) => recordAtomic(recorder, "cmpxchg", field, value, expected) as never,
  };
}

/** A key or a value in memory: where it is, if it is there already, else a copy in the stack frame. */
function memoryArgument(recorder: Recorder, map: MapDef, what: "key" | "value", given: unknown): IrValue {
  const layout = layoutOf(map, what);
  if (isView(given) && !isForeign(given[internals].region)) {
    const { region, offset, size } = addressOf(given);
    if (size !== layout.size) {
      throw new LangError(
        `the ${what} of map '${map.name}' has ${layout.size} bytes, and ${size} are given`,
        here(),
        `It is ${layout.cName}.`,
      );
    }
    checkRegion(recorder, region);
    return pointerTo(recorder, region, offset);
  }
  if (isScalar(given)) {
    const { live, place, kind, recorder: owner } = given[internals];
    const inPlace = live === true && place?.kind === "memory" && place.region.memory === "stack";
    if (inPlace && kind === layout.kind && owner === recorder) {
      return pointerTo(recorder, place.region, place.offset);
    }
  }
  const view = makeStackView(recorder, layout, given, { scratch: true, name: `${what} of ${map.name}` });
  const { region } = addressOf(view);
  return pointerTo(recorder, region, 0);
}

function callMap(
  recorder: Recorder,
  helper: Helper,
  map: MapDef,
  args: readonly IrValue[],
  effects: {
    readonly reads: readonly MemoryClass[];
    readonly writes: readonly MemoryClass[];
    readonly removable: boolean;
    readonly pointer?: "map_value" | "map" | "memory";
  },
): IrCall {
  const { reads, writes, removable, pointer } = effects;
  return emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper },
    args: [mapPointer(recorder, map), ...args],
    reads,
    writes,
    removable,
    pure: false,
    pointer,
    source: here(),
  });
}

function addressOfMap(recorder: Recorder, target: LddwSource, pointer: "map" | "map_value"): IrValue {
  return emit(recorder, { kind: "address", target, pointer, source: here() });
}

/** The memory of an entry's key, as the kernel gives it to a function. */
export function keyRegion(recorder: Recorder, map: MapDef, base: IrValue): Region {
  return {
    ...mapRegion(recorder, map, base, layoutOf(map, "key")),
    name: `the key of map '${map.name}'`,
    writable: false,
    readOnly: "An entry keeps its key: delete it, and write another.",
  };
}

/** The memory of a map's value. */
export function mapRegion(recorder: Recorder, map: MapDef, base: IrValue, layout: Layout): Region {
  return {
    memory: "map_value",
    base,
    size: layout.size,
    slot: undefined,
    name: `the value of map '${map.name}'`,
    writable: (map.flags & BPF_F_RDONLY_PROG) === 0,
    readOnly: "It was defined with BPF_F_RDONLY_PROG (as .rodata is): only user space writes it.",
    scope: recorder.scope,
    epoch: 0,
  };
}

/** The layout of a map's keys or values. */
export function layoutOf(map: MapDef, what: "key" | "value"): Layout {
  const layout = map[what];
  if (layout !== undefined) return layout;
  throw new LangError(
    `map '${map.name}' of type ${map.type} has no ${what}s`,
    here(),
    "It is used in other ways: a ring buffer with $.reserve, for one.",
  );
}
