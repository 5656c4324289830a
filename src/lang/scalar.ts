import {
  type Arithmetic,
  arithmetic,
  type Comparison,
  compare,
  constantOf,
  convert,
  invert,
  negate,
  swap,
} from "./arithmetic.ts";
import { LangError } from "./error.ts";
import type { IrValue } from "./ir/ir.ts";
import { aKind, KINDS, type ScalarKind, widens } from "./kind.ts";
import { readPlace, writePlace } from "./place.ts";
import {
  branch,
  constant,
  get,
  here,
  jump,
  newBlock,
  newVariable,
  type Recorder,
  type Scope,
  set,
} from "./recorder.ts";
import {
  type Cond,
  type CondTree,
  type HostVal,
  internals,
  type Place,
  type Ref,
  type Scalar,
  type ScalarInternals,
  type Val,
  type Var,
} from "./value.ts";

/** Makes a value of the language out of a computed one. It may be used where it stands, and in the branches inside. */
export function makeVal<K extends ScalarKind>(recorder: Recorder, kind: K, value: IrValue): Val<K> {
  return scalar(kind, {
    read: inItsScope(recorder, kind, value),
    kind,
    place: undefined,
    recorder,
  });
}

/** Gives a value where it stands and in the branches inside, and throws elsewhere. */
function inItsScope(recorder: Recorder, kind: ScalarKind, value: IrValue): () => IrValue {
  const { scope } = recorder;
  return () => {
    if (scope.inside) return value;
    throw new LangError(
      `${aKind(kind)} that was computed inside of a branch or a loop is used outside of it`,
      here(),
      "Outside it may not have been computed: declare a variable there with $.let, and set it inside.",
    );
  };
}

/** Makes a value that reads a variable wherever it is used. */
export function makeVar<K extends ScalarKind>(recorder: Recorder, kind: K, place: Place): Var<K> {
  const read = (): IrValue => readPlace(recorder, place, kind);
  return scalar(kind, { read, kind, place, recorder, live: true }) as unknown as Var<K>;
}

/** Makes a field in memory: its value is read now. */
export function makeRef<K extends ScalarKind>(recorder: Recorder, kind: K, place: Place): Ref<K> {
  const value = readPlace(recorder, place, kind);
  return scalar(kind, {
    read: inItsScope(recorder, kind, value),
    kind,
    place,
    recorder,
  }) as unknown as Ref<K>;
}

/** Makes a condition. */
export function makeCond(recorder: Recorder, tree: CondTree): Cond {
  return Object.assign(Object.create(CONDITION) as Cond, {
    recorder,
    scope: recorder.scope,
    [internals]: tree,
  });
}

/** What a value or a constant is as a `kind`. Throws a LangError if it is neither, or does not fit. */
export function operandValue(recorder: Recorder, kind: ScalarKind, operand: unknown): IrValue {
  if (typeof operand === "number" || typeof operand === "bigint") return constantOf(kind, operand);
  if (!isScalar(operand)) {
    throw new LangError(
      `${describe(operand)} stands where ${aKind(kind)} is wanted`,
      here(),
      "Give a value of the program, or a number.",
    );
  }
  const inside = operand[internals];
  if (inside.recorder !== recorder) {
    throw new LangError(
      "a value of one program or function is used in another",
      here(),
      "Hand it over as an argument of the function. What programs share is in maps.",
    );
  }
  if (!widens(inside.kind, kind)) throw new LangError(mismatch(kind, inside.kind), here());
  return convert(recorder, inside.kind, kind, inside.read());
}

/** Whether something is a value of the language. */
export function isScalar(thing: unknown): thing is { readonly [internals]: ScalarInternals } {
  return (
    typeof thing === "object" &&
    thing !== null &&
    internals in thing &&
    "read" in ((thing as Record<symbol, object>)[internals] ?? {})
  );
}

