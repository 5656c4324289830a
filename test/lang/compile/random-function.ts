import fc from "fast-check";
import type {
  AtomicOp,
  BinaryOp,
  CompareOp,
  IrBlock,
  IrCall,
  IrConst,
  IrEnd,
  IrFunction,
  IrNode,
  IrParam,
  IrSlot,
  IrValue,
  IrVar,
  UnaryOp,
  Width,
} from "../../../src/lang/ir/ir.ts";
import { bpf_get_prandom_u32 } from "../../../src/uapi/helpers.ts";

/** Bytes of the packet that random functions read and write. Their packets are exactly as long. */
export const PACKET_SIZE = 64;
const SLOT_SIZE = 32;
const VARIABLES = 6;

type Size = 1 | 2 | 4 | 8;

/** A random expression. Variables are counted in a ring, so that any number names one. */
export type Expr =
  | { readonly is: "const"; readonly value: bigint }
  | { readonly is: "packet"; readonly size: Size; readonly at: number }
  | { readonly is: "slot"; readonly size: Size; readonly at: number }
  | { readonly is: "var"; readonly index: number }
  | {
      readonly is: "binary";
      readonly op: BinaryOp;
      readonly width: Width;
      readonly a: Expr;
      readonly b: Expr;
    }
  | { readonly is: "unary"; readonly op: UnaryOp; readonly width: Width; readonly a: Expr };

/** A random condition. */
export interface Cond {
  readonly op: CompareOp;
  readonly width: Width;
  readonly a: Expr;
  readonly b: Expr;
}

/** A random statement. */
export type Stmt =
  | { readonly is: "set"; readonly index: number; readonly value: Expr }
  | {
      readonly is: "if";
      readonly cond: Cond;
      readonly yes: readonly Stmt[];
      readonly no: readonly Stmt[];
    }
  | { readonly is: "loop"; readonly turns: number; readonly body: readonly Stmt[] }
  | { readonly is: "packet"; readonly size: Size; readonly at: number; readonly value: Expr }
  | { readonly is: "slot"; readonly size: Size; readonly at: number; readonly value: Expr }
  | {
      readonly is: "atomic";
      readonly op: AtomicOp;
      readonly size: 4 | 8;
      readonly at: number;
      readonly value: Expr;
      readonly expected: Expr;
      readonly index: number;
    }
  | { readonly is: "call" }
  | { readonly is: "return"; readonly value: Expr };

const BINARY: readonly BinaryOp[] = [
  "add",
  "sub",
  "mul",
  "div",
  "mod",
  "or",
  "and",
  "xor",
  "lsh",
  "rsh",
  "arsh",
];
const UNARY: readonly UnaryOp[] = [
  "neg",
  "zext32",
  "sext8",
  "sext16",
  "sext32",
  "be16",
  "be32",
  "be64",
  "le16",
  "le32",
  "le64",
];
const COMPARE: readonly CompareOp[] = [
  "eq",
  "ne",
  "gt",
  "ge",
  "lt",
  "le",
  "sgt",
  "sge",
  "slt",
  "sle",
  "set",
  "nset",
];
const ATOMIC: readonly AtomicOp[] = [
  "add",
  "or",
  "and",
  "xor",
  "fetch_add",
  "fetch_or",
  "fetch_and",
  "fetch_xor",
  "xchg",
  "cmpxchg",
];

const width = fc.constantFrom<Width>(32, 64);
const size = fc.constantFrom<Size>(1, 2, 4, 8);
const interesting = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    2n,
    3n,
    7n,
    8n,
    31n,
    32n,
    63n,
    0x7fn,
    0x80n,
    0xffn,
    0x100n,
    0x7fffn,
    0x8000n,
    0xffffn,
    0x7fff_ffffn,
    0x8000_0000n,
    0xffff_ffffn,
    0x1_0000_0000n,
    0x7fff_ffff_ffff_ffffn,
    0x8000_0000_0000_0000n,
    0xffff_ffff_8000_0000n,
    0xffff_ffff_ffff_ff00n,
    0xffff_ffff_ffff_ffffn,
  ),
  fc.bigInt(0n, 0xffn),
  fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
);

function expressions(signedDivision: boolean): fc.Arbitrary<Expr> {
  const ops = signedDivision ? ([...BINARY, "sdiv", "smod"] as const) : BINARY;
  return fc.letrec<{ expr: Expr }>((tie) => ({
    expr: fc.oneof(
      { maxDepth: 4, depthSize: "small" },
      fc.record({ is: fc.constant("const" as const), value: interesting }),
      fc.record({ is: fc.constant("packet" as const), size, at: fc.nat(PACKET_SIZE - 8) }),
      fc.record({ is: fc.constant("slot" as const), size, at: fc.nat(SLOT_SIZE - 8) }),
      fc.record({ is: fc.constant("var" as const), index: fc.nat(VARIABLES - 1) }),
      fc.record({
        is: fc.constant("binary" as const),
        op: fc.constantFrom(...ops),
        width,
        a: tie("expr"),
        b: tie("expr"),
      }),
      fc.record({
        is: fc.constant("binary" as const),
        op: fc.constantFrom(...ops),
        width,
        a: tie("expr"),
        b: fc.record({ is: fc.constant("const" as const), value: interesting }),
      }),
      fc.record({ is: fc.constant("unary" as const), op: fc.constantFrom(...UNARY), width, a: tie("expr") }),
    ),
  })).expr;
}

