import { type MapDef, mapDef, type Program } from "../../../src/asm/index.ts";
import {
  array,
  be16,
  be32,
  be64,
  type StructLayout,
  s8,
  s16,
  s32,
  s64,
  struct,
  u8,
  u16,
  u32,
  u64,
} from "../../../src/btf/layout/index.ts";
import {
  type Cond,
  func,
  type HostKind,
  type HostVal,
  type LoopForm,
  type Var,
  XDP_ABORTED,
  type XdpScope,
  xdp,
} from "../../../src/lang/index.ts";
import { CELLS, type Expr, type Fuzzed, INPUT_SIZE, KINDS, SLOTS, type Stmt, type Test } from "./ast.ts";
import { turnsOf, type Way } from "./evaluate.ts";

const layouts = { u8, u16, u32, u64, s8, s16, s32, s64 } as const;

/** The inputs as they lie in the packet: two of each kind. */
export const inputLayout: StructLayout = struct(
  "inputs",
  Object.fromEntries([0, 1].flatMap((copy) => KINDS.map((kind) => [`${kind}_${copy}`, layouts[kind]]))),
  { packed: true },
);

/** Fields of the stack object. */
const slotLayout: StructLayout = struct(
  "slots",
  Object.fromEntries(SLOTS.map((kind, index) => [`slot${index}`, layouts[kind]])),
);

const bigEndian = { u16: be16, u32: be32, u64: be64 } as const;
const elementsLayout = struct("elements", { list: array(u32, 8) });
const byteLayout = struct("one_byte", { value: u8 });
const wordLayout = struct("word", { value: u64 });

/** Fields of the map's value. */
const cellsLayout: StructLayout = struct(
  "cells",
  Object.fromEntries(CELLS.map((kind, index) => [`cell${index}`, layouts[kind]])),
);

const cellsMap = mapDef({ name: "cells", type: "array", key: u32, value: cellsLayout, maxEntries: 1 });
const innerMap = mapDef({ name: "inner", type: "array", key: u32, value: cellsLayout, maxEntries: 1 });
const outerMap = mapDef({
  name: "outer",
  type: "array_of_maps",
  key: u32,
  value: u32,
  maxEntries: 1,
  inner: innerMap,
});

/** The maps that programs use: one, and one that holds another like it. */
export const maps: {
  readonly cells: MapDef<"array">;
  readonly inner: MapDef<"array">;
  readonly outer: MapDef<"array_of_maps">;
} = { cells: cellsMap, inner: innerMap, outer: outerMap };

type AnyVal = HostVal<HostKind>;
type AnyRef = AnyVal & { set(value: unknown): void };

/** The program, written with the language. */
export function build(fuzzed: Fuzzed, way: Way): Program<"xdp"> {
  return xdp("fuzzed", ($) => record($, fuzzed, way), { kernel: kernelOf(fuzzed, way) });
}

/** Iterators came with 6.4, bpf_loop with 5.17; signed division needs 6.6. */
function kernelOf({ kernel, cells }: Fuzzed, way: Way): "5.10" | "5.17" | "6.6" {
  if (way === "plain") return kernel;
  return way === "chosen" && kernel === "5.10" && cells === "global" ? "5.17" : "6.6";
}

/** `a op b` as a function of its own. */
const operations = Object.fromEntries(
  (["add", "sub", "mul", "div", "mod", "and", "or", "xor"] as const).flatMap((op) =>
    KINDS.map((kind) => {
      const layout = layouts[kind] as typeof u64;
      const name = `${op}_${kind}`;
      return [name, func(name, [layout, layout], layout, ($, a, b) => $.return(a[op](b)))];
    }),
  ),
);

function cellsOf($: XdpScope, cells: Fuzzed["cells"]): Record<string, AnyRef> {
  const missing = { else: () => $.return(XDP_ABORTED) };
  switch (cells) {
    case "global":
      return $.global(cellsMap) as never;
    case "lookup":
      return $.lookup(cellsMap, 0, missing) as never;
    case "inner":
      return $.lookup($.lookup(outerMap, 0, missing), 0, missing) as never;
  }
}

