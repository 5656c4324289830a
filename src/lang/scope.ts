import type { MapDef } from "../asm/map-def.ts";
import type { Layout } from "../btf/layout/layout.ts";
import { bpf_tail_call } from "../uapi/helpers.ts";
import { type Case, type If, recordIf, recordSwitch } from "./control.ts";
import { LangError } from "./error.ts";
import type { IrParam } from "./ir/ir.ts";
import type { ScalarKind } from "./kind.ts";
import { recordLeave } from "./loop/body.ts";
import { checkMax, type ForOptions, recordFor, type WhileOptions } from "./loop/loop.ts";
import { type CanGoThrough, type KeyView, recordForEach } from "./map/for-each.ts";
import {
  type Atomic,
  type CanDelete,
  type CanLookUp,
  type CanUpdate,
  createAtomic,
  type KeyOf,
  type MissingOptions,
  mapPointer,
  recordDelete,
  recordFind,
  recordGlobal,
  recordLookup,
  recordUpdate,
  type ValueOf,
  type ValueView,
} from "./map/maps.ts";
import { createMapObjects, type MapObjects } from "./map/objects.ts";
import { recordDone, recordReserve } from "./map/records.ts";
import { createPointers, type Pointers, type ViewOptions } from "./pointer.ts";
import { type Hex, recordPrintk } from "./printk.ts";
import {
  branch,
  constant,
  emit,
  end,
  get,
  here,
  newBlock,
  newVariable,
  packetMoved,
  type Recorder,
  set,
} from "./recorder.ts";
import { makeCond, makeVal, makeVar, operandValue, treeOf } from "./scalar.ts";
import { type CanHoldText, recordCopyText } from "./text.ts";
import {
  type Cond,
  type Exit,
  type HostVal,
  internals,
  type Operand,
  type OrElse,
  type Scalar,
  type Takes,
  type Val,
  type Var,
} from "./value.ts";
import { addressOf, assign, copyBytes, guard, makeStackView } from "./view.ts";
import type { AnyView, Assignable, Init, View } from "./view-types.ts";

/**
 * What the body of every program and function is given, as `$`: the statements of the language. Each call records what the
 * program will do there; the body itself runs once, when the program is built.
 */
