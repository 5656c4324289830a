import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { exit, mapDef, mov32, program, r0 } from "../../src/asm/index.ts";
import { array, be16, char, struct, u8, u64 } from "../../src/btf/layout/index.ts";
import { attachRawTracepoint } from "../../src/kernel/link/tracepoint.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const hasBpftool = spawnSync("bpftool", ["version"]).status === 0;
const bpftool = (...args: string[]): string => spawnSync("bpftool", args, { encoding: "utf8" }).stdout;

describeKernel("bpftool reads what is ours", () => {
  const sys = tracedSyscalls();
  const flow = struct("flow", { port: be16, proto: u8 });
  const hits = struct("hits", { packets: u64, name: array(char, 8) });
  const flows = mapDef({ name: "flows", type: "hash", key: flow, value: hits, maxEntries: 4 });
  const watch = program("raw_tracepoint", "watch", { entry: [mov32(r0, 0), exit()] });

  test.skipIf(!hasBpftool)("map dump: the names of the fields", () => {
    using map = BpfMap.create(flows, { sys });
    map.set({ port: 80, proto: 6 }, { packets: 7n, name: "web" });
    const dump = bpftool("map", "dump", "id", String(map.info().id));
    expect(JSON.parse(dump)).toEqual([
      { key: { port: 0x5000, proto: 6 }, value: { packets: 7, name: "web" } }, // the port in the order of the wire
    ]);
  });

  test.skipIf(!hasBpftool)("btf dump: the types of a map and the functions of a program", () => {
    using map = BpfMap.create(flows, { sys });
    const types = bpftool("btf", "dump", "id", String(map.info().btfId), "format", "c");
    expect(types).toMatch(/struct hits \{\s+__u64 packets;\s+char name\[8\];\s+\};/);
    using prog = BpfProgram.load(watch, { sys });
    expect(bpftool("btf", "dump", "id", String(prog.info().btfId))).toMatch(/FUNC 'watch'/);
  });

  test.skipIf(!hasBpftool)("link show: the program and what it is attached to", () => {
    using prog = BpfProgram.load(watch, { sys });
    using link = attachRawTracepoint(prog, "sched_process_exec", { sys });
    const shown = JSON.parse(bpftool("-j", "link", "show", "id", String(link.info().id)));
    expect(shown).toMatchObject({
      type: "raw_tracepoint",
      prog_id: prog.info().id,
      tp_name: "sched_process_exec",
    });
  });
});
