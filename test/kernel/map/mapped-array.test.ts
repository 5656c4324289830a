import { expect, test } from "vitest";
import { aadd64, exit, lddw, mapDef, mapValue, mov32, r0, r1, r2, xdp } from "../../../src/asm/index.ts";
import { array, char, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { FdClosedError } from "../../../src/syscall/fd.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { BPF_F_MMAPABLE } from "../../../src/uapi/bpf.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const flow = struct("flow", { packets: u64.asNumber, name: array(char, 5), port: u32 });
const flows = mapDef({
  name: "flows",
  type: "array",
  key: u32,
  value: flow,
  maxEntries: 600, // of 24 bytes: several pages
  flags: BPF_F_MMAPABLE,
});

describeKernel("mapped arrays", () => {
  test("the map, seen from both sides", () => {
    using map = BpfMap.create(flows, { sys });
    using memory = map.mapped();
    expect(memory.length).toBe(600);
    map.set(599, { packets: 1, name: "one", port: 80 });
    expect(memory.get(599)).toEqual({ packets: 1, name: "one", port: 80 });
    memory.set(0, { packets: 2, name: "two", port: 81 });
    expect(map.get(0)).toEqual({ packets: 2, name: "two", port: 81 });
    memory.writeField(flow.fields.port, 443, 599);
    expect(memory.readField(flow.fields.port, 599)).toBe(443);
    expect(map.get(599)).toEqual({ packets: 1, name: "one", port: 443 });
    expect(memory.view(0).getUint32(flow.offset.port, true)).toBe(81);
  });

  test("without a system call", () => {
    let calls = 0;
    const counting: Syscalls = {
      ...sys,
      bpf: (cmd, attr) => {
        calls++;
        return sys.bpf(cmd, attr);
      },
    };
    using map = BpfMap.create(flows, { sys: counting });
    using memory = map.mapped();
    calls = 0;
    for (let index = 0; index < 600; index++) {
      memory.set(index, { packets: index, name: "", port: 0 });
      expect(memory.get(index).packets).toBe(index);
    }
    expect(calls).toBe(0);
    expect(map.get(7)?.packets).toBe(7);
    expect(calls).toBe(1);
  });

  test("values of 4 bytes lie 8 apart, as the kernel has them", () => {
    const narrow = { name: "narrow", type: "array", key: u32, value: u32, flags: BPF_F_MMAPABLE } as const;
    using map = BpfMap.create(mapDef({ ...narrow, maxEntries: 3 }), { sys });
    using memory = map.mapped();
    map.set(2, 5);
    expect([memory.get(0), memory.get(1), memory.get(2)]).toEqual([0, 0, 5]);
  });

  test("programs write what is read here", () => {
    const one = { name: "one", type: "array", key: u32, value: u64.asNumber, flags: BPF_F_MMAPABLE } as const;
    const def = mapDef({ ...one, maxEntries: 1 });
    using map = BpfMap.create(def, { sys });
    const count = xdp("count", {
      entry: [lddw(r1, mapValue(def)), mov32(r2, 1), aadd64([r1, 0], r2), mov32(r0, 2), exit()],
    });
    using prog = BpfProgram.load(count, { sys, maps: [map] });
    using memory = map.mapped({ readOnly: true });
    prog.testRun({ data: new Uint8Array(64), repeat: 1000 });
    expect(memory.get(0)).toBe(1000);
  });

  test("what it refuses", () => {
    using map = BpfMap.create(flows, { sys });
    const memory = map.mapped();
    expect(() => memory.get(600)).toThrow("map 'flows' has no value 600\n  Its indexes go from 0 to 599.");
    expect(() => memory.set(0, { packets: -1, name: "", port: 0 })).toThrow("flow.packets");
    const readOnly = map.mapped({ readOnly: true });
    expect(() => readOnly.set(0, { packets: 1, name: "", port: 0 })).toThrow(
      "map 'flows' is mapped read-only",
    );
    readOnly.close();
    expect(() => map.freeze()).toThrow("EBUSY"); // while it is mapped writable
    memory.close();
    memory.close();
    expect(() => memory.get(0)).toThrow(FdClosedError);
    map.freeze();
    expect(() => map.mapped()).toThrow("EPERM");
    using frozen = map.mapped({ readOnly: true });
    expect(frozen.get(0).packets).toBe(0);
    const plain = mapDef({ name: "plain", type: "array", key: u32, value: u32, maxEntries: 1 });
    using unmapped = BpfMap.create(plain, { sys });
    expect(() => unmapped.mapped()).toThrow(
      "map 'plain' cannot be mapped: it was defined without BPF_F_MMAPABLE",
    );
  });
});
