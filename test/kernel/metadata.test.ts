import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { mapDef } from "../../src/asm/map-def.ts";
import { xdp } from "../../src/asm/program.ts";
import { r0 } from "../../src/asm/register.ts";
import { u32 } from "../../src/btf/layout/index.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { createMetadata, type Metadata, readMetadata } from "../../src/kernel/metadata.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { mapUpdateElem } from "../../src/syscall/bpf-map.ts";
import { mapGetFdById } from "../../src/syscall/bpf-object.ts";
import { Fd } from "../../src/syscall/fd.ts";
import { BPF_BTF_LOAD, BPF_MAP_FREEZE, BPF_MAP_UPDATE_ELEM, XDP_PASS } from "../../src/uapi/bpf.ts";
import { EINVAL, ENOMEM } from "../../src/uapi/errno.ts";
import { eachFailure, failNth } from "../support/failing-syscalls.ts";
import { failure } from "../support/failure.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const load = (): BpfProgram =>
  BpfProgram.load(xdp("carrier", { entry: [mov32(r0, XDP_PASS), exit()] }), { sys });

describeKernel("metadata", () => {
  test.each<[string, Metadata]>([
    ["texts and numbers", { owner: "tsbpf", ifindex: 7, qsize: 0xffff_ffff }],
    ["an empty text, one with spaces, one in other letters", { a: "", b: "x y ", c: "é中" }],
    ["a long text", { text: "x".repeat(4000) }],
    ["numbers behind texts of odd lengths", { a: "1", b: 2, c: "33", d: 4, e: "555", f: 6 }],
  ])("%s: bound to a program and read back from it", (_, facts) => {
    using prog = load();
    {
      using metadata = createMetadata(sys, "test", facts);
      metadata.bind(prog);
      expect(readMetadata(sys, metadata.id)).toEqual(facts);
    }
    // The program alone keeps it.
    const { mapIds } = prog.info();
    expect(mapIds).toHaveLength(1);
    expect(readMetadata(sys, mapIds[0] as number)).toEqual(facts);
  });

  test("the same map is bound to several programs, and goes with the last", async () => {
    const progs = [load(), load()];
    using metadata = createMetadata(sys, "test", { owner: "tsbpf" });
    for (const prog of progs) metadata.bind(prog);
    expect(progs.map((prog) => prog.info().mapIds)).toEqual([[metadata.id], [metadata.id]]);
    for (const prog of progs) prog.close();
    metadata[Symbol.dispose]();
    await expect.poll(() => readMetadata(sys, metadata.id)).toBeUndefined();
  });

  test("it cannot be changed", () => {
    using metadata = createMetadata(sys, "test", { owner: "tsbpf" });
    using fd = Fd.own(sys, mapGetFdById(sys, metadata.id) as number, "the metadata's map");
    const change = (): void => mapUpdateElem(sys, fd.number, new Uint8Array(4), new Uint8Array(6));
    expect(failure(change)).toMatchObject({ code: "EPERM" });
    expect(readMetadata(sys, metadata.id)).toEqual({ owner: "tsbpf" });
  });

  const bpftool = existsSync("/usr/sbin/bpftool");
  test.skipIf(!bpftool)(`bpftool prog show prints it${bpftool ? "" : " [skipped: no bpftool]"}`, () => {
    using prog = load();
    using metadata = createMetadata(sys, "test", { owner: "tsbpf", interface: "eth0", ifindex: 7 });
    metadata.bind(prog);
    const { id } = prog.info();
    const text = execFileSync("bpftool", ["prog", "show", "id", String(id)], { encoding: "utf8" });
    expect(text).toMatch(/metadata:\n\s+owner = "tsbpf"\n\s+interface = "eth0"\n\s+ifindex = 7\n/);
    const json = execFileSync("bpftool", ["--json", "prog", "show", "id", String(id)], { encoding: "utf8" });
    expect(JSON.parse(json)).toMatchObject({ metadata: { owner: "tsbpf", interface: "eth0", ifindex: 7 } });
  });

  test("maps that are none", () => {
    const def = mapDef({ name: "some.rodata", type: "array", key: u32, value: u32, maxEntries: 1 });
    using map = BpfMap.create(def, { sys });
    expect(readMetadata(sys, map.info().id)).toBeUndefined();
    expect(readMetadata(sys, 0x7fff_ffff)).toBeUndefined();
  });

  test.each<[string, Metadata, string]>([
    ["a negative number", { n: -1 }, "metadata 'n': -1 is not an unsigned 32-bit number"],
    ["a number too large", { n: 2 ** 32 }, "metadata 'n': 4294967296 is not an unsigned 32-bit number"],
    ["half a number", { n: 0.5 }, "metadata 'n': 0.5 is not an unsigned 32-bit number"],
    ["a text with a NUL", { t: "a\0b" }, "metadata 't': its text contains a NUL character"],
  ])("refused: %s", (_, facts, message) => {
    expect(failure(() => createMetadata(sys, "test", facts)).message).toBe(message);
  });

  test("a kernel that does not take its BTF has no metadata", () => {
    const failing = failNth(sys, 1, EINVAL, (name, [cmd]) => name === "bpf" && cmd === BPF_BTF_LOAD);
    expect(failure(() => createMetadata(failing.sys, "test", { a: 1 })).message).toMatch(
      /^bpf\(BPF_BTF_LOAD\) failed: EINVAL \(Invalid argument\) \[of=metadata 'test'\]/,
    );
  });

  test("whatever call fails, nothing stays open", async () => {
    const seen: string[] = [];
    const tried = await eachFailure({
      sys,
      errno: ENOMEM,
      run: (faulty) => {
        using metadata = createMetadata(faulty, "test", { owner: "tsbpf" });
        using prog = load();
        metadata.bind(prog);
      },
      // tracedSyscalls looks at the descriptors at the end of the test.
      check: (error) => void seen.push(String(error).slice(0, 40)),
    });
    expect(tried).toBe(6);
    expect(seen.every((text) => text.startsWith("SyscallError"))).toBe(true);
    for (const cmd of [BPF_MAP_UPDATE_ELEM, BPF_MAP_FREEZE]) {
      const failing = failNth(sys, 1, ENOMEM, (name, [actual]) => name === "bpf" && actual === cmd);
      expect(failure(() => createMetadata(failing.sys, "test", { a: 1 }))).toMatchObject({ code: "ENOMEM" });
    }
  });
});
