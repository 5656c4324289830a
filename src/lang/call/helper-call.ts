import type { MapDef } from "../../asm/map-def.ts";
import type { ProgTypeName } from "../../asm/program.ts";
import type { Layout } from "../../btf/layout/layout.ts";
import type { Helper } from "../../uapi/helper.ts";
import { baseHelperIds, type HelperName, type HelperProgType, helperProgTypes } from "../../uapi/helpers.ts";
import { unary } from "../arithmetic.ts";
import { LangError } from "../error.ts";
import type { HelperMethods, HelperMethodsOf } from "../generated/helper-methods.ts";
import { helperShapes } from "../generated/helper-shapes.ts";
import type { IrCall, IrValue, MemoryClass } from "../ir/ir.ts";
import { checkLock, releaseLock, takeLock } from "../map/locks.ts";
import { mapPointer } from "../map/maps.ts";
import { checkPointer, isPointer } from "../pointer.ts";
import {
  checkRegion,
  constant,
  emit,
  here,
  memoryOf,
  type OpenRecord,
  packetMoved,
  type Recorder,
} from "../recorder.ts";
import { ACQUIRES, checkOwnReference, closeReference, openReference, RELEASES } from "../references.ts";
import { isForeign } from "../region.ts";
import { describe, makeVal, operandValue } from "../scalar.ts";
import { type FunctionInternals, internals, type PointerInternals } from "../value.ts";
import { addressOf, pointerTo } from "../view.ts";
import type { HelperParam, HelperShape, MemoryParam } from "./helper-shape.ts";

/**
 * The methods of a builder that call helpers: those that programs of the type may call.
 *
 * @param context - the program's context, as helpers take it.
 */
export function helperMethods<Type extends HelperProgType & ProgTypeName>(
  recorder: Recorder,
  type: Type,
  context: IrValue,
): HelperMethodsOf<Type> {
  const callable = Object.entries(helperShapes).filter(([, { helper }]) => mayCall(type, helper));
  const methods = callable.map(([name, shape]): [HelperName, (...given: readonly unknown[]) => unknown] => [
    name as HelperName,
    (...given) => callHelper(recorder, shape, context, given),
  ]);
  return Object.fromEntries(methods) as unknown as HelperMethodsOf<Type>;
}

/** Whether programs of a type may call a helper. */
export function mayCall(type: ProgTypeName, { id }: Helper): boolean {
  if (!(type in helperProgTypes)) return false;
  const more = helperProgTypes[type as HelperProgType];
  return more === "all" || baseHelperIds.includes(id) || more.includes(id);
}

/**
 * The methods of a function of one's own, whose body does not know which programs call it: every helper, those that the
 * program being built may not call with an error.
 */
export function functionHelperMethods(
  recorder: Recorder,
  type: HelperProgType & ProgTypeName,
  context: IrValue,
): HelperMethods {
  const own = helperMethods(recorder, type, context) as Partial<Record<string, unknown>>;
  const methods = Object.keys(helperShapes).map((name): [string, unknown] => [
    name,
    own[name] ??
      (() => {
        throw new LangError(
          `${name} may not be called from a program of type ${type}`,
          here(),
          `A program of this type calls ${recorder.what}.`,
        );
      }),
  ]);
  return Object.fromEntries(methods) as unknown as HelperMethods;
}

/**
 * Records a call of a helper, with the arguments of its method; gives what the method gives.
 *
 * @param movedBy - what to call it in errors about what was taken from the packet before.
 */
