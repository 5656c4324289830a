import { expect, test } from "vitest";
import { argumentsFromBtf, structFromBtf } from "../../../src/btf/layout/from-btf.ts";
import {
  array,
  be16,
  bits,
  bytes,
  char,
  LayoutError,
  padding,
  pointer,
  s32,
  struct,
  u8,
  u32,
  u64,
} from "../../../src/btf/layout/index.ts";
import { basics } from "../fixtures.ts";

const types = basics();
const { b } = types;
const mm = b.struct("mm_struct", 16, [{ name: "total", type: types.u64, bitOffset: 64 }]);
const inner = b.union("", 8, [
  { name: "low", type: types.u32, bitOffset: 0 },
  { name: "whole", type: types.u64, bitOffset: 0 },
]);
const se = b.struct("sched_entity", 8, [{ name: "vruntime", type: types.u64, bitOffset: 0 }]);
const port = b.typedef("__be16", types.u16);
const task = b.struct("task", 96, [
  { name: "", type: inner, bitOffset: 64 },
  { name: "comm", type: b.array(types.char, 16), bitOffset: 128 },
  { name: "flag", type: types.u32, bitOffset: 256, bitfieldSize: 1 },
  { name: "level", type: types.u32, bitOffset: 257, bitfieldSize: 4 },
  { name: "mm", type: b.ptr(b.const(mm)), bitOffset: 320 },
  { name: "port", type: port, bitOffset: 384 },
  { name: "se", type: se, bitOffset: 448 },
  { name: "pid", type: types.int, bitOffset: 512 },
  { name: "tail", type: b.array(types.u8, 0), bitOffset: 576 },
]);
const at = <M extends Parameters<typeof structFromBtf>[3]>(members: M, names = {}) =>
  structFromBtf(b, task, "task", members, names);

test("members lie where BTF has them: anonymous unions, bit fields, pointers, texts, paths, other names", () => {
  const mmLayout = structFromBtf(b, mm, "mm_struct", { total: u64 });
  const layout = at(
    {
      low: u32,
      comm: array(char, 16),
      flag: u32,
      level: u8,
      mm: pointer(mmLayout),
      port: be16,
      vruntime: u64,
      number: u32,
      se: structFromBtf(b, se, "sched_entity", { vruntime: u64 }),
      tail: bytes(4),
    },
    { vruntime: ["se.exec_vruntime", "se.vruntime"], number: "pid" },
  );
  expect(layout.size).toBe(96);
  expect(layout.offset).toEqual({
    low: 8,
    comm: 16,
    mm: 40,
    port: 48,
    vruntime: 56,
    se: 56,
    "se.vruntime": 56,
    number: 64,
    tail: 72,
  });
  expect(layout.fields.flag).toMatchObject({ offset: 32, size: 1, shift: 0, width: 1 });
  expect(layout.fields.level).toMatchObject({ offset: 32, size: 1, shift: 1, width: 4 });
  expect(at({ level: bits(u32, 4) }).fields.level).toMatchObject({ shift: 1, width: 4 });
  const data = new DataView(new ArrayBuffer(96));
  data.setUint8(32, 0b10101);
  data.setInt32(64, -7, true);
  expect(layout.fields.level.read(data, 0)).toBe(0b1010);
  expect(at({ pid: s32 }).read(data, 0)).toEqual({ pid: -7 });
});

