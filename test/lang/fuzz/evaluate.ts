import {
  CELLS,
  type Expr,
  type Fuzzed,
  hasLoop,
  INPUT_SIZE,
  KINDS,
  type Kind,
  REST,
  SLOTS,
  type Stmt,
  type Test,
} from "./ast.ts";

/** How loops and computations are put: as the seed says, or all in one way. `chosen`: as the language likes, and longer. */
export type Way = "plain" | "iterator" | "bpf_loop" | "functions" | "chosen";

/** How often a loop runs: the innermost ones longer where the language chooses how they are made. */
export function turnsOf({ count, body }: Stmt & { is: "for" }, way: Way): number {
  return way === "chosen" && !hasLoop(body) ? count * 8 : count;
}

/** The inputs as they lie in the packet, two of each kind, and some bytes behind them. */
export function packetOf(inputs: readonly bigint[]): Uint8Array {
  const bytes = Uint8Array.from({ length: INPUT_SIZE + REST }, (_, at) => at * 37);
  for (const [index, input] of inputs.entries()) write(bytes, placeOf(index), sizeOf(kindOf(index)), input);
  return bytes;
}

function kindOf(index: number): Kind {
  return KINDS[index % 8] as Kind;
}

function sizeOf(kind: Kind): number {
  return Number(kind.slice(1)) / 8;
}

function placeOf(index: number): number {
  let at = 0;
  for (let before = 0; before < index; before++) at += sizeOf(kindOf(before));
  return at;
}

function read(bytes: Uint8Array, at: number, size: number): bigint {
  let value = 0n;
  for (let byte = size - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(bytes[at + byte] as number);
  return value;
}

function write(bytes: Uint8Array, at: number, size: number, value: bigint): void {
  for (let byte = 0; byte < size; byte++) bytes[at + byte] = Number((value >> BigInt(8 * byte)) & 0xffn);
}

/** What the kernel gives and leaves in the packet. */
export interface Outcome {
  readonly retval: number;
  readonly packet: Uint8Array;
}

/** What a program of the fuzzer gives for these inputs, as the kernel's signed 32-bit result, on a little-endian machine. */
export function evaluate(program: Fuzzed, inputs: readonly bigint[], way: Way): Outcome {
  const vars: bigint[] = [];
  const slots = SLOTS.map(() => 0n);
  const elements = Array.from({ length: 8 }, () => 0n);
  const cells = CELLS.map(() => 0n);
  const packet = packetOf(inputs);
  const value = (of: Expr): bigint => {
    switch (of.is) {
      case "const":
        return of.value;
      case "var":
        return vars[of.index] as bigint;
      case "input":
        return wrap(of.kind, read(packet, placeOf(of.index), sizeOf(of.kind)));
      case "wire": {
        const bytes = new Uint8Array(sizeOf(of.kind));
        write(bytes, 0, bytes.length, value(of.a));
        return read(bytes.reverse(), 0, bytes.length);
      }
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
  const atomic = ({ op, cell, value: by, expected, index }: Stmt & { is: "atomic" }): void => {
    const kind = CELLS[cell] as Kind;
    const [old, given, wanted] = [cells[cell] as bigint, value(by), value(expected)];
    const results = {
      add: old + given,
      fetchAdd: old + given,
      or: old | given,
      and: old & given,
      xor: old ^ given,
      xchg: given,
      cmpxchg: old === wanted ? given : old,
    };
    cells[cell] = wrap(kind, results[op]);
    if (index !== undefined) vars[index] = old;
  };
  const run = (stmts: readonly Stmt[]): "break" | "continue" | bigint | undefined => {
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
          for (let index = 0; index < turnsOf(stmt, way); index++) {
            vars[stmt.index] = wrap("u32", (vars[stmt.index] as bigint) + BigInt(index));
            const left = run(stmt.body);
            if (left === "break") break;
            if (typeof left === "bigint") return left;
          }
          break;
        case "return":
          return value(stmt.value);
        case "switch": {
          const chosen = value(stmt.value);
          const found = stmt.cases.find(([values]) => values.includes(chosen));
          const left = run(found?.[1] ?? stmt.else);
          if (left !== undefined) return left;
          break;
        }
        case "element":
          elements[Number(value(stmt.by) % 8n)] = value(stmt.value);
          break;
        case "fromElement":
          vars[stmt.index] = elements[Number(value(stmt.by) % 8n)] as bigint;
          break;
        case "input":
          write(packet, placeOf(stmt.index), sizeOf(kindOf(stmt.index)), value(stmt.value));
          break;
        case "peek":
          vars[stmt.index] = BigInt(packet[INPUT_SIZE + Number(value(stmt.by) % 32n)] as number);
          break;
        case "loadBytes":
          vars[stmt.index] = read(packet, stmt.at, 8);
          break;
        case "storeBytes":
          write(packet, stmt.at, 8, value(stmt.value));
          break;
        case "cell":
          cells[stmt.cell] = value(stmt.value);
          break;
        case "fromCell":
          vars[stmt.index] = cells[stmt.cell] as bigint;
          break;
        case "atomic":
          atomic(stmt);
          break;
        default:
          return stmt.is;
      }
    }
    return undefined;
  };
  for (const first of program.vars) vars.push(value(first));
  const returned = run(program.body);
  if (typeof returned === "bigint") return { retval: Number(BigInt.asIntN(32, returned)), packet };
  const mixed = vars.reduce((all, one) => BigInt.asUintN(32, (all ^ BigInt.asUintN(32, one)) * 31n), 7n);
  return { retval: Number(BigInt.asIntN(32, mixed)), packet };
}

/** A number as its kind holds it. */
export function wrap(kind: Kind, value: bigint): bigint {
  const bits = Number(kind.slice(1));
  return kind.startsWith("u") ? BigInt.asUintN(bits, value) : BigInt.asIntN(bits, value);
}