/** A condition's tree; checks that it is one, of this function. */
export function treeOf(recorder: Recorder, cond: Cond): CondTree {
  const tree: unknown = (cond as Partial<Cond> | undefined)?.[internals];
  if (typeof tree === "object" && tree !== null && "kind" in tree && !("read" in tree)) {
    const { recorder: its, scope } = cond as unknown as CondObject;
    if (its !== recorder) {
      throw new LangError(
        "a condition of one program or function is used in another",
        here(),
        "Hand over what it compares as arguments, and compare there.",
      );
    }
    if (scope.inside) return tree as CondTree;
    throw new LangError(
      "a condition that was computed inside of a branch or a loop is used outside of it",
      here(),
      "Outside it may not have been computed: put what it compares into $.let variables, and compare there.",
    );
  }
  throw new LangError(
    `${describe(cond)} stands where a condition is wanted`,
    here(),
    "Compare something: x.eq(1), x.ne(0). What TypeScript itself decides is decided when the program is built.",
  );
}

/** Writes a variable or a field. */
function assign(target: { readonly [internals]: ScalarInternals }, value: unknown): void {
  const { recorder, kind, place } = target[internals];
  if (place === undefined) {
    throw new LangError(
      `${aKind(kind)} that was computed cannot be set`,
      here(),
      "Variables ($.let) and fields in memory can.",
    );
  }
  writePlace(recorder, place, operandValue(recorder, kind, value));
}

interface ScalarObject {
  readonly kind: ScalarKind;
  readonly [internals]: ScalarInternals;
}

function scalar<K extends ScalarKind>(kind: K, inside: ScalarInternals): Val<K> {
  const methods = KINDS[kind].order === "host" ? HOST : WIRE;
  return Object.assign(Object.create(methods) as object, { kind, [internals]: inside }) as unknown as Val<K>;
}

function computed(self: ScalarObject, value: IrValue): HostVal {
  return makeVal(self[internals].recorder, self.kind, value) as unknown as HostVal;
}

function arithmeticMethod(op: Arithmetic): (this: ScalarObject, other: unknown) => HostVal {
  return function (this: ScalarObject, other: unknown) {
    const { recorder, read } = this[internals];
    return computed(
      this,
      arithmetic(recorder, op, this.kind, read(), operandValue(recorder, this.kind, other)),
    );
  };
}

function shiftMethod(op: "shl" | "shr"): (this: ScalarObject, count: unknown) => HostVal {
  return function (this: ScalarObject, count: unknown) {
    const { recorder, read } = this[internals];
    const { bits } = KINDS[this.kind];
    if (typeof count === "number" && !(Number.isInteger(count) && count >= 0 && count < bits)) {
      throw new LangError(
        `${aKind(this.kind)} is shifted by 0 to ${bits - 1} bits, not ${count}`,
        here(),
        "A count that only the program knows is cut to that by the machine.",
      );
    }
    const by = typeof count === "number" ? constant(count) : operandValue(recorder, "u64", count);
    return computed(this, arithmetic(recorder, op, this.kind, read(), by));
  };
}

function compareMethod(op: Comparison): (this: ScalarObject, other: unknown) => Cond {
  return function (this: ScalarObject, other: unknown) {
    const { recorder, read } = this[internals];
    return makeCond(recorder, compare(op, this.kind, read(), operandValue(recorder, this.kind, other)));
  };
}

const COMMON = {
  eq: compareMethod("eq"),
  ne: compareMethod("ne"),
  has: compareMethod("has"),
  and: arithmeticMethod("and"),
  or: arithmeticMethod("or"),
  xor: arithmeticMethod("xor"),
  not(this: ScalarObject): HostVal {
    const { recorder, read } = this[internals];
    return computed(this, invert(recorder, this.kind, read()));
  },
  set(this: ScalarObject, value: unknown): void {
    assign(this, value);
  },
  [Symbol.toPrimitive](this: ScalarObject): never {
    throw new LangError(
      `${aKind(this.kind)} of the running program is used as a number or a text of TypeScript`,
      here(),
      "Its value exists only while the program runs: use its methods, .add(1), .lt(5), and $.if and $.printk.",
    );
  },
};

