import type { MapDef } from "../../asm/map-def.ts";
import type { Misuse } from "../../asm/misuse.ts";
import type { ProgTypeName } from "../../asm/program.ts";
import { bpf_timer_set_callback } from "../../uapi/helpers.ts";
import { operands } from "../compile/operands.ts";
import { LangError } from "../error.ts";
import type { HelperMethods } from "../generated/helper-methods.ts";
import type { IrFunction, IrParam, PointerKind } from "../ir/ir.ts";
import { recordReturn } from "../loop/body.ts";
import { reaches } from "../loop/loop.ts";
import { constant, createRecorder, emit, here, type Recorder } from "../recorder.ts";
import { describe, makeVal } from "../scalar.ts";
import type { Statements } from "../scope.ts";
import { type Exit, type HostVal, internals } from "../value.ts";
import { isView, makeView, pointerTo } from "../view.ts";
import type { AnyView } from "../view-types.ts";
import type { KeyView } from "./for-each.ts";
import { keyRegion, layoutOf, mapRegion, type ValueView } from "./maps.ts";

/** What a timer's function is given: statements and helpers, but no context. */
export type TimerScope = Statements &
  HelperMethods &
  Timers & {
    /** Ends the path. */
    return(): Exit;
  };

/** A compile-time error, with a sentence, for a map whose values have no timers. */
export type CanHaveTimer<D extends MapDef> = D["type"] extends "hash" | "array" | "lru_hash"
  ? unknown
  : Misuse<`timers are in values of hashes and arrays, and this is a map of type ${D["type"]}`>;

/** Timers in maps' values. */
export interface Timers {
  /**
   * What happens when a timer runs out: the body becomes a function that the kernel calls then, with the entry that the timer is in.
   * It runs after the program: it sees its own `$`, the key and the value, and nothing from outside. Between
   * `$.bpf_timer_init` and `$.bpf_timer_start`. Gives 0, or a negative error number. Kernel 5.15, which the program must be built for.
   *
   * @param timer - a member `timer` (of `tsbpf/layout`) of a value of the map.
   */
  onTimer<D extends MapDef>(
    timer: AnyView<"map_value">,
    map: D & CanHaveTimer<D>,
    body: ($: TimerScope, key: KeyView<D>, value: ValueView<D>) => unknown,
  ): HostVal<"s64">;
}

const SINCE = [5, 15] as const;

/**
 * Makes the `$.onTimer` of a program or function.
 *
 * @param scopeOf - makes the statements and helpers of a timer's function.
 */
export function createTimers(
  recorder: Recorder,
  scopeOf: (recorder: Recorder, type: ProgTypeName, context: IrParam) => object,
): Timers {
  return {
    onTimer: (timer: unknown, map: MapDef, body: ($: never, key: never, value: never) => unknown) => {
      const inside = isView(timer) ? timer[internals] : undefined;
      const { opaque } = (inside?.layout ?? {}) as { readonly opaque?: string };
      if (inside === undefined || opaque !== "bpf_timer" || inside.region.memory !== "map_value") {
        throw new LangError(
          `$.onTimer takes a timer in a map's value, and this is ${describe(timer)}`,
          here(),
          "Declare a member for it, timer: timer (of tsbpf/layout), and give that: value.timer.",
        );
      }
      const { kernel } = recorder.target;
      if (!reaches(kernel, SINCE)) {
        throw new LangError(
          `kernel ${kernel.join(".")} has no timers`,
          here(),
          `They came with ${SINCE.join(".")}: build the program with { kernel: "${SINCE.join(".")}" }.`,
        );
      }
      const fn = recordTimer(recorder, map, body, scopeOf);
      const address = pointerTo(recorder, inside.region, inside.offset);
      const target = { kind: "function", fn } as const;
      const callback = emit(recorder, { kind: "address", target, pointer: undefined, source: here() });
      const call = emit(recorder, {
        kind: "call",
        callee: { kind: "helper", helper: bpf_timer_set_callback },
        args: [address, callback],
        reads: ["map_value"],
        writes: ["map_value"],
        removable: false,
        pure: false,
        pointer: undefined,
        source: here(),
      });
      return makeVal(recorder, "s64", call) as HostVal<"s64">;
    },
  };
}

function recordTimer(
  outer: Recorder,
  map: MapDef,
  body: ($: never, key: never, value: never) => unknown,
  scopeOf: (recorder: Recorder, type: ProgTypeName, context: IrParam) => object,
): IrFunction {
  const { target, build } = outer;
  const param = (index: number, pointer: PointerKind): IrParam => ({
    kind: "param",
    index,
    pointer,
    source: here(),
  });
  const [self, key, value] = [param(0, "map"), param(1, "map_value"), param(2, "map_value")];
  const context = param(3, "ctx");
  const name = `${outer.fn.name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d)/, "_")}_timer${build.loops++}`;
  const fn: IrFunction = { name, params: [self, key, value], blocks: [], slots: [] };
  const recorder = createRecorder(fn, target, "the function of a timer", build);
  const scope = Object.assign(scopeOf(recorder, build.type, context), createTimers(recorder, scopeOf), {
    return: (): Exit => recordReturn(recorder, constant(0)),
  });
  const [keys, values] = [layoutOf(map, "key"), layoutOf(map, "value")];
  outer.suspendedFor = name;
  try {
    body(
      scope as never,
      makeView(recorder, keyRegion(recorder, map, key), 0, keys) as never,
      makeView(recorder, mapRegion(recorder, map, value, values), 0, values) as never,
    );
  } finally {
    outer.suspendedFor = undefined;
  }
  if (recorder.block !== undefined) recordReturn(recorder, constant(0));
  recorder.done = true;
  const asked = fn.blocks.flatMap(({ nodes }) => nodes).find((node) => operands(node).includes(context));
  if (asked !== undefined) {
    throw new LangError(
      "the function of a timer has no context, and calls a helper that takes it",
      asked.source,
      "It runs after the program: hand over what it needs in the value that the timer is in.",
    );
  }
  return fn;
}