/** The bodies of random functions. */
export function bodies(options: {
  readonly signedDivision: boolean;
  readonly length: number;
}): fc.Arbitrary<readonly Stmt[]> {
  const expr = expressions(options.signedDivision);
  const cond: fc.Arbitrary<Cond> = fc.record({ op: fc.constantFrom(...COMPARE), width, a: expr, b: expr });
  const index = fc.nat(VARIABLES - 1);
  return fc.letrec<{ stmt: Stmt; body: readonly Stmt[]; program: readonly Stmt[] }>((tie) => ({
    body: fc.array(tie("stmt"), { maxLength: 4 }),
    stmt: fc.oneof(
      { maxDepth: 3, depthSize: "small" },
      { weight: 5, arbitrary: fc.record({ is: fc.constant("set" as const), index, value: expr }) },
      {
        weight: 2,
        arbitrary: fc.record({
          is: fc.constant("packet" as const),
          size,
          at: fc.nat(PACKET_SIZE - 8),
          value: expr,
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          is: fc.constant("slot" as const),
          size,
          at: fc.nat(SLOT_SIZE - 8),
          value: expr,
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          is: fc.constant("atomic" as const),
          op: fc.constantFrom(...ATOMIC),
          size: fc.constantFrom<4 | 8>(4, 8),
          at: fc.nat(SLOT_SIZE / 8 - 1).map((slot) => slot * 8),
          value: expr,
          expected: expr,
          index,
        }),
      },
      { weight: 1, arbitrary: fc.constant({ is: "call" as const }) },
      { weight: 1, arbitrary: fc.record({ is: fc.constant("return" as const), value: expr }) },
      {
        weight: 3,
        arbitrary: fc.record({
          is: fc.constant("if" as const),
          cond,
          yes: tie("body"),
          no: tie("body"),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          is: fc.constant("loop" as const),
          turns: fc.integer({ min: 1, max: 3 }),
          body: tie("body"),
        }),
      },
    ),
    program: fc.array(tie("stmt"), { minLength: 1, maxLength: options.length }),
  })).program;
}

