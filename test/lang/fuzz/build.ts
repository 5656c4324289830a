import type { Program } from "../../../src/asm/index.ts";
import {
  encode,
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
  type Var,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../../src/lang/index.ts";
import { type Expr, type Fuzzed, KINDS, type Kind, SLOTS, type Stmt, type Test } from "./ast.ts";

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

type AnyVal = HostVal<HostKind>;
type AnyRef = AnyVal & { set(value: unknown): void };

/** The program, written with the language. */
export function build({ kernel, vars, body }: Fuzzed, way: Way = "plain"): Program<"xdp"> {
  // Iterators came with 6.4.
  return xdp("fuzzed", ($) => record($, vars, body, way), { kernel: way === "plain" ? kernel : "6.6" });
}

/** How loops and computations are put: as the seed says, or all in one way. */
export type Way = "plain" | "iterator" | "bpf_loop" | "functions";

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

function record($: XdpScope, firsts: readonly Expr[], body: readonly Stmt[], way: Way) {
  const inputs = $.packet.take(inputLayout, { else: () => $.return(XDP_PASS) }) as unknown as Record<
    string,
    AnyVal
  >;
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
            stmt.count,
            (index) => {
              const variable = vars[stmt.index] as unknown as Var<"u32">;
              variable.set(variable.add(index));
              run(stmt.body);
            },
            { as: way === "iterator" || way === "bpf_loop" ? way : stmt.unroll ? "unroll" : "loop" },
          );
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

/** Inputs as the packet's bytes. */
export function packetOf(inputs: readonly bigint[]): Uint8Array {
  const values = Object.fromEntries(
    inputs.map((input, index) => {
      const kind = KINDS[index % 8] as Kind;
      const wide = kind.endsWith("64");
      return [`${kind}_${index >> 3}`, wide ? input : Number(input)];
    }),
  );
  return encode(inputLayout, values as never);
}