const HOST = {
  ...COMMON,
  add: arithmeticMethod("add"),
  sub: arithmeticMethod("sub"),
  mul: arithmeticMethod("mul"),
  div: arithmeticMethod("div"),
  mod: arithmeticMethod("mod"),
  shl: shiftMethod("shl"),
  shr: shiftMethod("shr"),
  lt: compareMethod("lt"),
  le: compareMethod("le"),
  gt: compareMethod("gt"),
  ge: compareMethod("ge"),
  neg(this: ScalarObject): HostVal {
    const { recorder, read } = this[internals];
    return computed(this, negate(recorder, this.kind, read()));
  },
  to(this: ScalarObject, layout: Scalar): Val {
    const { recorder, read } = this[internals];
    return makeVal(recorder, layout.kind, convert(recorder, this.kind, layout.kind, read()));
  },
};

const WIRE = {
  ...COMMON,
  toHost(this: ScalarObject): Val {
    const { recorder, read } = this[internals];
    const { bits, order } = KINDS[this.kind];
    const value = order === "host" ? read() : swap(recorder, order, bits, read());
    return makeVal(recorder, `u${bits}`, value);
  },
  raw(this: ScalarObject): Val {
    const { recorder, read } = this[internals];
    return makeVal(recorder, `u${KINDS[this.kind].bits}`, read());
  },
};

interface CondObject {
  readonly recorder: Recorder;
  readonly scope: Scope;
  readonly [internals]: CondTree;
}

const CONDITION = {
  and(this: CondObject & Cond, other: Cond): Cond {
    const { recorder } = this;
    const [left, right] = [treeOf(recorder, this), treeOf(recorder, other)];
    return makeCond(recorder, { kind: "and", left, right });
  },
  or(this: CondObject & Cond, other: Cond): Cond {
    const { recorder } = this;
    const [left, right] = [treeOf(recorder, this), treeOf(recorder, other)];
    return makeCond(recorder, { kind: "or", left, right });
  },
  not(this: CondObject & Cond): Cond {
    return makeCond(this.recorder, { kind: "not", of: treeOf(this.recorder, this) });
  },
  toU32(this: CondObject & Cond): HostVal<"u32"> {
    const { recorder } = this;
    const tree = treeOf(recorder, this);
    const variable = newVariable("condition");
    const [yes, no, join] = [
      newBlock(recorder, "true"),
      newBlock(recorder, "false"),
      newBlock(recorder, "join"),
    ];
    branch(recorder, tree, yes, no);
    for (const [block, value] of [
      [yes, 1],
      [no, 0],
    ] as const) {
      recorder.block = block;
      set(recorder, variable, constant(value));
      jump(recorder, join);
    }
    recorder.block = join;
    return makeVal(recorder, "u32", get(recorder, variable));
  },
  [Symbol.toPrimitive](): never {
    throw new LangError(
      "a condition of the running program is used as a number or a text of TypeScript",
      here(),
      "Whether it holds is known only while the program runs: use $.if.",
    );
  },
};

/** The sentence for two kinds that do not go together, as `Mismatch` in value.ts has it for the compiler. */
function mismatch(kind: ScalarKind, given: ScalarKind): string {
  const [a, b] = [aKind(kind), aKind(given)];
  const [toHost, fromHost] = [KINDS[kind].order === "host", KINDS[given].order === "host"];
  if (toHost && fromHost) return `${b} may not fit into ${a}: convert one of them with .to(...) first`;
  if (toHost) return `${b} is in the byte order of the wire: convert it with .toHost() before it meets ${a}`;
  if (fromHost)
    return `${b} is in the byte order of this machine: convert it with .to(${kind}) before it meets ${a}`;
  return `${b} is not ${a}: they have different widths or byte orders`;
}

/** What somebody gave, in a few words. */
export function describe(thing: unknown): string {
  if (typeof thing === "string") return `'${thing}'`;
  if (typeof thing === "function") return "a function";
  if (typeof thing !== "object" || thing === null) return String(thing);
  if (isScalar(thing)) return aKind(thing[internals].kind);
  if (!(internals in thing)) return "an object";
  const inside = thing[internals] as { readonly layout?: { readonly cName: string } };
  if (inside.layout !== undefined) return `a view of ${inside.layout.cName}`;
  return "toU32" in thing ? "a condition" : "something else of the language";
}
