import { type Expr, type Fuzzed, type Kind, SLOTS, type Stmt, type Test } from "./ast.ts";

/** What a program of the fuzzer gives for these inputs, as the kernel's signed 32-bit result. */
export function evaluate(program: Fuzzed, inputs: readonly bigint[]): number {
  const vars: bigint[] = [];
  const slots = SLOTS.map(() => 0n);
  const value = (of: Expr): bigint => {
    switch (of.is) {
      case "const":
        return of.value;
      case "var":
        return vars[of.index] as bigint;
      case "input":
        return wrap(of.kind, inputs[of.index] as bigint);
      case "to":
        return wrap(of.kind, value(of.a));
      case "unary":
        return wrap(of.kind, of.op === "not" ? ~value(of.a) : -value(of.a));
      case "shift": {
        const given = typeof of.by === "number" ? BigInt(of.by) : value(of.by);
        const count = given % (of.kind.endsWith("64") ? 64n : 32n);
        return wrap(of.kind, of.op === "shl" ? value(of.a) << count : value(of.a) >> count);
      }
      case "binary": {
        const [a, b] = [value(of.a), value(of.b)];
        switch (of.op) {
          case "add":
            return wrap(of.kind, a + b);
          case "sub":
            return wrap(of.kind, a - b);
          case "mul":
            return wrap(of.kind, a * b);
          case "div":
            return wrap(of.kind, b === 0n ? 0n : a / b);
          case "mod":
            return wrap(of.kind, b === 0n ? a : a % b);
          case "and":
            return wrap(of.kind, a & b);
          case "or":
            return wrap(of.kind, a | b);
          case "xor":
            return wrap(of.kind, a ^ b);
        }
      }
    }
  };
  const holds = (test: Test): boolean => {
    switch (test.is) {
      case "not":
        return !holds(test.a);
      case "and":
      case "lazyAnd":
        return holds(test.a) && holds(test.b);
      case "or":
      case "lazyOr":
        return holds(test.a) || holds(test.b);
      case "compare": {
        const [a, b] = [value(test.a), value(test.b)];
        const results = { eq: a === b, ne: a !== b, lt: a < b, le: a <= b, gt: a > b, ge: a >= b };
        return test.op === "has" ? (a & b) !== 0n : results[test.op];
      }
    }
  };
  const run = (stmts: readonly Stmt[]): "break" | "continue" | undefined => {
    for (const stmt of stmts) {
      switch (stmt.is) {
        case "set":
          vars[stmt.index] = value(stmt.value);
          break;
        case "store":
          slots[stmt.slot] = value(stmt.value);
          break;
        case "load":
          vars[stmt.index] = slots[stmt.slot] as bigint;
          break;
        case "if": {
          const left = run(holds(stmt.test) ? stmt.body : (stmt.else ?? []));
          if (left !== undefined) return left;
          break;
        }
        case "for":
          for (let index = 0; index < stmt.count; index++) {
            vars[stmt.index] = wrap("u32", (vars[stmt.index] as bigint) + BigInt(index));
            if (run(stmt.body) === "break") break;
          }
          break;
        default:
          return stmt.is;
      }
    }
    return undefined;
  };
  for (const first of program.vars) vars.push(value(first));
  run(program.body);
  const mixed = vars.reduce((all, one) => BigInt.asUintN(32, (all ^ BigInt.asUintN(32, one)) * 31n), 7n);
  return Number(BigInt.asIntN(32, mixed));
}

/** A number as its kind holds it. */
export function wrap(kind: Kind, value: bigint): bigint {
  const bits = Number(kind.slice(1));
  return kind.startsWith("u") ? BigInt.asUintN(bits, value) : BigInt.asIntN(bits, value);
}