export interface Statements extends Pointers, MapObjects {
  /** A variable, with its first value. */
  let<K extends ScalarKind, const V>(layout: Scalar<K>, value: V & Takes<K, V>): Var<K>;
  /** A constant as a value. */
  value<K extends ScalarKind>(layout: Scalar<K>, value: number | bigint): Val<K>;
  /** A conditional; `.elif` and `.else` may follow. */
  if<A>(condition: Cond, body: () => A): If<A>;
  /**
   * A choice by value: `[[6, tcp], [[17, 136], udp]]`, then what happens for all other values. It ends the path if each of
   * its bodies does.
   */
  switch<const V extends Val, A, B>(
    value: V,
    cases: readonly (readonly [number | bigint | readonly (number | bigint)[], () => A])[],
    otherwise: () => B,
  ): [A | B] extends [Exit] ? Exit : void;
  /** The same for each number from 0 to `count` - 1. */
  for(
    count: number | HostVal<"u8" | "u16" | "u32">,
    body: (index: HostVal<"u32">) => unknown,
    options?: ForOptions,
  ): void;
  /** As long as a condition holds, and `max` times at the most. */
  while(condition: () => Cond, options: WhileOptions, body: () => unknown): void;
  /** Leaves the loop. */
  break(): Exit;
  /** Goes on with the next turn of the loop. */
  continue(): Exit;
  /** Both: the second is computed only where the first holds. */
  and(first: Cond, second: () => Cond): Cond;
  /** Any of the two: the second is computed only where the first does not hold. */
  or(first: Cond, second: () => Cond): Cond;
  /** A struct, an array or a scalar in the stack frame: what is given, and zeros elsewhere, padding too. */
  struct<L extends Layout>(layout: L, init?: Init<L>): View<L, "stack">;
  /** Writes the members that are given; of an array or bytes, the elements. */
  assign<V extends AnyView>(view: V, members: Assignable<V>): void;
  /**
   * Copies bytes between views of the same size. What cannot be read in the kernel's memory or a process's is zero then; or
   * `else` runs, and ends the path.
   */
  copy(to: AnyView, from: AnyView, options?: OrElse): void;
  /**
   * Copies a text up to its first NUL, and that one, as far as there is room: from the kernel's memory or a process's (an
   * address with `{ from: "user" }`). Gives the number of bytes with the NUL, or a negative error number.
   */
  copyText<To extends AnyView>(
    to: To & CanHoldText<To>,
    from: AnyView<"kernel"> | AnyView<"user"> | HostVal<"u64">,
    options?: ViewOptions,
  ): HostVal<"s64">;
  /** The value of a map for a key, in place. Where there is none, `else` runs, and ends the path. */
  lookup<D extends MapDef>(map: D & CanLookUp<D>, key: KeyOf<D>, options: MissingOptions): ValueView<D>;
  /** The value of a map for a key, in place, in the body only; `.else` may follow for where there is none. */
  lookup<D extends MapDef, A>(map: D & CanLookUp<D>, key: KeyOf<D>, body: (value: ValueView<D>) => A): If<A>;
  /** Writes an entry; `flags` as `BPF_ANY`. Gives 0, or a negative error number. */
  update<D extends MapDef>(
    map: D & CanUpdate<D>,
    key: KeyOf<D>,
    value: ValueOf<D>,
    flags?: Operand<"u64">,
  ): HostVal<"s64">;
  /** Deletes an entry. Gives 0, or a negative error number. */
  delete<D extends MapDef>(map: D & CanDelete<D>, key: KeyOf<D>): HostVal<"s64">;
  /**
   * The same for each entry of a map, in no order: with its key and its value, in place. `$.break` and `$.return` end it. Entries
   * of hashes may be deleted in it. Of a per-CPU map the values of this CPU. Gives how many entries it went through. Kernel 5.13,
   * which the program must be built for.
   *
   * The body becomes a function that the kernel calls (`bpf_for_each_map_elem`), as that of a `bpf_loop`.
   */
  forEach<D extends MapDef>(
    map: D & CanGoThrough<D>,
    body: (key: KeyView<D>, value: ValueView<D>) => unknown,
  ): HostVal<"s64">;
  /** The value of an array map with one entry, without a lookup: global data. Kernel 5.2. */
  global<D extends MapDef<"array">>(map: D): ValueView<D>;
  /** Atomic operations on fields of maps' values. */
  readonly atomic: Atomic;
  /** Room for a record in a ring buffer. It must be submitted or discarded on each path. Kernel 5.8. */
  reserve<L extends Layout>(ring: MapDef<"ringbuf">, layout: L, options: MissingOptions): View<L, "record">;
  /** Hands a record over to the reader. */
  submit(record: AnyView<"record">, flags?: number): void;
  /** Gives a record up. */
  discard(record: AnyView<"record">, flags?: number): void;
  /** A line for the trace pipe: `` $.printk`cpu=${cpu}` ``. At most three values. */
  printk(texts: TemplateStringsArray, ...values: readonly (Val | Hex | number | bigint | string)[]): void;
  /** Goes over into another program of a prog array. Goes on behind it where there is none. */
  tailCall(programs: MapDef<"prog_array">, index: Operand<"u32">): void;
}

