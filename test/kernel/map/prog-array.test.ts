import { expect, test } from "vitest";
import {
  call,
  exit,
  lddw,
  mapDef,
  mapFd,
  mov32,
  type Program,
  r0,
  r2,
  r3,
  schedCls,
  xdp,
} from "../../../src/asm/index.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { BPF_NOEXIST, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX } from "../../../src/uapi/bpf.ts";
import { bpf_tail_call } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const stages = mapDef({ name: "stages", type: "prog_array", key: u32, value: u32, maxEntries: 4 });

/** Jumps to the program at an index, and returns ABORTED where there is none. */
const jump = xdp("jump", {
  entry: [lddw(r2, mapFd(stages)), mov32(r3, 2), call(bpf_tail_call), mov32(r0, XDP_ABORTED), exit()],
});
const returning = (name: string, verdict: number): Program<"xdp"> =>
  xdp(name, { entry: [mov32(r0, verdict), exit()] });
const packet = { data: new Uint8Array(64) };

describeKernel("prog_array", () => {
  test("a tail call goes to the program that is there now", () => {
    using map = BpfMap.create(stages, { sys });
    using first = BpfProgram.load(jump, { sys, maps: [map] });
    using drop = BpfProgram.load(returning("drop", XDP_DROP), { sys });
    using tx = BpfProgram.load(returning("tx", XDP_TX), { sys });
    expect(first.testRun(packet).retval).toBe(XDP_ABORTED);
    map.set(2, drop);
    expect(first.testRun(packet).retval).toBe(XDP_DROP);
    map.set(2, tx.fd);
    expect(first.testRun(packet).retval).toBe(XDP_TX);
    expect(map.delete(2)).toBe(true);
    expect(first.testRun(packet).retval).toBe(XDP_ABORTED);
  });

  test("what it gives are ids; its keys are those with a program", () => {
    using map = BpfMap.create(stages, { sys });
    using pass = BpfProgram.load(returning("pass", XDP_PASS), { sys });
    expect([...map]).toEqual([]);
    expect(map.get(1)).toBeUndefined();
    map.set(1, pass);
    map.set(3, pass);
    const { id } = pass.info();
    expect([...map]).toEqual([
      [1, id],
      [3, id],
    ]);
    expect([map.has(1), map.has(2)]).toEqual([true, false]);
    expect(map.delete(1)).toBe(true);
    expect(map.delete(1)).toBe(false);
    expect([...map.keys()]).toEqual([3]);
    using again = BpfProgram.fromId(map.get(3) ?? 0, { sys });
    expect(again?.name).toBe("pass");
  });

  test("what does not fit, and why", () => {
    using map = BpfMap.create(stages, { sys });
    using pass = BpfProgram.load(returning("pass", XDP_PASS), { sys });
    using tc = BpfProgram.load(schedCls("tc", { entry: [mov32(r0, 0), exit()] }), { sys });
    map.set(0, pass);
    expect(() => map.set(1, tc)).toThrow(
      /^bpf\(BPF_MAP_UPDATE_ELEM\) failed: EINVAL .*\n {2}Its values are programs, all of one type, which agree in/,
    );
    expect(() => map.set(1, map)).toThrow("Its values are programs, all of one type");
    expect(() => map.set(1, 0x7fff_ffff)).toThrow("Its values are programs that are open.");
    expect(() => map.set(4, pass)).toThrow("Its keys go from 0 to 3.");
    expect(() => map.set(1, pass, BPF_NOEXIST)).toThrow("EINVAL");
    // @ts-expect-error there is nothing to take
    expect(() => map.take(0)).toThrow("came with kernel 5.14, for hash maps");
    // @ts-expect-error a text
    expect(() => map.set(0, "pass")).toThrow("u32");
  });

  test("it is emptied when its last descriptor goes, whatever programs hold it", async () => {
    const map = BpfMap.create(stages, { sys });
    using first = BpfProgram.load(jump, { sys, maps: [map] });
    using drop = BpfProgram.load(returning("drop", XDP_DROP), { sys });
    map.set(2, drop);
    expect(first.testRun(packet).retval).toBe(XDP_DROP);
    map.close();
    await expect.poll(() => first.testRun(packet).retval).toBe(XDP_ABORTED);
  });
});
