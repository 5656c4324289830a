import { expect, test } from "vitest";
import { createBtfBuilder } from "../../../src/btf/builder.ts";
import {
  aligned,
  array,
  be16,
  be32,
  be64,
  bits,
  bool,
  bytes,
  char,
  decode,
  encode,
  enumOf,
  f32,
  f64,
  kptr,
  type Layout,
  le16,
  le32,
  le64,
  padding,
  pointer,
  refcount,
  s8,
  s16,
  s32,
  s64,
  spinLock,
  struct,
  timer,
  u8,
  u16,
  u32,
  u64,
  union,
  workQueue,
} from "../../../src/btf/layout/index.ts";
import { mapCreate, mapLookupElem, mapUpdateElem } from "../../../src/syscall/bpf-map.ts";
import { btfLoad } from "../../../src/syscall/bpf-object.ts";
import { errnoName } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { bpf_map_type } from "../../../src/uapi/bpf.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();

/** Loads BTF; a refusal throws the kernel's log. */
function load(sys: Syscalls, btf: Uint8Array): Fd {
  const log_buf = new Uint8Array(1 << 16);
  const { result } = btfLoad(sys, { btf, log_buf, log_level: 1 });
  if (result >= 0) return Fd.own(sys, result, "btf");
  const log = new TextDecoder().decode(log_buf.subarray(0, log_buf.indexOf(0)));
  throw new Error(`${errnoName(-result)}: ${log}`);
}

/** Loads the layouts' BTF and creates a map whose key and value have it. */
function createMap(
  sys: Syscalls,
  key: Layout,
  value: Layout,
  type: keyof typeof bpf_map_type,
  flags = 0,
): Fd {
  const builder = createBtfBuilder();
  const btf_key_type_id = key.btf(builder);
  const btf_value_type_id = value.btf(builder);
  using btf = load(sys, builder.encode());
  const number = mapCreate(sys, {
    map_type: bpf_map_type[type],
    key_size: key.size,
    value_size: value.size,
    max_entries: 4,
    map_flags: flags,
    btf_fd: btf.number,
    btf_key_type_id,
    btf_value_type_id,
  });
  return Fd.own(sys, number, "map");
}

const action = enumOf("action", u32, { DROP: 1, PASS: 2 });
const wide = enumOf("wide", u64, { SMALL: 1, LARGE: 2n ** 63n });
const key = struct("key", {
  addr: union("addr", { v4: be32, v6: bytes(16) }),
  port: be16,
  proto: u8,
  flag: bool,
});

describeKernel("layouts as BTF", () => {
  const everything = struct("everything", {
    a: u8,
    b: s8,
    c: u16,
    d: s16,
    e: u32,
    f: s32,
    g: u64,
    h: s64,
    i: be16,
    j: be32,
    k: be64,
    l: le16,
    m: le32,
    n: le64.asNumber,
    o: bool,
    p: char,
    q: array(char, 16),
    r: bytes(3),
    s: array(array(u16, 2), 3),
    t: f32,
    u: f64,
    v: action,
    w: wide,
    x: pointer(),
    y: pointer(key),
    z: key,
    bits: struct("some_bits", {
      a: bits(u32, 3),
      b: bits(s64, 40),
      c: bits(bool, 1),
      d: bits(action, 2),
    }),
    packed: struct("packed", { a: u8, b: bits(u32, 13), c: u64, d: bits(u8, 3) }, { packed: true }),
    negative: enumOf("negative", s8, { LOW: -1 }),
    small: enumOf("small", u16, { ONE: 1 }),
    cold: aligned(u8, 64),
    pad: padding(7),
    anonymous: struct("", { x: u8 }),
  });

  test("the kernel takes every kind of layout", () => {
    using btf = load(
      sys,
      (() => {
        const builder = createBtfBuilder();
        everything.btf(builder);
        return builder.encode();
      })(),
    );
    expect(btf.number).toBeGreaterThan(0);
  });

  test("a map takes them as key and value, and gives back what was written", () => {
    using map = createMap(sys, key, everything, "BPF_MAP_TYPE_HASH");
    const keyBytes = encode(key, { addr: { v4: 0x7f00_0001 }, port: 80, proto: 6, flag: true });
    // Any bytes are a value, but for a number that would be rounded.
    const some = Uint8Array.from({ length: everything.size }, (_, index) => index % 13);
    some.fill(0, everything.offset.n + 6, everything.offset.n + 8);
    const value = decode(everything, some);
    mapUpdateElem(sys, map.number, keyBytes, encode(everything, value));
    const bytes = new Uint8Array(everything.size);
    expect(mapLookupElem(sys, map.number, keyBytes, bytes)).toBe(true);
    expect(decode(everything, bytes)).toEqual(value);
  });

  test("scalars and arrays are keys and values as they are", () => {
    for (const layout of [
      u32,
      u64.asNumber,
      be32,
      action,
      array(u16, 3),
      array(char, 16),
      bytes(6),
      pointer(),
    ]) {
      using map = createMap(sys, layout, layout, "BPF_MAP_TYPE_HASH");
      expect(map.number).toBeGreaterThan(0);
    }
  });

  test("the kernel finds its own members in a value, and keeps them to itself", () => {
    const value = struct("value", {
      lock: spinLock,
      count: u32,
      timer,
      work: workQueue,
      task: kptr("task_struct"),
      name: array(char, 8),
    });
    using map = createMap(sys, u32, value, "BPF_MAP_TYPE_ARRAY");
    const zero = new Uint8Array(4);
    // All ones: the kernel keeps to itself what it knows for its own, and copies the rest.
    mapUpdateElem(sys, map.number, zero, new Uint8Array(value.size).fill(0xff));
    const bytes = new Uint8Array(value.size).fill(0xee);
    mapLookupElem(sys, map.number, zero, bytes);
    for (const [name, { offset, size }] of Object.entries(value.fields)) {
      const expected = new Uint8Array(size).fill(name === "count" || name === "name" ? 0xff : 0);
      expect([name, ...bytes.subarray(offset, offset + size)]).toEqual([name, ...expected]);
    }
    mapUpdateElem(sys, map.number, zero, encode(value, { count: 7, name: "x" }));
    mapLookupElem(sys, map.number, zero, bytes);
    expect(decode(value, bytes)).toEqual({ count: 7, name: "x" });
  });

  test("its own members are recognised by what it refuses: two locks, a misplaced lock", () => {
    const two = struct("two", { a: spinLock, b: spinLock });
    expect(() => createMap(sys, u32, two, "BPF_MAP_TYPE_ARRAY")).toThrow("E2BIG");
    const crooked = struct("crooked", { a: u8, lock: spinLock }, { packed: true });
    expect(() => createMap(sys, u32, crooked, "BPF_MAP_TYPE_ARRAY")).toThrow("EFAULT");
    // Only objects that programs allocate have a reference count; a map value keeps it as plain bytes.
    using _ = createMap(sys, u32, struct("counted", { n: refcount, m: u32 }), "BPF_MAP_TYPE_ARRAY");
  });

  test("a map refuses BTF whose size is not the layout's", () => {
    const builder = createBtfBuilder();
    const id = u32.btf(builder);
    using btf = load(sys, builder.encode());
    expect(() =>
      mapCreate(sys, {
        map_type: bpf_map_type.BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        btf_fd: btf.number,
        btf_key_type_id: id,
        btf_value_type_id: id,
      }),
    ).toThrow("EINVAL");
  });
});
