import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { call, exit, ldxw, program, r0 } from "../../../src/asm/index.ts";
import { LITTLE_ENDIAN } from "../../../src/base/host.ts";
import { createBtfBuilder } from "../../../src/btf/builder.ts";
import { decodeBtf } from "../../../src/btf/decode.ts";
import { BtfError } from "../../../src/btf/error.ts";
import { kernelStruct as structOf } from "../../../src/btf/lookup.ts";
import { hasKernelStruct, kernelEnum, kernelStruct } from "../../../src/kernel/kernel-types.ts";
import { moduleBtf, moduleNames, readModuleBtf } from "../../../src/kernel/module-btf.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { bpf_get_current_task_btf } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

describeKernel("types of the running kernel", () => {
  const sys = tracedSyscalls();

  test("a program reads a field of a kernel struct where it is on this kernel", () => {
    const { offset, size } = kernelStruct("task_struct").field("tgid");
    expect(size).toBe(4);
    const tgid = program("raw_tracepoint", "tgid", {
      entry: [call(bpf_get_current_task_btf), ldxw(r0, [r0, offset]), exit()],
    });
    using prog = BpfProgram.load(tgid, { sys });
    expect(prog.testRun({ ctx: new Uint8Array(0) }).retval).toBe(process.pid);
  });

  test("what is there, and what is not", () => {
    const task = kernelStruct("task_struct");
    expect([task.has("pid"), task.has("se.vruntime"), task.has("no_such_field")]).toEqual([
      true,
      true,
      false,
    ]);
    expect(task.has("__state")).not.toBe(task.has("state")); // renamed in 5.14
    expect(() => task.field("pidd")).toThrow(/has no field 'pidd'.*\n.*'pid'/s);
    expect([hasKernelStruct("task_struct"), hasKernelStruct("no_such_struct")]).toEqual([true, false]);
    expect(() => kernelStruct("no_such_struct")).toThrow(BtfError);
    expect(kernelEnum("xdp_action").get("XDP_REDIRECT")).toBe(4);
    expect(kernelEnum("xdp_action").has("XDP_NO_SUCH")).toBe(false);
    expect(() => kernelEnum("no_such_enum")).toThrow("BTF has no enum 'no_such_enum'");
  });

  test("a module that is not there", () => {
    expect(() => moduleBtf("no_such_module")).toThrow(
      "the types of kernel module 'no_such_module' are not there",
    );
  });

  test("every module that shows its types can be read", () => {
    for (const name of moduleNames()) expect(moduleBtf(name).base).toBeDefined();
  });
});

test("split BTF: a module's types go on from the kernel's", () => {
  const byteOrder = LITTLE_ENDIAN ? "little" : "big";
  const kernel = createBtfBuilder({ byteOrder });
  const int = kernel.int("int", 4, "signed");
  kernel.struct("base", 4, [{ name: "id", type: int, bitOffset: 0 }]);
  const base = decodeBtf(kernel.encode());
  const module = createBtfBuilder({ byteOrder, base });
  const [owner] = base.ids("base", "struct");
  module.struct("of_module", 8, [
    { name: "base", type: owner ?? 0, bitOffset: 0 },
    { name: "count", type: int, bitOffset: 32 },
  ]);
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-test-btf-"));
  try {
    writeFileSync(join(directory, "demo"), module.encode());
    const btf = readModuleBtf(directory, "demo", base);
    expect(structOf(btf, "of_module").field("base.id").offset).toBe(0);
    expect(structOf(btf, "of_module").field("count").offset).toBe(4);
    expect(() => readModuleBtf(directory, "demos", base)).toThrow(/'demos' are not there\n.*'demo'/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
