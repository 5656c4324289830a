import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { mapDef, type Program } from "../../src/asm/index.ts";
import { array, char, dataLoc, pointer, struct, u32, u64 } from "../../src/btf/layout/index.ts";
import {
  rawTracepoint,
  type TracingScope,
  tpBtf,
  tracepoint,
  type View,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

const refused = (body: () => unknown): string => refusal(fileURLToPath(import.meta.url), body);
/** For what the compiler refuses already: as JavaScript would write it. */
const untyped = <T>(thing: T): never => thing as never;

const Mm = struct("mm_struct", { total: u64, pages: u32 });
const Task = struct("task_struct", { pid: u32, comm: array(char, 16), mm: pointer(Mm), any: pointer() });
const Args = struct("on_exec", { task: pointer(Task), count: u64 });
const Text = struct("text", { text: array(char, 16) });
const names = mapDef({ name: "names", type: "hash", key: Text, value: u32, maxEntries: 4 });

const watch = (body: ($: TracingScope<typeof Args>) => void) => () =>
  tpBtf("watch", Args, ($) => {
    body($);
    return $.return(0);
  });
const look = (body: ($: XdpScope, task: View<typeof Task, "kernel">) => void) => () =>
  xdp("look", ($) => {
    body($, $.view($.bpf_get_current_task(), Task));
    return $.return(XDP_PASS);
  });

/** What a program does to read: helpers by name, and loads of 1 to 8 bytes. */
const reads = ({ blocks }: Program) =>
  blocks
    .flatMap(({ insns }) => insns)
    .flatMap(({ code, imm, off }) => {
      if (code === 0x85)
        return [imm === 113 ? "bpf_probe_read_kernel" : imm === 112 ? "bpf_probe_read_user" : `${imm}`];
      return (code & 7) === 1 && (code & 0x60) === 0x60 ? [`load ${off}`] : [];
    });

test("typed pointers are followed by loads, addresses by helpers, memory of a process by others", () => {
  const typed = tpBtf("typed", Args, ($) => $.return($.ctx.task.mm.pages));
  expect(reads(typed)).toEqual([
    `load ${Args.offset.task}`,
    `load ${Task.offset.mm}`,
    `load ${Mm.offset.pages}`,
  ]);
  const raw = rawTracepoint("raw", Args, ($) => $.return($.ctx.task.mm.pages));
  expect(reads(raw)).toEqual([
    "load 0",
    "bpf_probe_read_kernel",
    "load -8",
    "bpf_probe_read_kernel",
    "load -8",
  ]);
  const user = rawTracepoint("user", Args, ($) => {
    const mm = $.view($.ctx.count, Task, { from: "user" }).mm;
    return $.return(mm.pages);
  });
  expect(reads(user).filter((read) => read.startsWith("bpf"))).toEqual([
    "bpf_probe_read_user",
    "bpf_probe_read_user",
  ]);
});

test("one place on the stack serves all reads of a function", () => {
  const many = rawTracepoint("many", Args, ($) => {
    const { task } = $.ctx;
    const sum = $.let(u32, 0);
    for (let turn = 0; turn < 100; turn++) sum.set(sum.add(task.pid).add(task.mm.pages));
    return $.return(sum);
  });
  const offsets = new Set(reads(many).filter((read) => /^load -/.test(read)));
  expect(offsets.size).toBeLessThanOrEqual(2);
});

test("what is not the program's own is not written", () => {
  expect(refused(look((_, task) => task.pid.set(1)))).toBe("the task_struct cannot be written");
  expect(refused(watch(($) => $.ctx.task.mm.pages.set(1)))).toBe("what 'mm' points to cannot be written");
  expect(refused(look(($, task) => $.copy(task.comm, $.struct(Text).text)))).toBe(
    "the task_struct cannot be written",
  );
  expect(refused(look(($, task) => $.copyText(untyped(task.comm), task.comm)))).toBe(
    "$.copyText writes to the stack, to records and to maps' values, and this is a view of char[16] in the task_struct",
  );
});

test("helpers take memory of the program", () => {
  expect(refused(look(($, task) => $.bpf_get_current_comm(task.comm, 16)))).toBe(
    "bpf_get_current_comm takes memory of the program as 'buf', and the task_struct is not",
  );
});

test("a key in the kernel's memory is copied by itself", () => {
  const keyed = rawTracepoint("keyed", Args, ($) => {
    const found = $.lookup(names, $.view($.ctx.count, Text), { else: () => $.return(0) });
    return $.return(found);
  });
  expect(reads(keyed)).toContain("bpf_probe_read_kernel");
});

test("views of what is no address", () => {
  expect(refused(look(($) => $.view(untyped($.struct(Text)), Task)))).toBe(
    "$.view takes a view of the kernel's memory, and this is a view of struct text in the struct text in the stack",
  );
  expect(refused(look(($) => $.view(untyped($.ctx.rx_queue_index.eq(1)), Task)))).toBe(
    "$.view takes a pointer, and this is a condition",
  );
  expect(refused(look(($) => $.view(8n, Task, { from: untyped("disk") })))).toBe(
    "$.view reads from the kernel or from user, not from 'disk'",
  );
  expect(refused(look(($) => $.view(8n, Task, untyped({ of: "user" }))))).toBe("$.view has no option 'of'");
  expect(refused(look(($) => $.address(untyped($.struct(Text)))))).toBe(
    "$.address takes a view of the kernel's memory, and this is a view of struct text in the struct text in the stack",
  );
});

test("an address is no pointer to the verifier, and a pointer has one type", () => {
  expect(refused(look(($, task) => $.pointer("task_struct", task)))).toBe(
    "the task_struct is an address to the verifier, and no pointer to task_struct",
  );
  expect(refused(watch(($) => $.pointer("task_struct", $.ctx.task.mm)))).toBe(
    "what 'mm' points to is struct mm_struct, not task_struct",
  );
});

test("what was read inside of a branch is not used outside", () => {
  expect(
    refused(
      watch(($) => {
        let kept: View<typeof Mm, "kernel"> | undefined;
        $.if($.ctx.count.eq(1), () => {
          kept = $.ctx.task.mm;
        });
        $.let(u64, (kept as View<typeof Mm, "kernel">).total);
      }),
    ),
  ).toBe("what 'mm' points to is used outside of the branch that it exists in");
});

test("a copy that cannot fail has no else", () => {
  const from = look(($) => $.copy($.struct(Text), $.struct(Text), { else: () => $.return(XDP_PASS) }));
  expect(refused(from)).toBe(
    "a copy from the struct text in the stack cannot fail, and says what happens then",
  );
});

test("texts", () => {
  expect(refused(look(($) => $.copyText($.struct(Text).text, untyped($.struct(Text).text))))).toBe(
    "$.copyText copies from the kernel's memory or a process's, and this is a view of char[16] in the struct text in the stack",
  );
  expect(refused(look(($) => $.copyText($.struct(Text).text, untyped("name"))))).toBe(
    "'name' stands where $.copyText takes a text or its address",
  );
  const record = struct("record", { name: dataLoc });
  const named = tracepoint("named", record, ($) => {
    const text = $.struct(Text);
    $.if($.copyText(text.text, $.ctx.name).le(0), () => $.return(0));
    return $.return($.ctx.name.length.to(u32));
  });
  expect(reads(named)).toContain("115"); // bpf_probe_read_kernel_str
});