/** Makes the statements of a function. */
export function createStatements(recorder: Recorder, context: IrParam | undefined): Statements {
  const statements: Record<keyof Statements, unknown> = {
    ...createPointers(recorder),
    ...createMapObjects(recorder),
    let: (layout: Scalar, value: unknown): unknown => {
      const first = operandValue(recorder, layout.kind, value);
      const variable = newVariable(`a ${layout.kind} variable`);
      set(recorder, variable, first);
      return makeVar(recorder, layout.kind, { kind: "variable", variable });
    },
    value: (layout: Scalar, value: number | bigint): unknown =>
      makeVal(recorder, layout.kind, operandValue(recorder, layout.kind, value)),
    if: (condition: Cond, body: () => unknown): unknown => recordIf(recorder, condition, body),
    switch: (value: Val, cases: readonly Case<unknown>[], otherwise: () => unknown): void =>
      recordSwitch(recorder, value as never, cases, otherwise),
    for: (count: unknown, body: (index: HostVal<"u32">) => unknown, options: ForOptions = {}): void => {
      recordFor(recorder, count, body, options);
    },
    while: (condition: () => Cond, options: WhileOptions, body: () => unknown): void =>
      recordFor(
        recorder,
        checkMax(options?.max),
        () => {
          recordIf(recorder, condition().not(), () => recordLeave(recorder, "break"));
          body();
        },
        options,
      ),
    break: (): unknown => recordLeave(recorder, "break"),
    continue: (): unknown => recordLeave(recorder, "continue"),
    and: (first: Cond, second: () => Cond): Cond => lazily(recorder, first, second, true),
    or: (first: Cond, second: () => Cond): Cond => lazily(recorder, first, second, false),
    struct: (layout: Layout, init?: unknown): unknown =>
      makeStackView(recorder, layout, init, { scratch: false, name: layout.cName }),
    assign: (view: AnyView, members: object): void => assign(recorder, view, members),
    copy: (to: AnyView, from: AnyView, options?: OrElse): void => {
      const [target, source] = [addressOf(to), addressOf(from)];
      if (target.size !== source.size) {
        throw new LangError(
          `${source.size} bytes are copied to where ${target.size} are`,
          here(),
          "Both must have the same size.",
        );
      }
      const { layout } = from[internals] as { readonly layout?: Layout };
      const result = copyBytes(recorder, target, { ...source, layout }, target.size);
      if (options === undefined) return;
      if (result === undefined) {
        throw new LangError(
          `a copy from ${source.region.name} cannot fail, and says what happens then`,
          here(),
          "Leave the { else } out.",
        );
      }
      guard(recorder, { kind: "compare", op: "ne", width: 64, a: result, b: constant(0) }, options.else);
    },
    copyText: (to: AnyView, from: unknown, options?: ViewOptions): unknown =>
      recordCopyText(recorder, to, from, options),
    lookup: (map: MapDef, key: unknown, how: MissingOptions | ((value: unknown) => unknown)): unknown => {
      if (typeof how !== "function") return recordLookup(recorder, map, key, how?.else);
      const address = recordFind(recorder, map, key);
      const found = makeCond(recorder, {
        kind: "compare",
        op: "ne",
        width: 64,
        a: address.value,
        b: constant(0),
      });
      return recordIf(recorder, found, () => how(address.view()));
    },
    update: (map: MapDef, key: unknown, value: unknown, flags: Operand<"u64"> = 0): unknown =>
      recordUpdate(recorder, map, key, value, flags),
    delete: (map: MapDef, key: unknown): unknown => recordDelete(recorder, map, key),
    forEach: (map: MapDef, body: (key: unknown, value: unknown) => unknown): unknown =>
      recordForEach(recorder, map, body),
    global: (map: MapDef): unknown => recordGlobal(recorder, map),
    atomic: createAtomic(recorder),
    reserve: (ring: MapDef, layout: Layout, options: MissingOptions): unknown =>
      recordReserve(recorder, ring, layout, options?.else),
    submit: (view: unknown, flags = 0): void => recordDone(recorder, view, "submit", flags),
    discard: (view: unknown, flags = 0): void => recordDone(recorder, view, "discard", flags),
    printk: (texts: TemplateStringsArray, ...values: readonly unknown[]): void =>
      recordPrintk(recorder, texts, values),
    tailCall: (programs: MapDef, index: Operand<"u32">): void => {
      if (context === undefined) throw new LangError("a function has no context for a tail call", here());
      emit(recorder, {
        kind: "call",
        callee: { kind: "helper", helper: bpf_tail_call },
        args: [context, mapPointer(recorder, programs), operandValue(recorder, "u32", index)],
        reads: [],
        writes: [],
        removable: false,
        pure: false,
        pointer: undefined,
        source: here(),
      });
      // The program that it goes to may move the packet: kernels from 6.13 on say so of one that comes back, too.
      packetMoved(recorder, "$.tailCall");
    },
  };
  return statements as unknown as Statements;
}

function lazily(recorder: Recorder, first: Cond, second: () => Cond, both: boolean): Cond {
  const variable = newVariable("condition");
  const [more, known, join] = [
    newBlock(recorder, "more"),
    newBlock(recorder, "known"),
    newBlock(recorder, "join"),
  ];
  branch(recorder, treeOf(recorder, first), both ? more : known, both ? known : more);
  recorder.block = more;
  const [yes, no] = [newBlock(recorder, "yes"), newBlock(recorder, "no")];
  branch(recorder, treeOf(recorder, second()), yes, no);
  for (const [block, value] of [
    [yes, 1],
    [no, 0],
    [known, both ? 0 : 1],
  ] as const) {
    recorder.block = block;
    set(recorder, variable, constant(value));
    end(recorder, { kind: "jump", to: join, source: here() });
  }
  recorder.block = join;
  const a = get(recorder, variable);
  return makeCond(recorder, { kind: "compare", op: "ne", width: 64, a, b: constant(0) });
}