/** Makes the function of a body: an XDP program that checks its packet's length, and ends with all variables mixed. */
export function functionOf(body: readonly Stmt[]): IrFunction {
  const source = undefined;
  const ctx: IrParam = { kind: "param", index: 0, pointer: "ctx", source };
  const slot: IrSlot = { name: "slot", size: SLOT_SIZE, align: 8, scratch: false, source };
  const fn: IrFunction = { name: "random", params: [ctx], blocks: [], slots: [slot] };
  let block: IrBlock | undefined;

  const open = (hint: string): IrBlock => {
    const made: IrBlock = { hint, nodes: [], end: undefined };
    fn.blocks.push(made);
    return made;
  };
  const emit = <Node extends IrNode>(node: Node): Node => {
    block?.nodes.push(node);
    return node;
  };
  const finish = (end: IrEnd): void => {
    if (block !== undefined) block.end = end;
    block = undefined;
  };
  const number = (value: bigint): IrConst => ({ kind: "const", value, pointer: undefined, source });
  const binary = (op: BinaryOp, bits: Width, a: IrValue, b: IrValue): IrValue =>
    emit({ kind: "binary", op, width: bits, a, b, pointer: a.pointer, source });
  const context = (offset: number, pointer: "packet" | "packet_end"): IrValue =>
    emit({
      kind: "load",
      size: 4,
      signed: false,
      base: ctx,
      offset,
      memory: "ctx",
      volatile: false,
      pointer,
      source,
    });

  block = open("entry");
  const data = context(0, "packet");
  const dataEnd = context(4, "packet_end");
  const end = binary("add", 64, data, number(BigInt(PACKET_SIZE)));
  const short = open("short");
  const enough = open("enough");
  finish({ kind: "branch", op: "gt", width: 64, a: end, b: dataEnd, yes: short, no: enough, source });
  block = short;
  finish({ kind: "return", value: number(0n), source });
  block = enough;
  const frame = (offset: number): IrValue => ({ kind: "frame", slot, offset, pointer: "stack", source });
  for (let offset = 0; offset < SLOT_SIZE; offset += 8) {
    emit({
      kind: "store",
      size: 8,
      base: frame(0),
      offset,
      value: number(0n),
      memory: "stack",
      volatile: false,
      source,
    });
  }
  const variables: readonly IrVar[] = Array.from({ length: VARIABLES }, (_, index) => ({
    name: `x${index}`,
    pointer: undefined,
  }));
  const load = (bytes: Size, at: number): IrValue =>
    emit({
      kind: "load",
      size: bytes,
      signed: false,
      base: data,
      offset: at,
      memory: "packet",
      volatile: false,
      pointer: undefined,
      source,
    });
  const get = (variable: IrVar): IrValue => emit({ kind: "get", variable, pointer: undefined, source });
  const set = (variable: IrVar, value: IrValue): void => void emit({ kind: "set", variable, value, source });
  for (const [index, variable] of variables.entries()) set(variable, load(8, index * 8));
  const variableOf = (index: number): IrVar => variables[index % VARIABLES] as IrVar;
  const aligned = (at: number, bytes: number): number => at - (at % bytes); // the verifier refuses others in the stack

  const expression = (expr: Expr): IrValue => {
    switch (expr.is) {
      case "const":
        return number(expr.value);
      case "packet":
        return load(expr.size, expr.at);
      case "slot":
        return emit({
          kind: "load",
          size: expr.size,
          signed: false,
          base: frame(0),
          offset: aligned(expr.at, expr.size),
          memory: "stack",
          volatile: false,
          pointer: undefined,
          source,
        });
      case "var":
        return get(variableOf(expr.index));
      case "binary":
        return binary(expr.op, expr.width, expression(expr.a), expression(expr.b));
      case "unary":
        return emit({
          kind: "unary",
          op: expr.op,
          // These have no form that keeps 32 bits.
          width: /64|sext32/.test(expr.op) ? 64 : expr.width,
          a: expression(expr.a),
          pointer: undefined,
          source,
        });
    }
  };
  const statements = (list: readonly Stmt[]): void => {
    for (const stmt of list) {
      if (block === undefined) return;
      statement(stmt);
    }
  };
  const branch = (cond: Cond, yes: IrBlock, no: IrBlock): void => {
    const [a, b] = [expression(cond.a), expression(cond.b)];
    finish({ kind: "branch", op: cond.op, width: cond.width, a, b, yes, no, source });
  };
  const statement = (stmt: Stmt): void => {
    switch (stmt.is) {
      case "set":
        set(variableOf(stmt.index), expression(stmt.value));
        return;
      case "packet": {
        const value = expression(stmt.value);
        emit({
          kind: "store",
          size: stmt.size,
          base: data,
          offset: stmt.at,
          value,
          memory: "packet",
          volatile: false,
          source,
        });
        return;
      }
      case "slot": {
        const value = expression(stmt.value);
        const offset = aligned(stmt.at, stmt.size);
        emit({
          kind: "store",
          size: stmt.size,
          base: frame(0),
          offset,
          value,
          memory: "stack",
          volatile: false,
          source,
        });
        return;
      }
      case "atomic": {
        const value = expression(stmt.value);
        const expected = stmt.op === "cmpxchg" ? expression(stmt.expected) : undefined;
        const old = emit({
          kind: "atomic",
          op: stmt.op,
          size: stmt.size,
          base: frame(0),
          offset: stmt.at,
          value,
          expected,
          memory: "stack",
          pointer: undefined,
          source,
        });
        if (stmt.op.includes("xchg") || stmt.op.startsWith("fetch")) set(variableOf(stmt.index), old);
        return;
      }
      case "call":
        emit<IrCall>({
          kind: "call",
          callee: { kind: "helper", helper: bpf_get_prandom_u32 },
          args: [],
          writes: [],
          reads: [],
          removable: false,
          pure: false,
          pointer: undefined,
          source,
        });
        return;
      case "return":
        finish({ kind: "return", value: expression(stmt.value), source });
        return;
      case "if": {
        const [yes, no, join] = [open("then"), open("else"), open("join")];
        branch(stmt.cond, yes, no);
        block = yes;
        statements(stmt.yes);
        finish({ kind: "jump", to: join, source });
        block = no;
        statements(stmt.no);
        finish({ kind: "jump", to: join, source });
        block = join;
        return;
      }
      case "loop": {
        const turn: IrVar = { name: "turn", pointer: undefined };
        set(turn, number(0n));
        const [head, inside, out] = [open("loop"), open("body"), open("out")];
        finish({ kind: "jump", to: head, source });
        block = head;
        const turns = number(BigInt(stmt.turns));
        finish({ kind: "branch", op: "lt", width: 64, a: get(turn), b: turns, yes: inside, no: out, source });
        block = inside;
        statements(stmt.body);
        if (block !== undefined) set(turn, binary("add", 64, get(turn), number(1n)));
        finish({ kind: "jump", to: head, source });
        block = out;
      }
    }
  };
  statements(body);
  if (block !== undefined) {
    const mixed = variables
      .map(get)
      .reduce((a, b) => binary("xor", 64, binary("mul", 64, a, number(31n)), b));
    emit({
      kind: "store",
      size: 8,
      base: data,
      offset: 0,
      value: mixed,
      memory: "packet",
      volatile: false,
      source,
    });
    finish({ kind: "return", value: binary("rsh", 64, mixed, number(32n)), source });
  }
  return fn;
}
