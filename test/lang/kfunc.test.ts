import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { mapDef } from "../../src/asm/index.ts";
import { array, kptr, s32, struct, u8, u16, u32, u64 } from "../../src/btf/layout/index.ts";
import {
  acquired,
  cgroupSkb,
  func,
  kernelObject,
  kfuncDef,
  type Pointer,
  programContext,
  programMemory,
  rawTracepoint,
  released,
  TC_ACT_OK,
  type TcScope,
  tc,
} from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

const refused = (body: () => unknown): string => refusal(fileURLToPath(import.meta.url), body);
const untyped = <T>(thing: T): never => thing as never;

const find = kfuncDef("bpf_task_from_pid", [s32], acquired("task_struct", "bpf_task_release"));
const release = kfuncDef("bpf_task_release", [released("task_struct")]);
const put = kfuncDef("bpf_put_file", [released("task_struct")]);
const weigh = kfuncDef("bpf_cpumask_weight", [kernelObject("cpumask")], u32);
const Pair = struct("pair", { a: u64, b: u64 });
const fill = kfuncDef("fill", [programContext, programMemory(Pair), u8], u16);

/** `$.kfunc`, for what the compiler refuses already. */
const anyCall = ($: TcScope): ((...given: readonly unknown[]) => unknown) => untyped($.kfunc);

const program = (body: ($: TcScope) => void) => () =>
  tc("program", ($) => {
    body($);
    return $.return(TC_ACT_OK);
  });

test("what is declared", () => {
  expect(find).toEqual({
    kind: "kfunc",
    name: "bpf_task_from_pid",
    params: [s32],
    result: { kind: "object", tag: "task_struct", orNull: true, releasedBy: "bpf_task_release" },
    movesPacket: false,
  });
  const six = [u32, u32, u32, u32, u32, u32] as const;
  expect(refused(() => kfuncDef("many", untyped(six)))).toBe(
    "kernel function 'many' is declared with 6 parameters",
  );
  expect(refused(() => kfuncDef("a-b", []))).toBe("'a-b' is no name of a kernel function");
  expect(refused(() => kfuncDef("f", untyped([array(u8, 4)])))).toBe(
    "kernel function 'f' is declared with an object as a parameter",
  );
  expect(refused(() => kfuncDef("f", [], u32, untyped({ moves: true })))).toBe(
    "kfuncDef has no option 'moves'",
  );
});

test("arguments are checked", () => {
  expect(refused(program(($) => anyCall($)(find, 1, 2)))).toBe(
    "bpf_task_from_pid takes 1 arguments, and 2 are given",
  );
  expect(refused(program(($) => $.kfunc(fill, $.struct(u32), 1)))).toBe(
    "fill takes 16 bytes (struct pair), and 4 are given",
  );
  expect(refused(program(($) => $.kfunc(fill, $.struct(Pair), 256)))).toBe(
    "256 does not fit into a u8, which holds 0 to 255",
  );
  expect(refused(program(($) => $.kfunc(weigh, untyped(7))))).toBe(
    "7 stands where bpf_cpumask_weight takes a pointer to cpumask",
  );
  expect(refused(program(($) => $.kfunc(release, untyped($.kfunc(find, 1)))))).toBe(
    "the pointer that bpf_task_release takes may be null",
  );
  expect(refused(program(($) => anyCall($)({ name: "bpf_x" })))).toBe(
    "an object is no function of the kernel",
  );
  const mixed = func("mixed", [u32], u32, ($, a) => $.return(a));
  expect(refused(program(($) => anyCall($)(mixed, 1)))).toBe("an object is no function of the kernel");
  const foreign = program(($) => $.kfunc(fill, $.view(8n, Pair), 1));
  expect(refused(foreign)).toBe("fill takes memory of the program, and the pair is not");
});

test("what was acquired is given back, once, on each path, by what releases it", () => {
  expect(refused(program(($) => void $.kfunc(find, 1)))).toBe(
    "the task_struct that bpf_task_from_pid gave is not released before this path ends",
  );
  expect(refused(program(($) => void $.ifPresent($.kfunc(find, 1), () => {})))).toBe(
    "the task_struct that bpf_task_from_pid gave is not released at the end of $.ifPresent's body",
  );
  const inside = (body: ($: TcScope, task: Pointer<"task_struct">) => unknown) =>
    program(($) => void $.ifPresent($.kfunc(find, 1), (task) => body($, task)));
  expect(
    refused(
      inside(($, task) => {
        $.kfunc(release, task);
        $.kfunc(release, task);
      }),
    ),
  ).toBe("the task_struct that bpf_task_from_pid gave cannot be used any more: it was released");
  expect(refused(inside(($, task) => $.kfunc(put, task)))).toBe(
    "the task_struct that bpf_task_from_pid gave is given back by $.kfunc(bpf_task_release, …), not by bpf_put_file",
  );
  expect(refused(inside(($, task) => $.if($.ctx.mark.eq(1), () => $.kfunc(release, task))))).toBe(
    "the task_struct that bpf_task_from_pid gave is released on one path and not on another",
  );
  const other = program(($) => {
    const task = $.bpf_get_current_task_btf();
    $.kfunc(release, task);
  });
  expect(refused(other)).toBe("bpf_task_release gives back what was acquired, and this pointer was not");
});