test.each<[string, () => unknown, string, string | undefined]>([
  ["a typo", () => at({ comn: u32 }), "task: it has no member 'comn'", "Did you mean 'comm'?"],
  [
    "none of several names",
    () => at({ state: u32 }, { state: ["__state", "state"] }),
    "task: it has no member '__state', nor 'state'",
    "It has low, whole, comm, flag, level, mm, port, se, pid, tail.",
  ],
  ["a path to nowhere", () => at({ v: u64 }, { v: "se.x" }), "task: it has no member 'se.x'", undefined],
  [
    "another name for nothing",
    () => at({ pid: u32 }, { pidd: "tgid" }),
    "task: 'pidd' has another name, and is no member that is asked for",
    undefined,
  ],
  [
    "a size",
    () => at({ pid: u64 }),
    "task.pid: it is int of 4 bytes, and is declared as __u64 of 8",
    undefined,
  ],
  [
    "a number for a struct",
    () => at({ se: u64 }),
    "task.se: it is struct sched_entity of 8 bytes, and is declared as __u64 of 8",
    undefined,
  ],
  [
    "another struct",
    () => at({ se: struct("other", { x: u64 }) }),
    "task.se: it is struct sched_entity of 8 bytes, and is declared as struct other of 8",
    undefined,
  ],
  [
    "a text that is too long",
    () => at({ comm: array(char, 17) }),
    "task.comm: it is char[16] of 16 bytes, and is declared as char[17] of 17",
    undefined,
  ],
  [
    "a pointer to something else",
    () => at({ mm: pointer(struct("vm", { x: u64 })) }),
    "task.mm: it is const struct mm_struct *, and is declared as a pointer to struct vm",
    'Declare it as pointer(kernelLayout("mm_struct", { … })), or as a u64 that $.view takes.',
  ],
  [
    "a pointer for a number",
    () => at({ whole: pointer() }),
    "task.whole: it is long long unsigned int of 8 bytes, and is declared as void * of 8",
    undefined,
  ],
  [
    "a bit field that is a text",
    () => at({ level: array(char, 1) }),
    "task.level: it is a bit field of 4 bits",
    "Declare it as a number of 32 bits, or with bits(…, 4).",
  ],
  [
    "bits of what is whole",
    () => at({ pid: bits(u32, 4) }),
    "task.pid: it is no bit field but int",
    "Declare it as a whole.",
  ],
  [
    "padding",
    () => at({ pid: padding(4) }),
    "task.pid: it is declared as what only other structs have",
    undefined,
  ],
])("%s", (_, make, message, hint) => {
  let error: unknown;
  try {
    make();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(LayoutError);
  expect((error as Error).message.split("\n")[0]).toBe(message);
  if (hint !== undefined) expect(error).toMatchObject({ hint });
});

test("arguments are words of 8 bytes, by name, or by number where BTF has no names", () => {
  const named = [
    { name: "task", type: b.ptr(task) },
    { name: "pid", type: types.int },
    { name: "flag", type: types.u8 },
  ];
  const layout = argumentsFromBtf(b, named, "on_exec", {
    flag: u8,
    pid: s32,
    task: pointer(structFromBtf(b, task, "task", { pid: s32 })),
  });
  expect({ ...layout.offset, size: layout.size }).toEqual({ task: 0, pid: 8, flag: 16, size: 24 });
  const unnamed = named.map(({ type }) => ({ name: "", type }));
  expect(argumentsFromBtf(b, unnamed, "on_exec", { arg1: s32 }).offset).toEqual({ arg1: 8 });
  expect(() => argumentsFromBtf(b, named, "on_exec", { pidd: s32 })).toThrow(
    "on_exec: it has no argument 'pidd'\n  Did you mean 'pid'?",
  );
  expect(() => argumentsFromBtf(b, named, "on_exec", { pid: u64 })).toThrow(
    "on_exec.pid: it is int of 4 bytes, and is declared as __u64 of 8",
  );
  expect(() => argumentsFromBtf(b, [{ name: "all", type: task }], "on_exec", { all: u64 })).toThrow(
    "on_exec: argument 'all' is struct task",
  );
});

test("used often, it reads and writes as it does at first, in whatever order members are named", () => {
  const layout = at({ pid: s32, flag: u32, comm: array(char, 16), low: u32, level: u8 });
  const bytes = new DataView(new ArrayBuffer(layout.size));
  const value = { pid: -7, flag: 1, comm: "name", low: 9, level: 10 };
  layout.write(bytes, 0, value);
  const first = new Uint8Array(bytes.buffer.slice(0));
  expect(layout.read(bytes, 0)).toEqual(value);
  for (let turn = 0; turn < 2_000; turn++) {
    layout.write(bytes, 0, value);
    layout.read(bytes, 0);
  }
  expect(layout.read(bytes, 0)).toEqual(value);
  expect(new Uint8Array(bytes.buffer)).toEqual(first);
});