export function callHelper(
  recorder: Recorder,
  shape: HelperShape,
  context: IrValue,
  given: readonly unknown[],
  movedBy: string = shape.helper.name,
): unknown {
  const { helper, params, variadic, result, movesPacket, removable, pure } = shape;
  const call: Arguments = {
    recorder,
    shape,
    given: [...given],
    all: matchArguments(shape, given),
    reads: [],
    writes: [],
  };
  const args = params.map((param, index) => argument(call, param, index, context));
  if (variadic)
    args.push(...call.given.slice(expected(shape)).map((value) => operandValue(recorder, "u64", value)));
  if (args.length > 5) {
    throw new LangError(
      `${helper.name} is called with ${args.length} arguments`,
      here(),
      "Helpers take at most 5.",
    );
  }
  const locks = Object.hasOwn(LOCKS, helper.name) ? LOCKS[helper.name] : undefined;
  if (locks !== undefined) checkLock(helper.name, given[0]);
  const node: IrCall = emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper },
    args,
    reads: [...new Set([...shape.reads, ...call.reads])],
    writes: [...new Set([...shape.writes, ...call.writes])],
    removable,
    pure,
    pointer: result.kind !== "pointer" ? undefined : result.tag === "map_value" ? "map_value" : "memory",
    source: here(),
  });
  if (movesPacket) packetMoved(recorder, movedBy);
  locks?.(recorder, given[0]);
  if (RELEASES.has(helper.name)) release(recorder, helper.name, given[0]);
  return resultOf(recorder, shape, node);
}

const LOCKS: Readonly<Record<string, (recorder: Recorder, lock: unknown) => void>> = {
  bpf_spin_lock: takeLock,
  bpf_spin_unlock: releaseLock,
};

/** What the first argument of a call pointed to has been given back. */
function release(recorder: Recorder, by: string, pointer: unknown): void {
  const reference = isPointer(pointer) ? pointer[internals].reference : undefined;
  if (reference === undefined) {
    throw new LangError(
      `${by} gives back what a helper acquired, and this pointer was not`,
      here(),
      "Only what a lookup or a reservation gave is given back.",
    );
  }
  checkOwnReference(recorder, reference, "given back");
  closeReference(recorder, reference);
}

interface Arguments {
  readonly recorder: Recorder;
  readonly shape: HelperShape;
  readonly given: readonly unknown[];
  /** What was given, by the register's index. */
  readonly all: readonly unknown[];
  readonly reads: MemoryClass[];
  readonly writes: MemoryClass[];
}

/** How many arguments the method wants. */
function expected({ params }: HelperShape): number {
  return params.filter(({ kind }) => kind !== "ctx").length;
}

/** What was given, by the register's index; a context has `undefined`, or what was given in its place. */
function matchArguments(shape: HelperShape, given: readonly unknown[]): readonly unknown[] {
  const { helper, params, variadic } = shape;
  const wanted = expected(shape);
  const inPlaceOfContext = params.some((param) => param.kind === "ctx" && param.or !== undefined) ? 1 : 0;
  if (given.length < wanted || (!variadic && given.length > wanted + inPlaceOfContext)) {
    throw new LangError(
      `${helper.name} takes ${wanted} arguments, and ${given.length} are given`,
      here(),
      `It is ${helper.signature}; the context is handed over by itself.`,
    );
  }
  let next = 0;
  return params.map((param) => (param.kind === "ctx" ? given[wanted] : given[next++]));
}

function argument(call: Arguments, param: HelperParam, index: number, context: IrValue): IrValue {
  const { recorder, all } = call;
  const value = all[index];
  switch (param.kind) {
    case "ctx":
      return value === undefined ? context : pointerValue(call, param.name, value, [param.or ?? ""], false);
    case "map":
      return mapAddress(call, value, param.types);
    case "scalar":
      return operandValue(recorder, param.scalar, value);
    case "address":
      if (!isPointer(value)) return operandValue(recorder, "u64", value);
      checkPointer(recorder, value[internals]);
      return value[internals].value;
    case "memory":
      return memoryAddress(call, param, value);
    case "pointer":
      return pointerValue(call, param.name, value, param.tags, param.nullable);
    case "callback": {
      const { fn } = (value as { readonly [internals]: FunctionInternals })[internals];
      return emit(recorder, {
        kind: "address",
        target: { kind: "function", fn },
        pointer: undefined,
        source: here(),
      });
    }
  }
}

function mapAddress(
  { recorder, shape }: Arguments,
  value: unknown,
  types: readonly string[] | undefined,
): IrValue {
  const map = value as MapDef | undefined;
  if (typeof map !== "object" || map?.kind !== "map") {
    throw new LangError(`${describe(value)} stands where ${shape.helper.name} takes a map`, here());
  }
  if (types !== undefined && !types.includes(map.type)) {
    throw new LangError(
      `${shape.helper.name} takes no map of type ${map.type}, such as '${map.name}'`,
      here(),
      `It takes maps of type ${types.join(", ")}.`,
    );
  }
  return mapPointer(recorder, map);
}

