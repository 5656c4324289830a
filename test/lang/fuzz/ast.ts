/**
 * Random programs for the differential fuzzer, as data: built with the language for the kernel, and computed by an
 * evaluator of a few lines that knows nothing of compilers.
 */

/** The kinds that programs compute with. */
export const KINDS = ["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"] as const;
export type Kind = (typeof KINDS)[number];

/** An expression; `kind` is what it gives. */
export type Expr =
  | { readonly kind: Kind; readonly is: "const"; readonly value: bigint }
  | { readonly kind: Kind; readonly is: "var"; readonly index: number }
  | { readonly kind: Kind; readonly is: "input"; readonly index: number }
  | { readonly kind: Kind; readonly is: "binary"; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  | {
      readonly kind: Kind;
      readonly is: "shift";
      readonly op: "shl" | "shr";
      readonly a: Expr;
      readonly by: Expr | number;
    }
  | { readonly kind: Kind; readonly is: "unary"; readonly op: "not" | "neg"; readonly a: Expr }
  /** The bytes of a big-endian number, taken as they lie. */
  | { readonly kind: "u16" | "u32" | "u64"; readonly is: "wire"; readonly a: Expr }
  | { readonly kind: Kind; readonly is: "to"; readonly a: Expr };
export type BinaryOp = "add" | "sub" | "mul" | "div" | "mod" | "and" | "or" | "xor";

/** A condition. */
export type Test =
  | { readonly is: "compare"; readonly op: CompareOp; readonly a: Expr; readonly b: Expr }
  | { readonly is: "and" | "or" | "lazyAnd" | "lazyOr"; readonly a: Test; readonly b: Test }
  | { readonly is: "not"; readonly a: Test };
export type CompareOp = "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "has";

/** A statement. */
export type Stmt =
  | { readonly is: "set"; readonly index: number; readonly value: Expr }
  | {
      readonly is: "if";
      readonly test: Test;
      readonly body: readonly Stmt[];
      readonly else: readonly Stmt[] | undefined;
    }
  | {
      readonly is: "for";
      readonly count: number;
      readonly unroll: boolean;
      readonly index: number;
      readonly body: readonly Stmt[];
    }
  | { readonly is: "break" | "continue" }
  | { readonly is: "return"; readonly value: Expr }
  | {
      readonly is: "switch";
      readonly value: Expr;
      readonly cases: readonly (readonly [values: readonly bigint[], body: readonly Stmt[]])[];
      readonly else: readonly Stmt[];
    }
  | { readonly is: "store"; readonly slot: number; readonly value: Expr }
  | { readonly is: "load"; readonly slot: number; readonly index: number }
  /** An element of an array in the stack frame, by an index modulo 8. */
  | { readonly is: "element"; readonly by: Expr; readonly value: Expr }
  | { readonly is: "fromElement"; readonly by: Expr; readonly index: number }
  /** A field of the packet, written. */
  | { readonly is: "input"; readonly index: number; readonly value: Expr }
  /** A byte behind the inputs, at a distance that only the program knows (modulo 32). */
  | { readonly is: "peek"; readonly by: Expr; readonly index: number }
  /** 8 bytes of the packet, by a helper: to a variable, or from an expression. */
  | { readonly is: "loadBytes"; readonly at: number; readonly index: number }
  | { readonly is: "storeBytes"; readonly at: number; readonly value: Expr }
  /** A field of a map's value. */
  | { readonly is: "cell"; readonly cell: number; readonly value: Expr }
  | { readonly is: "fromCell"; readonly cell: number; readonly index: number }
  | {
      readonly is: "atomic";
      readonly op: AtomicName;
      readonly cell: number;
      readonly value: Expr;
      readonly expected: Expr;
      /** Where the old content goes, for those that give it. */
      readonly index: number | undefined;
    };
export type AtomicName = "add" | "or" | "and" | "xor" | "fetchAdd" | "xchg" | "cmpxchg";

/** A program: variables with their first values, then statements. The result is all variables mixed into 32 bits. */
export interface Fuzzed {
  readonly kernel: "5.10" | "6.6";
  /** How it comes to the map's value. */
  readonly cells: "global" | "lookup" | "inner";
  readonly vars: readonly Expr[];
  readonly body: readonly Stmt[];
}

/** The kinds of the fields in the stack object that programs store to and load from. */
export const SLOTS: readonly Kind[] = ["u8", "u16", "u32", "u64", "s32"];

/** The kinds of the fields in the map's value. */
export const CELLS: readonly Kind[] = ["u32", "u64", "s32", "s64"];

/** Bytes of the inputs, and of what follows them in the packet. */
export const INPUT_SIZE = 60;
export const REST = 40;

/** Whether there is a loop in a body. */
export function hasLoop(body: readonly Stmt[]): boolean {
  return body.some(
    (stmt) =>
      stmt.is === "for" ||
      (stmt.is === "if" && (hasLoop(stmt.body) || hasLoop(stmt.else ?? []))) ||
      (stmt.is === "switch" && (stmt.cases.some(([, inner]) => hasLoop(inner)) || hasLoop(stmt.else))),
  );
}

/** A reproducible source of numbers (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The random program of a seed. */
export function generate(seed: number): Fuzzed {
  const random = randomFrom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
  const kernel = pick(["5.10", "6.6"] as const);
  const kinds: Kind[] = [];

  const constant = (kind: Kind): Expr => {
    const bits = BigInt(kind.slice(1));
    const some = [
      0n,
      1n,
      2n,
      3n,
      7n,
      8n,
      0x7fn,
      0xffn,
      0x100n,
      0x7fffn,
      0xffffn,
      0x7fff_ffffn,
      0x8000_0000n,
      0xffff_ffffn,
    ];
    const raw =
      below(4) === 0
        ? BigInt(below(2 ** 32)) * BigInt(below(2 ** 32))
        : pick(some) * (below(3) === 0 ? -1n : 1n);
    return {
      kind,
      is: "const",
      value: kind[0] === "u" ? BigInt.asUintN(Number(bits), raw) : BigInt.asIntN(Number(bits), raw),
    };
  };
  const expr = (kind: Kind, depth: number): Expr => {
    const choice = depth <= 0 ? below(3) : below(13);
    if (choice === 0) return constant(kind);
    if (choice === 1) {
      const vars = kinds.flatMap((of, index) => (of === kind ? [index] : []));
      return vars.length > 0 ? { kind, is: "var", index: pick(vars) } : constant(kind);
    }
    if (choice === 2) return { kind, is: "input", index: KINDS.indexOf(kind) + 8 * below(2) };
    if (choice <= 7) {
      const signed = kind[0] === "s";
      const ops: BinaryOp[] = ["add", "sub", "mul", "and", "or", "xor"];
      if (!signed || kernel === "6.6") ops.push("div", "mod");
      return { kind, is: "binary", op: pick(ops), a: expr(kind, depth - 1), b: expr(kind, depth - 1) };
    }
    if (choice === 8) {
      const bits = Number(kind.slice(1));
      const by = below(2) === 0 ? below(bits) : expr(pick(["u8", "u32"] as const), depth - 1);
      return { kind, is: "shift", op: pick(["shl", "shr"] as const), a: expr(kind, depth - 1), by };
    }
    if (choice === 9)
      return { kind, is: "unary", op: pick(["not", "neg"] as const), a: expr(kind, depth - 1) };
    if (choice === 12 && (kind === "u16" || kind === "u32" || kind === "u64")) {
      return { kind, is: "wire", a: expr(kind, depth - 1) };
    }
    return { kind, is: "to", a: expr(pick(KINDS), depth - 1) };
  };
  const test = (depth: number): Test => {
    const choice = depth <= 0 ? 0 : below(6);
    if (choice <= 2) {
      const kind = pick(KINDS);
      const op = pick(["eq", "ne", "lt", "le", "gt", "ge", "has"] as const);
      return { is: "compare", op, a: expr(kind, 1), b: expr(kind, 1) };
    }
    if (choice === 3) return { is: "not", a: test(depth - 1) };
    return { is: pick(["and", "or", "lazyAnd", "lazyOr"] as const), a: test(depth - 1), b: test(depth - 1) };
  };
  const variableOf = (kind: Kind): number | undefined => {
    const vars = kinds.flatMap((of, index) => (of === kind ? [index] : []));
    return vars.length > 0 ? pick(vars) : undefined;
  };
  /** What is done to memory, in a place where it is done always. */
  const memory = (): Stmt | undefined => {
    const into = (kind: Kind, make: (index: number) => Stmt): Stmt | undefined => {
      const index = variableOf(kind);
      return index === undefined ? undefined : make(index);
    };
    switch (below(9)) {
      case 0:
        return { is: "element", by: expr("u8", 1), value: expr("u32", 2) };
      case 1:
        return into("u32", (index) => ({ is: "fromElement", by: expr("u8", 1), index }));
      case 2: {
        const index = below(16);
        return { is: "input", index, value: expr(KINDS[index % 8] as Kind, 2) };
      }
      case 3:
        return into("u8", (index) => ({ is: "peek", by: expr("u8", 1), index }));
      case 4:
        return into("u64", (index) => ({ is: "loadBytes", at: below(INPUT_SIZE + REST - 8), index }));
      case 5:
        return { is: "storeBytes", at: below(INPUT_SIZE + REST - 8), value: expr("u64", 2) };
      case 6: {
        const cell = below(CELLS.length);
        return { is: "cell", cell, value: expr(CELLS[cell] as Kind, 2) };
      }
      case 7: {
        const cell = below(CELLS.length);
        return into(CELLS[cell] as Kind, (index) => ({ is: "fromCell", cell, index }));
      }
      default: {
        const cell = below(CELLS.length);
        const kind = CELLS[cell] as Kind;
        const op = pick(["add", "or", "and", "xor", "fetchAdd", "xchg", "cmpxchg"] as const);
        const gives = op === "fetchAdd" || op === "xchg" || op === "cmpxchg";
        const index = gives ? variableOf(kind) : undefined;
        return { is: "atomic", op, cell, value: expr(kind, 2), expected: expr(kind, 1), index };
      }
    }
  };
  const stmts = (depth: number, inLoop: boolean): Stmt[] => {
    const list: Stmt[] = [];
    for (let left = 1 + below(3); left > 0; left--) {
      const choice = below(depth <= 0 ? 8 : 14) - 2;
      if (choice < 0) {
        const made = memory();
        if (made !== undefined) list.push(made);
      } else if (choice <= 3) {
        const index = below(kinds.length);
        list.push({ is: "set", index, value: expr(kinds[index] as Kind, 3) });
      } else if (choice === 4) {
        const slot = below(SLOTS.length);
        list.push({ is: "store", slot, value: expr(SLOTS[slot] as Kind, 2) });
      } else if (choice === 5) {
        const slot = below(SLOTS.length);
        const vars = kinds.flatMap((of, index) => (of === SLOTS[slot] ? [index] : []));
        if (vars.length > 0) list.push({ is: "load", slot, index: pick(vars) });
      } else if (choice <= 7) {
        list.push({
          is: "if",
          test: test(2),
          body: stmts(depth - 1, inLoop),
          else: below(2) === 0 ? undefined : stmts(depth - 1, inLoop),
        });
      } else if (choice === 8) {
        const vars = kinds.flatMap((of, index) => (of === "u32" ? [index] : []));
        if (vars.length === 0) continue;
        const count = 1 + below(4);
        list.push({
          is: "for",
          count,
          unroll: below(2) === 0,
          index: pick(vars),
          body: stmts(depth - 1, true),
        });
      } else if (choice === 9) {
        const kind = pick(KINDS);
        const used = new Set<bigint>();
        const cases = Array.from({ length: 1 + below(3) }, () => {
          const values = Array.from(
            { length: 1 + below(2) },
            () => (constant(kind) as { value: bigint }).value,
          );
          const fresh = values.filter((value, at) => !used.has(value) && values.indexOf(value) === at);
          for (const value of fresh) used.add(value);
          return [fresh, stmts(depth - 1, inLoop)] as const;
        }).filter(([values]) => values.length > 0);
        list.push({ is: "switch", value: expr(kind, 2), cases, else: stmts(depth - 1, inLoop) });
      } else if (choice === 10 && below(3) === 0) {
        list.push({
          is: "if",
          test: test(1),
          body: [{ is: "return", value: expr("u32", 2) }],
          else: undefined,
        });
      } else if (inLoop) {
        list.push({
          is: "if",
          test: test(1),
          body: [{ is: pick(["break", "continue"] as const) }],
          else: undefined,
        });
      }
    }
    return list;
  };

  const vars: Expr[] = [];
  // More than there are registers, now and then.
  for (let count = 2 + below(6) + (below(4) === 0 ? 8 : 0); count > 0; count--) {
    const kind = pick(KINDS);
    vars.push(expr(kind, 1));
    kinds.push(kind);
  }
  const cells = pick(["global", "lookup", "inner"] as const);
  return { kernel, cells, vars, body: stmts(3, false) };
}
