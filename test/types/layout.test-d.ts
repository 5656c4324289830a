import { describe, expectTypeOf, test } from "vitest";
import {
  aligned,
  array,
  be16,
  be32,
  bits,
  bool,
  bytes,
  char,
  decode,
  encode,
  enumOf,
  type Infer,
  type InferInput,
  type Layout,
  padding,
  pointer,
  spinLock,
  struct,
  u8,
  u16,
  u32,
  u64,
  union,
} from "../../src/btf/layout/index.ts";

const action = enumOf("action", u32, { DROP: 1, PASS: 2 });
const addr = union("addr", { v4: be32, v6: bytes(16), words: array(be32, 4) });
const peer = struct("peer", { addr, port: be16 });
const event = struct("event", {
  lock: spinLock,
  cpu: u32,
  ts: u64,
  seq: u64.asNumber,
  comm: array(char, 16),
  flags: bits(u32, 3),
  seen: bits(bool, 1),
  port: be16,
  pad: padding(6),
  cold: aligned(u8, 64),
  verdict: action,
  code: action.asNumber,
  next: pointer(),
  peers: array(peer, 2),
  hist: array(u16, 4),
});
type Event = Infer<typeof event>;

describe("what a layout reads", () => {
  test("each kind", () => {
    expectTypeOf<Infer<typeof u32>>().toEqualTypeOf<number>();
    expectTypeOf<Infer<typeof u64>>().toEqualTypeOf<bigint>();
    expectTypeOf<Infer<typeof u64.asNumber>>().toEqualTypeOf<number>();
    expectTypeOf<Infer<typeof be16>>().toEqualTypeOf<number>();
    expectTypeOf<Infer<typeof action>>().toEqualTypeOf<"DROP" | "PASS" | `${number}`>();
    expectTypeOf<Infer<typeof action.asNumber>>().toEqualTypeOf<number>();
    expectTypeOf(enumOf("wide", u64, { A: 1n }).asNumber.read).returns.toEqualTypeOf<bigint>();
    expectTypeOf(array(char, 4).read).returns.toEqualTypeOf<string>();
    expectTypeOf(array(u8, 4).read).returns.toEqualTypeOf<number[]>();
  });

  test("a struct: its members, without the reserved ones", () => {
    expectTypeOf<Pick<Event, Exclude<keyof Event, "peers">>>().toEqualTypeOf<{
      cpu: number;
      ts: bigint;
      seq: number;
      comm: string;
      flags: number;
      seen: boolean;
      port: number;
      cold: number;
      verdict: "DROP" | "PASS" | `${number}`;
      code: number;
      next: bigint;
      hist: number[];
    }>();
    expectTypeOf<Event["peers"][number]["port"]>().toEqualTypeOf<number>();
    expectTypeOf<Event["peers"][number]["addr"]["v4"]>().toEqualTypeOf<number>();
    expectTypeOf(decode(event, new Uint8Array(1))).toEqualTypeOf<Event>();
  });

  test("what a function generic over the value infers is what is read", () => {
    const get = <T>(layout: Layout<T>): T => decode(layout, new Uint8Array(layout.size)) as T;
    expectTypeOf(get(u64)).toEqualTypeOf<bigint>();
    expectTypeOf(get(peer)).toEqualTypeOf<Infer<typeof peer>>();
  });
});

describe("what a layout writes", () => {
  test("numbers where bigints are read, read-only and typed arrays, one member of a union", () => {
    expectTypeOf<InferInput<typeof u64>>().toEqualTypeOf<bigint | number>();
    encode(u64, 5);
    encode(u64, 5n);
    encode(array(u16, 2), [1, 2] as const);
    encode(array(u16, 2), new Uint16Array(2));
    encode(peer, { addr: { v4: 1 }, port: 80 });
    encode(peer, decode(peer, new Uint8Array(20)));
    encode(action, "PASS");
    encode(action, 2);
  });

  test("what does not compile", () => {
    // @ts-expect-error: a number, not a string
    encode(u32, "5");
    // @ts-expect-error: 32-bit integers are numbers
    encode(u32, 5n);
    // @ts-expect-error: port is missing
    encode(peer, { addr: { v4: 1 } });
    // @ts-expect-error: there is no member prt
    encode(peer, { addr: { v4: 1 }, prt: 80 });
    // @ts-expect-error: one member of a union, not two
    encode(addr, { v4: 1, v6: new Uint8Array(16) });
    // @ts-expect-error: not none
    encode(addr, {});
    // @ts-expect-error: not a name of the enum
    encode(action, "PSAS");
    // @ts-expect-error: reserved members are no part of the value
    encode(struct("s", { lock: spinLock, n: u32 }), { lock: 0, n: 1 });
    // @ts-expect-error: text is a string
    encode(array(char, 4), [1, 2, 3, 4]);
  });
});

describe("declarations that do not compile", () => {
  test("bit fields of what has no bits to give", () => {
    // @ts-expect-error: wire byte order
    expect(() => bits(be16, 3));
    // @ts-expect-error: a struct
    expect(() => bits(peer, 3));
    bits(action, 3);
  });
});

describe("offsets", () => {
  test("by name, and by path into nested structs", () => {
    const outer = struct("outer", { inner: peer, n: u8, few: bits(u8, 2) });
    expectTypeOf(outer.offset).toEqualTypeOf<{
      readonly inner: number;
      readonly "inner.addr": number;
      readonly "inner.addr.v4": number;
      readonly "inner.addr.v6": number;
      readonly "inner.addr.words": number;
      readonly "inner.port": number;
      readonly n: number;
    }>();
    // @ts-expect-error: a typo
    outer.offset.m;
    // @ts-expect-error: a typo in a path
    outer.offset["inner.prt"];
    // @ts-expect-error: bit fields have no offset
    outer.offset.few;
    expectTypeOf(outer.fields.few.shift).toEqualTypeOf<number>();
    // @ts-expect-error: only bit fields have a shift
    outer.fields.n.shift;
    // @ts-expect-error: a typo
    outer.fields.nn;
  });

  test("byte order is in the type", () => {
    expectTypeOf(peer.fields.port.layout.kind).toEqualTypeOf<"be16">();
    expectTypeOf(peer.fields.port.layout.order).toEqualTypeOf<"big">();
    // @ts-expect-error: big-endian is not host byte order
    const host: typeof u16 = peer.fields.port.layout;
    expectTypeOf(host).not.toBeAny();
  });
});

const expect = (_: () => unknown): void => {};
