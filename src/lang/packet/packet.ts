import type { Layout } from "../../btf/layout/layout.ts";
import { binary } from "../arithmetic.ts";
import { LangError } from "../error.ts";
import type { IrBlock, IrParam, IrValue, IrVar, PointerKind } from "../ir/ir.ts";
import type { HostKind } from "../kind.ts";
import type { PacketPointers } from "../program/context.ts";
import {
  addToPointer,
  constant,
  currentBlock,
  emit,
  get,
  here,
  newVariable,
  type Recorder,
  type Scope,
  set,
} from "../recorder.ts";
import type { Region } from "../region.ts";
import { isScalar, makeVal, operandValue } from "../scalar.ts";
import { type HostVal, internals, type OrElse } from "../value.ts";
import { guard, makeView } from "../view.ts";
import type { View } from "../view-types.ts";

/** What happens where the packet is too short. */
export type PacketOptions = OrElse;

/**
 * The packet, from its Ethernet header on (for most program types), and a place in it that moves on as headers are taken.
 *
 * Every access is checked against the end of the packet first, once for each header; what is taken stays good until a
 * helper moves the packet.
 */
export interface Packet {
  /** The next bytes, through a layout; goes on behind them. `else` runs where the packet ends before they do. */
  take<L extends Layout>(layout: L, options: PacketOptions): View<L, "packet">;
  /** The next bytes, through a layout; stays in front of them. */
  peek<L extends Layout>(layout: L, options: PacketOptions): View<L, "packet">;
  /** Goes over so many bytes. What is behind them is checked when it is taken. */
  skip(bytes: number): void;
  /**
   * Goes over a number of bytes that only the program knows; `else` runs where it is more than `max`, or more than the packet
   * has.
   */
  skip(bytes: HostVal<HostKind>, options: PacketOptions & { readonly max: number }): void;
  /** Goes back to the packet's first byte. */
  rewind(): void;
  /** How many bytes lie between the packet's first byte and this place. */
  offset(): HostVal<"u32">;
  /** How many bytes of the packet can be read directly. */
  length(): HostVal<"u32">;
  /** @internal */
  readonly [internals]: PacketInternals;
}

/** What macros of the language itself get at through a packet. */
export interface PacketInternals {
  readonly recorder: Recorder;
  readonly context: IrParam;
  /** The address of the packet's first byte, here. */
  start(): IrValue;
}

/** Where the packet is, from the place on where it was asked for the first time after a move. */
interface Loaded {
  readonly epoch: number;
  readonly scope: Scope;
  readonly start: IrVar;
  readonly cursor: IrVar;
  readonly limit: IrVar;
}