function memoryAddress(call: Arguments, param: MemoryParam, value: unknown): IrValue {
  const { recorder, shape } = call;
  const { helper } = shape;
  if (value === null && param.nullable) return constant(0);
  const { region, offset, size } = addressOf(value);
  checkRegion(recorder, region);
  if (isForeign(region)) {
    throw new LangError(
      `${helper.name} takes memory of the program as '${param.name}', and ${region.name} is not`,
      here(),
      "Copy it first: into a $.struct, a record or a map's value, with $.copy or $.copyText.",
    );
  }
  const needed = bytesNeeded(call, param);
  if (needed !== undefined && needed > size) {
    throw new LangError(
      `${helper.name} takes ${needed} bytes as '${param.name}', and ${size} are given`,
      here(),
      "Give memory of that size.",
    );
  }
  if (param.access !== "read" && !region.writable) {
    throw new LangError(
      `${helper.name} writes '${param.name}', and ${region.name} cannot be written`,
      here(),
      "Give memory that the program may write: $.struct(layout).",
    );
  }
  if (param.access !== "write") call.reads.push(memoryOf(region));
  if (param.access !== "read") call.writes.push(memoryOf(region));
  return pointerTo(recorder, region, offset);
}

/** Bytes that a helper will access, where that is known when the program is built. */
function bytesNeeded({ shape, all }: Arguments, { size }: MemoryParam): number | undefined {
  if (typeof size === "number") return size;
  if (typeof size === "object") {
    const given = all[size.param];
    return typeof given === "number" ? given : undefined;
  }
  const map = all[shape.params.findIndex(({ kind }) => kind === "map")] as MapDef | undefined;
  const layout: Layout | undefined = map?.[size];
  return layout?.size;
}

function pointerValue(
  { recorder, shape }: Arguments,
  name: string,
  value: unknown,
  tags: readonly string[] | undefined,
  nullable: boolean,
): IrValue {
  if (value === null && nullable) return constant(0);
  if (!isPointer(value)) {
    throw new LangError(
      `${describe(value)} stands where ${shape.helper.name} takes a pointer as '${name}'`,
      here(),
      tags === undefined ? undefined : `It takes a pointer to ${tags.join(", ")}.`,
    );
  }
  if (value.tag === undefined && !nullable) {
    throw new LangError(
      `the pointer that ${shape.helper.name} takes as '${name}' may be null`,
      here(),
      "Use it inside $.ifPresent.",
    );
  }
  const tag = value.tag ?? value.nullable ?? "";
  if (tags !== undefined && !tags.includes(tag)) {
    throw new LangError(
      `${shape.helper.name} takes no pointer to ${tag} as '${name}'`,
      here(),
      `It takes a pointer to ${tags.join(", ")}.`,
    );
  }
  checkPointer(recorder, value[internals]);
  return value[internals].value;
}

function resultOf(recorder: Recorder, { helper, result }: HelperShape, node: IrCall): unknown {
  switch (result.kind) {
    case "void":
      return undefined;
    case "pointer": {
      const { scope } = recorder;
      const acquired = ACQUIRES[helper.name];
      const reference: OpenRecord | undefined = acquired && {
        name: `${acquired.what} that ${helper.name} gave`,
        ...acquired.ending,
        region: undefined,
        source: node.source,
      };
      if (reference !== undefined) openReference(recorder, reference);
      const inside: PointerInternals = { value: node, reference, scope };
      return { [result.nullable ? "nullable" : "tag"]: result.tag, [internals]: inside };
    }
    case "scalar":
      // A signed 32-bit value has zeros above its 32 bits; what the kernel gives back is extended to 64.
      return makeVal(
        recorder,
        result.scalar,
        result.scalar === "s32" ? unary(recorder, "zext32", 64, node) : node,
      );
  }
}