test("a packet that moved", () => {
  const pull = kfuncDef("bpf_xdp_pull_data", [programContext, u32], s32, { movesPacket: true });
  const moved = program(($) => {
    const word = $.packet.take(Pair, { else: () => $.return(TC_ACT_OK) });
    $.kfunc(pull, 100);
    $.let(u64, word.a);
  });
  expect(refused(moved)).toContain("cannot be used any more: bpf_xdp_pull_data may have moved the packet");
});

test("narrow results are cut to their width", () => {
  const codes = tc("narrow", ($) => $.return($.kfunc(fill, $.struct(Pair), 1).to(u32)))
    .blocks.flatMap(({ insns }) => insns)
    .map(({ code, imm }) => `${code.toString(16)} ${imm}`);
  expect(codes).toContain(`54 ${0xffff}`); // and32
});

// --- events -----------------------------------------------------------------------------------------------------------

const samples = mapDef({ name: "samples", type: "perf_event_array", key: u32, value: u32, maxEntries: 4 });
const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });
const table = mapDef({ name: "table", type: "array", key: u32, value: Pair, maxEntries: 4 });

test("events go to the maps that take them, with the options that they have", () => {
  expect(refused(program(($) => $.output(untyped(table), $.struct(Pair))))).toBe(
    "$.output sends to map 'table' of type array",
  );
  expect(refused(program(($) => $.output(samples, $.struct(Pair), untyped({ flags: 1 }))))).toBe(
    "$.output to a perf event array has no option 'flags'",
  );
  expect(refused(program(($) => $.output(ring, $.struct(Pair), untyped({ packet: 1 }))))).toBe(
    "$.output to a ring buffer has no option 'packet'",
  );
  expect(refused(program(($) => $.output(samples, $.struct(Pair), { packet: 1 << 20 })))).toBe(
    "1048576 bytes of the packet cannot be sent",
  );
  const taken = program(($) => $.output(ring, $.packet.take(Pair, { else: () => $.return(TC_ACT_OK) })));
  expect(refused(taken)).toMatch(
    /^\$\.output sends what is in the program's own memory, and this is a view of struct pair/,
  );
  expect(refused(program(($) => $.output(ring, untyped($.ctx.mark.add(1)))))).toBe("a u32 has no address");
  const traced = () =>
    rawTracepoint("traced", ($) => {
      $.output(samples, $.struct(Pair), { packet: 4 });
      return $.return(0);
    });
  expect(refused(traced)).toBe("programs of type raw_tracepoint have no packet whose bytes could be sent");
  cgroupSkb("allowed", ($) => {
    $.output(samples, $.struct(Pair), { packet: $.ctx.len });
    return $.return(1);
  });
});

// --- objects in maps --------------------------------------------------------------------------------------------------

const Held = struct("held", { runs: u64, task: kptr("task_struct") });
const held = mapDef({ name: "held", type: "array", key: u32, value: Held, maxEntries: 1 });
const sockets = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u64, maxEntries: 4 });

test("sockets and objects of maps", () => {
  expect(refused(program(($) => $.findSocket(untyped(table), untyped(1))))).toBe(
    "$.findSocket looks into socket maps, and this is map 'table' of type array",
  );
  expect(refused(program(($) => void $.findSocket(sockets, 1)))).toBe(
    "the socket of 'sockets' is not released before this path ends",
  );
  const value = ($: TcScope) => $.lookup(held, 0, { else: () => $.return(TC_ACT_OK) });
  expect(refused(program(($) => void $.exchange(value($), "task", "task_struct", null)))).toBe(
    "the task_struct that was in 'task' is neither given back nor stored again before this path ends",
  );
  expect(refused(program(($) => void $.exchange(value($), "task", "cpumask", null)))).toBe(
    "struct held has no member 'task' that holds a cpumask",
  );
  const current = program(($) => {
    $.exchange(value($), "task", "task_struct", $.bpf_get_current_task_btf());
  });
  expect(refused(current)).toBe("a task_struct that was not acquired cannot be put into a map");
  expect(refused(program(($) => void $.exchange(untyped($.struct(Pair)), "a", "task_struct", null)))).toBe(
    "$.exchange works on the value of a map, and this is a view of struct pair",
  );
  const twice = program(($) => {
    const slot = value($);
    $.ifPresent($.kfunc(find, 1), (task) => {
      $.ifPresent($.exchange(slot, "task", "task_struct", task), (before) => $.kfunc(release, before));
      $.kfunc(release, task);
    });
  });
  expect(refused(twice)).toBe(
    "the task_struct that bpf_task_from_pid gave cannot be used any more: it was released",
  );
});
