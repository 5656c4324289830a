import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import {
  call,
  exit,
  jslt,
  lddw,
  mapDef,
  mapFd,
  mapValue,
  mov,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  r6,
  stxw,
} from "../../../src/asm/index.ts";
import { array, u32, u64 } from "../../../src/btf/layout/index.ts";
import { attachRawTracepoint } from "../../../src/kernel/link/tracepoint.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { bpf_get_stackid } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const DEPTH = 32;
const stacks = mapDef({
  name: "stacks",
  type: "stack_trace",
  key: u32,
  value: array(u64, DEPTH),
  maxEntries: 64,
});
const last = mapDef({ name: "last", type: "array", key: u32, value: u32, maxEntries: 1 });

const record = program("raw_tracepoint", "record", {
  entry: [
    lddw(r2, mapFd(stacks)),
    mov32(r3, 0),
    call(bpf_get_stackid),
    mov(r6, r0),
    jslt(r0, 0, "out"),
    lddw(r1, mapValue(last)),
    stxw([r1, 0], r6),
  ],
  out: [mov32(r0, 0), exit()],
});

describeKernel("stack_trace", () => {
  test("the kernel's stack at an event, and no more of it after a delete", () => {
    using map = BpfMap.create(stacks, { sys });
    using id = BpfMap.create(last, { sys });
    using prog = BpfProgram.load(record, { sys, maps: [map, id] });
    expect([...map]).toEqual([]);
    {
      using _link = attachRawTracepoint(prog, "sched_process_exec", { sys });
      execFileSync("/bin/true");
    }
    const key = id.get(0) ?? -1;
    const stack = map.get(key) ?? [];
    expect(stack).toHaveLength(DEPTH);
    const frames = stack.filter((address) => address !== 0n);
    expect(frames.length).toBeGreaterThan(3);
    expect(frames.every((address) => address >= 1n << 63n)).toBe(true); // where the kernel is
    expect([...map.keys()]).toContain(key);
    expect(map.has(key)).toBe(true);
    expect(map.delete(key)).toBe(true);
    expect(map.get(key)).toBeUndefined();
    expect(map.delete(key)).toBe(false);
  });

  test("user space puts nothing into it", () => {
    using map = BpfMap.create(stacks, { sys });
    expect(() =>
      map.set(
        0,
        Array.from({ length: DEPTH }, () => 0n),
      ),
    ).toThrow("Stacks are put into it by programs (bpf_get_stackid), not by user space.");
  });
});
