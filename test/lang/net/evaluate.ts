/**
 * A builder that does at once, on one packet, what a program would do: the parsing helpers can be run on it without a kernel.
 * It knows only what they use.
 */
import { decode, type Layout } from "../../../src/btf/layout/index.ts";
import type { PacketParser } from "../../../src/lang/net/index.ts";

/** The program has ended. */
export class Ended extends Error {}

class Left extends Error {}

/** What a program holds: a number of so many bits. */
class Value {
  readonly kind: string;
  protected now: bigint;

  constructor(kind: string, now: number | bigint | boolean) {
    this.kind = kind;
    this.now = wrap(kind, BigInt(now));
  }

  get number(): number {
    return Number(this.now);
  }

  #binary(other: unknown, op: (a: bigint, b: bigint) => bigint): Value {
    return new Value(this.kind, op(this.now, bigintOf(other)));
  }
  add = (other: unknown): Value => this.#binary(other, (a, b) => a + b);
  sub = (other: unknown): Value => this.#binary(other, (a, b) => a - b);
  mul = (other: unknown): Value => this.#binary(other, (a, b) => a * b);
  and = (other: unknown): Value | Condition => this.#binary(other, (a, b) => a & b);
  or = (other: unknown): Value | Condition => this.#binary(other, (a, b) => a | b);
  shl = (other: unknown): Value => this.#binary(other, (a, b) => a << b);
  shr = (other: unknown): Value => this.#binary(other, (a, b) => a >> b);
  eq = (other: unknown): Condition => new Condition(this.now === bigintOf(other));
  ne = (other: unknown): Condition => new Condition(this.now !== bigintOf(other));
  lt = (other: unknown): Condition => new Condition(this.now < bigintOf(other));
  has = (other: unknown): Condition => new Condition((this.now & bigintOf(other)) !== 0n);
  to = (layout: { readonly kind: string }): Value => new Value(layout.kind, this.now);
  toHost = (): Value => new Value(this.kind.replace("be", "u"), this.now);
  set = (value: unknown): void => {
    this.now = wrap(this.kind, bigintOf(value));
  };
}

class Condition {
  readonly holds: boolean;

  constructor(holds: boolean) {
    this.holds = holds;
  }
  or = (other: Condition): Condition => new Condition(this.holds || other.holds);
  and = (other: Condition): Condition => new Condition(this.holds && other.holds);
  not = (): Condition => new Condition(!this.holds);
}

function bigintOf(thing: unknown): bigint {
  return thing instanceof Value ? BigInt(thing.number) : BigInt(thing as number);
}

function wrap(kind: string, value: bigint): bigint {
  return BigInt.asUintN(Number(/\d+/.exec(kind)?.[0]), value);
}

/** What a layout reads, as what the language gives: numbers become values, arrays have `at`. */
function viewOf(layout: Layout, read: unknown): unknown {
  if (typeof read === "number") return new Value(layout.kind, read);
  if (read instanceof Uint8Array) return { at: (index: number) => new Value("u8", read[index] ?? 0) };
  if (Array.isArray(read)) return { at: (index: number) => new Value("be32", read[index] as number) };
  const { fields } = layout as unknown as { readonly fields: Readonly<Record<string, { layout: Layout }>> };
  const entries = Object.entries(read as object);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, viewOf(fields[name]?.layout as Layout, value)]),
  );
}

/** A builder on one packet, and where it stands. */
export function evaluator(packet: Uint8Array): {
  readonly $: PacketParser;
  offset(): number;
  numberOf(value: unknown): number;
  holds(condition: unknown): boolean;
} {
  let at = 0;
  const peek = (layout: Layout, options: { else: () => unknown }): unknown => {
    if (at + layout.size > packet.length) options.else();
    return viewOf(layout, decode(layout, packet.slice(at, at + layout.size)));
  };
  const branch = (condition: Condition, body: () => unknown, done = false): object => {
    const taken = !done && condition.holds;
    if (taken) body();
    return {
      elif: (next: Condition, nextBody: () => unknown) => branch(next, nextBody, done || taken),
      else: (last: () => unknown) => branch(new Condition(true), last, done || taken),
    };
  };
  const $ = {
    packet: {
      peek,
      take: (layout: Layout, options: { else: () => unknown }) => {
        const view = peek(layout, options);
        at += layout.size;
        return view;
      },
      skip: (bytes: Value, options: { else: () => unknown; max: number }) => {
        if (bytes.number > options.max)
          throw new Error(`skip(${bytes.number}) is more than its max of ${options.max}`);
        if (at + bytes.number > packet.length) options.else();
        at += bytes.number;
      },
      rewind: () => {
        at = 0;
      },
      offset: () => new Value("u32", at),
    },
    let: (layout: Layout, value: unknown) => new Value(layout.kind, bigintOf(value)),
    if: branch,
    for: (count: number, body: () => unknown) => {
      try {
        for (let index = 0; index < count; index++) body();
      } catch (error) {
        if (!(error instanceof Left)) throw error;
      }
    },
    break: () => {
      throw new Left();
    },
  };
  return {
    $: $ as unknown as PacketParser,
    offset: () => at,
    numberOf: (value) => (value as Value).number,
    holds: (condition) => (condition as Condition).holds,
  };
}
