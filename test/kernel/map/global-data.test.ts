import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import {
  AssembleError,
  aadd64,
  xdp as asmXdp,
  dataDef,
  exit,
  jgt,
  lddw,
  ldxw,
  mapValue,
  mov32,
  r0,
  r1,
  r2,
} from "../../../src/asm/index.ts";
import { array, bits, char, struct, u16, u32, u64 } from "../../../src/btf/layout/index.ts";
import { GlobalData } from "../../../src/kernel/global-data.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { FdClosedError } from "../../../src/syscall/fd.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { ensureBpffs } from "../../support/mounts.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const settings = struct("settings", { limit: u32, ports: array(u16, 4), label: array(char, 8) });
const counters = struct("counters", { packets: u64.asNumber, dropped: u64.asNumber });
const config = dataDef("app", ".rodata", settings);
const state = dataDef("app", ".bss", counters);
const tuning = dataDef("app", ".data", settings);
const packet = { data: new Uint8Array(64) };

describeKernel("global data", () => {
  test("constants for the verifier, variables for programs and user space", () => {
    const limited = asmXdp("limited", {
      entry: [
        lddw(r1, mapValue(state, counters.offset.packets)),
        mov32(r2, 1),
        aadd64([r1, 0], r2),
        lddw(r1, mapValue(config, settings.offset.limit)),
        ldxw(r1, [r1, 0]),
        jgt(r1, 5, "drop"),
        mov32(r0, XDP_PASS),
        exit(),
      ],
      drop: [
        lddw(r1, mapValue(state, counters.offset.dropped)),
        mov32(r2, 1),
        aadd64([r1, 0], r2),
        mov32(r0, XDP_DROP),
        exit(),
      ],
    });
    const load = (limit: number, counts: GlobalData<typeof counters.members>): [number, number] => {
      using constants = GlobalData.create(config, { limit, ports: [1, 2, 3, 4], label: "x" }, { sys });
      using prog = BpfProgram.load(limited, { sys, maps: [constants.map, counts.map] });
      return [prog.testRun(packet).retval, prog.info().xlatedLength];
    };
    using counts = GlobalData.create(state, undefined, { sys });
    expect({ ...counts.vars }).toEqual({ packets: 0, dropped: 0 });
    const [passed, short] = load(5, counts);
    const [dropped, long] = load(6, counts);
    expect([passed, dropped]).toEqual([XDP_PASS, XDP_DROP]);
    expect(short).toBeLessThan(long); // the branch that is never taken is gone
    expect({ ...counts.vars }).toEqual({ packets: 2, dropped: 1 });
    counts.vars.packets = 40;
    load(1, counts);
    expect(counts.vars.packets).toBe(41);
  });

  test("in the language: $.global", () => {
    const limited = xdp("limited", ($) => {
      const { limit } = $.global(tuning);
      const counts = $.global(state);
      $.atomic.add(counts.packets, 1);
      $.if(limit.gt(5), () => {
        $.atomic.add(counts.dropped, 1);
        return $.return(XDP_DROP);
      });
      return $.return(XDP_PASS);
    });
    using data = GlobalData.create(tuning, { limit: 3, ports: [0, 0, 0, 0], label: "" }, { sys });
    using counts = GlobalData.create(state, undefined, { sys });
    using prog = BpfProgram.load(limited, { sys, maps: [data.map, counts.map] });
    expect(prog.testRun(packet).retval).toBe(XDP_PASS);
    data.vars.limit = 6; // while it runs
    expect(prog.testRun(packet).retval).toBe(XDP_DROP);
    expect({ ...counts.vars }).toEqual({ packets: 2, dropped: 1 });
    expect(() =>
      xdp("writes", ($) => {
        $.assign($.global(config), { limit: 1 });
        return $.return(XDP_PASS);
      }),
    ).toThrow(/the value of map 'app.rodata' cannot be written\n.*\n.*only user space writes it/);
  });

  test("reading and writing takes no system call", () => {
    let calls = 0;
    const counting: Syscalls = {
      ...sys,
      bpf: (cmd, attr) => {
        calls++;
        return sys.bpf(cmd, attr);
      },
    };
    using data = GlobalData.create(tuning, undefined, { sys: counting });
    calls = 0;
    data.vars.limit = 7;
    data.vars.label = "seven";
    data.vars.ports = [7, 7, 7, 7];
    expect({ ...data.vars }).toEqual({ limit: 7, label: "seven", ports: [7, 7, 7, 7] });
    expect(calls).toBe(0);
    expect(data.map.get(0)).toEqual({ limit: 7, label: "seven", ports: [7, 7, 7, 7] });
  });

  test("bpftool prints the variables by name", () => {
    using data = GlobalData.create(config, { limit: 7, ports: [1, 2, 3, 4], label: "seven" }, { sys });
    const { id } = data.map.info();
    const dump = execFileSync("bpftool", ["map", "dump", "id", String(id)], { encoding: "utf8" });
    expect(JSON.parse(dump)).toEqual([
      { value: { ".rodata": [{ limit: 7 }, { ports: [1, 2, 3, 4] }, { label: "seven" }] } },
    ]);
  });

  test("constants are constant, and need values", () => {
    // @ts-expect-error no values
    expect(() => GlobalData.create(config)).toThrow("map 'app.rodata' holds constants, and none are given");
    using data = GlobalData.create(config, { limit: 1, ports: [0, 0, 0, 0], label: "" }, { sys });
    expect(() => {
      // @ts-expect-error a constant
      data.vars.limit = 2;
    }).toThrow("'limit' of map 'app.rodata' is a constant\n  Its value is given to GlobalData.create.");
    expect(() => data.map.set(0, data.map.get(0))).toThrow("The map is frozen");
    expect(data.vars.limit).toBe(1);
    data.close();
    expect(() => data.vars.limit).toThrow(FdClosedError);
  });

  test("a variable has an address, and a name that the kernel takes", () => {
    const flags = struct("flags", { verbose: bits(u32, 1) });
    expect(() => dataDef("app", ".data", flags)).toThrow(AssembleError);
    expect(() => dataDef("app", ".data", flags)).toThrow(
      "'verbose' is a bit field, and a variable has an address",
    );
    expect(() => dataDef("application", ".rodata", settings)).toThrow(
      "'application.rodata' is not a name for a map",
    );
  });
});

describeKernel("pinned global data", () => {
  const path = `${ensureBpffs()}/tsbpf-test-data-${process.pid}`;
  afterAll(() => rmSync(path, { force: true }));

  test("another process opens it by its definition", () => {
    using first = GlobalData.create(tuning, { limit: 3, ports: [0, 0, 0, 0], label: "" }, { sys });
    first.map.pin(path);
    using second = GlobalData.open(tuning, path, { sys });
    second.vars.limit = 9;
    expect(first.vars.limit).toBe(9);
    const other = dataDef("app", ".data", counters);
    expect(() => GlobalData.open(other, path, { sys })).toThrow("is not the map that 'app.data' describes");
  });
});
