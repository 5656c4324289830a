import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  add,
  call,
  exit,
  jeq,
  kfunc,
  ldxw,
  mov,
  mov32,
  type Program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r10,
  stb,
  stw,
  stxdw,
  xdp,
} from "../../src/asm/index.ts";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import { type BtfBuilder, createBtfBuilder } from "../../src/btf/builder.ts";
import { type Btf, decodeBtf } from "../../src/btf/decode.ts";
import { createKfuncCalls, openModules } from "../../src/kernel/kfunc.ts";
import type { TracingLinkInfo } from "../../src/kernel/link/info.ts";
import { attachTracing } from "../../src/kernel/link/tracing.ts";
import { openModuleBtf } from "../../src/kernel/module-btf.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { programTags } from "../../src/kernel/program-tag.ts";
import { ENOENT } from "../../src/uapi/errno.ts";
import { describeKernel } from "../support/privileges.ts";
import { counter } from "./link/support.ts";
import { tracedSyscalls } from "./syscall/support.ts";

describe("calls of kernel functions", () => {
  const byteOrder = LITTLE_ENDIAN ? "little" : "big";
  const define = (builder: BtfBuilder, name: string): number => {
    const id = builder.func(name, builder.funcProto(builder.int("int", 4, "signed")), "global");
    builder.declTag("bpf_kfunc", id);
    return id;
  };
  const kernel = createBtfBuilder({ byteOrder });
  const ofKernel = define(kernel, "of_kernel");
  const vmlinux: Btf = decodeBtf(kernel.encode());
  const directory = mkdtempSync(join(tmpdir(), "tsbpf-test-kfunc-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  const ids = ["one", "two"].map((module) => {
    const builder = createBtfBuilder({ byteOrder, base: vmlinux });
    const id = define(builder, `of_${module}`);
    writeFileSync(join(directory, module), builder.encode());
    return id;
  });

  test("those of modules name the module by its place", () => {
    const calls = createKfuncCalls({ directory, vmlinux });
    expect(calls.call("of_kernel")).toEqual({ imm: ofKernel, off: 0 });
    expect(calls.modules).toEqual([]);
    expect(calls.call("of_two")).toEqual({ imm: ids[1], off: 1 });
    expect(calls.call("of_one")).toEqual({ imm: ids[0], off: 2 });
    expect(calls.call("of_two")).toEqual({ imm: ids[1], off: 1 });
    expect(calls.modules).toEqual(["two", "one"]);
  });

  test("one that nobody has", () => {
    const { call: find } = createKfuncCalls({ directory, vmlinux });
    expect(() => find("of_kernell")).toThrow(
      "the running kernel has no function 'of_kernell'\n  Did you mean 'of_kernel'?",
    );
  });
});

describeKernel("BTF of modules", () => {
  const sys = tracedSyscalls();

  test("is found by name among all that the kernel holds", () => {
    using fds = openModules(sys, ["vmlinux"]); // which is in the same list, on every kernel
    expect(fds.fdArray).toHaveLength(2);
    expect(openModules(sys, []).fdArray).toBeUndefined();
  });

  test("a module that has gone", () => {
    expect(() => openModuleBtf(sys, "no_such_module")).toThrow(
      "the kernel holds no types of a module 'no_such_module' (any more)",
    );
  });

  /** Looks a connection up that is not there: the error is what it returns. */
  const lookup = (): Program =>
    xdp("lookup", {
      entry: [
        mov(r2, 0),
        ...[-8, -16, -24, -32].map((offset) => stxdw([r10, offset], r2)),
        stw([r10, -32], -1), // struct bpf_ct_opts: the present network namespace
        stb([r10, -24], 17), // UDP
        mov(r2, r10),
        add(r2, -16), // struct bpf_sock_tuple, IPv4
        mov32(r3, 12),
        mov(r4, r10),
        add(r4, -32),
        mov32(r5, 12),
        call(kfunc("bpf_xdp_ct_lookup")),
        jeq(r0, 0, "none"),
        mov(r1, r0),
        call(kfunc("bpf_ct_release")),
        mov32(r0, 0),
        exit(),
      ],
      none: [ldxw(r0, [r10, -28]), exit()],
    });

  test.runIf(existsSync("/sys/kernel/btf/nf_conntrack"))("a function of a module is called", () => {
    using prog = BpfProgram.load(lookup(), { sys });
    expect(prog.testRun({ data: new Uint8Array(64) }).retval).toBe(-ENOENT);
    expect(Object.values(programTags(lookup()))).toContain(prog.info().tag);
  });

  test.runIf(existsSync("/sys/kernel/btf/nf_conntrack"))("a program at a function of a module", () => {
    using seen = counter(sys, "tracing", "on_track", {
      attachType: "trace_fentry",
      attachTo: "nf_conntrack_in",
    });
    using link = attachTracing(seen.prog, { sys });
    // Its BTF object is the module's: that of the kernel is the first one.
    expect(link.info()).toMatchObject({ kind: "tracing", attachType: "trace_fentry" });
    expect((link.info() as TracingLinkInfo).targetObjectId).toBeGreaterThan(1);
  });
});