/** Makes the `$.packet` of a program. */
export function createPacket(recorder: Recorder, context: IrParam, pointers: PacketPointers): Packet {
  // One for each branch that moved the packet and went on with it.
  let all: readonly Loaded[] = [];

  const loadPointer = (offset: number, pointer: PointerKind): IrValue => ({
    kind: "load",
    size: pointers.size,
    signed: false,
    base: context,
    offset,
    memory: "ctx",
    volatile: false,
    pointer,
    source: here(),
  });
  const loadInto = (block: IrBlock, { start, cursor, limit }: Loaded): void => {
    const data = loadPointer(pointers.data, "packet");
    const end = loadPointer(pointers.dataEnd, "packet_end");
    block.nodes.push(data, end);
    const store = (variable: IrVar, value: IrValue): void =>
      void block.nodes.push({ kind: "set", variable, value, source: here() });
    store(start, data);
    store(cursor, data);
    store(limit, end);
  };
  const ready = (): Loaded => {
    currentBlock(recorder);
    all = all.filter((one) => one.scope.inside);
    const known = all.findLast(({ epoch }) => epoch === recorder.epoch);
    if (known !== undefined) return known;
    return recorder.epoch === 0
      ? loadFirst()
      : loadAt(currentBlock(recorder), recorder.scope, recorder.epoch);
  };
  /** Before the packet has moved, it is loaded where every branch can see it: in front of the outermost one. */
  const loadFirst = (): Loaded => {
    let { scope } = recorder;
    let block = currentBlock(recorder);
    for (; scope.outer !== undefined; scope = scope.outer) block = scope.from;
    return loadAt(block, scope, 0);
  };
  const loadAt = (block: IrBlock, scope: Scope, epoch: number): Loaded => {
    const loaded: Loaded = {
      epoch,
      scope,
      start: newVariable("the packet's first byte", "packet"),
      cursor: newVariable("the place in the packet", "packet"),
      limit: newVariable("the packet's end", "packet_end"),
    };
    loadInto(block, loaded);
    all = [...all, loaded];
    return loaded;
  };
  // What was found out in front of a loop holds in its first turn only: the next one begins where the packet is then.
  recorder.onPacketMove = () => {
    if (recorder.loop === undefined) return;
    if (!all.some(({ epoch }) => epoch === 0)) loadFirst();
    for (const one of all) if (one.scope.inside) loadInto(currentBlock(recorder), one);
  };
  const view = <L extends Layout>(
    layout: L,
    otherwise: OrElse["else"],
  ): { readonly region: Region; readonly end: IrValue; readonly cursor: IrVar } => {
    const { cursor, limit } = ready();
    const base = get(recorder, cursor);
    const end = addToPointer(recorder, base, constant(layout.size));
    const condition = { kind: "compare", op: "gt", width: 64, a: end, b: get(recorder, limit) } as const;
    guard(recorder, condition, otherwise);
    const region: Region = {
      memory: "packet",
      base,
      size: layout.size,
      slot: undefined,
      name: `the ${layout.cName} of the packet`,
      writable: pointers.writable,
      scope: recorder.scope,
      epoch: recorder.epoch,
      end: () => get(recorder, limit),
    };
    return { region, end, cursor };
  };
  const distance = (to: "cursor" | "limit"): HostVal<"u32"> => {
    const { start, [to]: far } = ready();
    const [high, low] = [get(recorder, far), get(recorder, start)];
    const difference = emit(recorder, {
      kind: "binary",
      op: "sub",
      width: 64,
      a: high,
      b: low,
      pointer: undefined,
      source: here(),
    });
    return makeVal(recorder, "u32", binary(recorder, "and", 64, difference, constant(0xffff_ffff)));
  };

  return {
    take: <L extends Layout>(layout: L, options: PacketOptions): View<L, "packet"> => {
      const { region, end, cursor } = view(layout, options?.else);
      set(recorder, cursor, end);
      return makeView<L, "packet">(recorder, region, 0, layout);
    },
    peek: <L extends Layout>(layout: L, options: PacketOptions): View<L, "packet"> =>
      makeView<L, "packet">(recorder, view(layout, options?.else).region, 0, layout),
    skip: (bytes: number | HostVal<HostKind>, options?: PacketOptions & { readonly max: number }): void => {
      const { cursor, limit } = ready();
      if (typeof bytes === "number") {
        if (!Number.isInteger(bytes) || bytes < 0 || bytes > MAX_OFFSET) {
          throw new LangError(`${bytes} bytes cannot be skipped`, here(), `Give 0 to ${MAX_OFFSET}.`);
        }
        set(recorder, cursor, addToPointer(recorder, get(recorder, cursor), constant(bytes)));
        return;
      }
      if (options === undefined || !(options.max > 0 && options.max <= MAX_OFFSET)) {
        throw new LangError(
          "how many bytes are skipped is known only when the program runs, and { max, else } is missing",
          here(),
          `The verifier wants to know how far it may go: a max of at most ${MAX_OFFSET}.`,
        );
      }
      const by = countOf(recorder, bytes);
      guard(
        recorder,
        { kind: "compare", op: "gt", width: 64, a: by, b: constant(options.max) },
        options.else,
      );
      const there = addToPointer(recorder, get(recorder, cursor), by);
      guard(
        recorder,
        { kind: "compare", op: "gt", width: 64, a: there, b: get(recorder, limit) },
        options.else,
      );
      set(recorder, cursor, there);
    },
    rewind: (): void => {
      const { start, cursor } = ready();
      set(recorder, cursor, get(recorder, start));
    },
    offset: () => distance("cursor"),
    length: () => distance("limit"),
    [internals]: { recorder, context, start: () => get(recorder, ready().start) },
  };
}

/** The verifier follows packet pointers up to MAX_PACKET_OFF. */
const MAX_OFFSET = 0xffff;

function countOf(recorder: Recorder, bytes: HostVal<HostKind>): IrValue {
  const kind = isScalar(bytes) ? bytes[internals].kind : "u64";
  return operandValue(recorder, kind.startsWith("s") ? "s64" : "u64", bytes);
}