function record($: XdpScope, { vars: firsts, body, cells: how }: Fuzzed, way: Way) {
  const inputs = $.packet.take(inputLayout, { else: () => $.return(XDP_ABORTED) }) as unknown as Record<
    string,
    AnyRef
  >;
  const cells = cellsOf($, how);
  for (const index of CELLS.keys()) cells[`cell${index}`]?.set(0);
  const elements = $.struct(elementsLayout);
  const word = $.struct(wordLayout);
  const slots = $.struct(slotLayout) as unknown as Record<string, AnyRef>;
  const vars: (AnyVal & Var<HostKind>)[] = [];
  const value = (of: Expr): AnyVal => {
    switch (of.is) {
      case "const":
        return $.value(layouts[of.kind] as typeof u64, of.value) as AnyVal;
      case "var":
        return vars[of.index] as AnyVal;
      case "input":
        return inputs[`${KINDS[of.index % 8]}_${of.index >> 3}`] as AnyVal;
      case "to":
        return value(of.a).to(layouts[of.kind] as typeof u64) as AnyVal;
      case "unary":
        return value(of.a)[of.op]();
      case "wire":
        return value(of.a)
          .to(bigEndian[of.kind] as typeof be64)
          .raw() as AnyVal;
      case "shift":
        return value(of.a)[of.op](typeof of.by === "number" ? of.by : (value(of.by) as HostVal<"u32">));
      case "binary":
        if (way === "functions") {
          const operation = operations[`${of.op}_${of.kind}`] as (typeof operations)[string];
          return $.call(operation, value(of.a) as HostVal<"u64">, value(of.b) as HostVal<"u64">) as AnyVal;
        }
        return value(of.a)[of.op](value(of.b) as never);
    }
  };
  const condition = (test: Test): Cond => {
    switch (test.is) {
      case "not":
        return condition(test.a).not();
      case "and":
      case "or":
        return condition(test.a)[test.is](condition(test.b));
      case "lazyAnd":
        return $.and(condition(test.a), () => condition(test.b));
      case "lazyOr":
        return $.or(condition(test.a), () => condition(test.b));
      case "compare":
        return value(test.a)[test.op](value(test.b) as never);
    }
  };
  const atomic = ({ op, cell, value: by, expected, index }: Stmt & { is: "atomic" }): void => {
    const field = cells[`cell${cell}`] as never;
    const given = value(by) as never;
    const old =
      op === "cmpxchg"
        ? $.atomic.cmpxchg(field, value(expected) as never, given)
        : $.atomic[op](field, given);
    if (index !== undefined) vars[index]?.set(old as never);
  };
  const run = (stmts: readonly Stmt[]): unknown => {
    for (const stmt of stmts) {
      switch (stmt.is) {
        case "set":
          vars[stmt.index]?.set(value(stmt.value) as never);
          break;
        case "store":
          slots[`slot${stmt.slot}`]?.set(value(stmt.value));
          break;
        case "load":
          vars[stmt.index]?.set(slots[`slot${stmt.slot}`] as never);
          break;
        case "if": {
          const chain = $.if(condition(stmt.test), () => run(stmt.body));
          const { else: otherwise } = stmt;
          if (otherwise !== undefined) chain.else(() => run(otherwise));
          break;
        }
        case "for":
          $.for(
            turnsOf(stmt, way),
            (index) => {
              const variable = vars[stmt.index] as unknown as Var<"u32">;
              variable.set(variable.add(index));
              run(stmt.body);
            },
            way === "chosen" ? {} : { as: formOf(way, stmt.unroll) },
          );
          break;
        case "return":
          return $.return(value(stmt.value) as HostVal<"u32">);
        case "switch": {
          const cases = stmt.cases.map(([values, inner]) => [values, () => run(inner)] as const);
          $.switch(value(stmt.value) as HostVal<"u64">, cases, () => run(stmt.else));
          break;
        }
        case "element":
          elements.list.wrap(value(stmt.by) as HostVal<"u8">).set(value(stmt.value) as HostVal<"u32">);
          break;
        case "fromElement":
          vars[stmt.index]?.set(elements.list.wrap(value(stmt.by) as HostVal<"u8">) as never);
          break;
        case "input":
          inputs[`${KINDS[stmt.index % 8]}_${stmt.index >> 3}`]?.set(value(stmt.value));
          break;
        case "peek": {
          const aborted = { else: () => $.return(XDP_ABORTED) };
          const by = value(stmt.by).to(u32).mod(32) as HostVal<"u32">;
          $.packet.rewind();
          $.packet.skip(INPUT_SIZE);
          $.packet.skip(by, { max: 31, ...aborted });
          vars[stmt.index]?.set($.packet.take(byteLayout, aborted).value as never);
          break;
        }
        case "loadBytes":
          $.bpf_xdp_load_bytes(stmt.at, word, 8);
          vars[stmt.index]?.set(word.value as never);
          break;
        case "storeBytes":
          word.value.set(value(stmt.value) as HostVal<"u64">);
          $.bpf_xdp_store_bytes(stmt.at, word, 8);
          break;
        case "cell":
          cells[`cell${stmt.cell}`]?.set(value(stmt.value));
          break;
        case "fromCell":
          vars[stmt.index]?.set(cells[`cell${stmt.cell}`] as never);
          break;
        case "atomic":
          atomic(stmt);
          break;
        case "break":
          return $.break();
        case "continue":
          return $.continue();
      }
    }
    return undefined;
  };
  for (const first of firsts) {
    vars.push(
      $.let(layouts[first.kind] as typeof u64, value(first) as never) as unknown as (typeof vars)[number],
    );
  }
  run(body);
  const mixed = vars.reduce<HostVal<"u32">>((all, one) => all.xor(one.to(u32)).mul(31), $.value(u32, 7));
  return $.return(mixed);
}

function formOf(way: Way, unroll: boolean): LoopForm {
  if (way === "iterator" || way === "bpf_loop") return way;
  return unroll ? "unroll" : "loop";
}
