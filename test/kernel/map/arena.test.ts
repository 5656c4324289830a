import { expect, test } from "vitest";
import {
  addrSpaceCast,
  exit,
  lddw,
  ldxdw,
  mapDef,
  mapFd,
  mov32,
  program,
  r0,
  r1,
  r2,
  r3,
  stxdw,
} from "../../../src/asm/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { BPF_F_SLEEPABLE } from "../../../src/uapi/bpf.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const PAGES = 4;

/** A program that gets an address in the arena in its context, reads the word there and puts it one word on, plus one. */
const move = (arena: ReturnType<typeof definition>) =>
  program(
    "syscall",
    "move",
    {
      entry: [
        lddw(r2, mapFd(arena)), // tells the verifier which arena it is about
        ldxdw(r1, [r1, 0]),
        addrSpaceCast(r1, r1, 0, 1),
        ldxdw(r3, [r1, 0]),
        stxdw([r1, 8], r3),
        mov32(r0, 0),
        exit(),
      ],
    },
    { flags: BPF_F_SLEEPABLE },
  );
const definition = (extra?: bigint) =>
  mapDef({ name: "arena", type: "arena", maxEntries: PAGES, ...(extra === undefined ? {} : { extra }) });

describeKernel("arena", () => {
  test("programs and user space share its memory, at one address", () => {
    const def = definition();
    using map = BpfMap.create(def, { sys });
    using memory = map.memory();
    expect(memory.bytes).toHaveLength(PAGES * 4096);
    const words = new BigUint64Array(memory.bytes.buffer, 4096, 4);
    words[0] = 77n;
    using prog = BpfProgram.load(move(def), { sys, maps: [map] });
    const ctx = new Uint8Array(8);
    new DataView(ctx.buffer).setBigUint64(0, memory.address + 4096n, true);
    expect(prog.testRun({ ctx }).retval).toBe(0);
    expect([...words]).toEqual([77n, 77n, 0n, 0n]);
  });

  test("at the address that its definition asks for", () => {
    const address = 0x5000_0000_0000n;
    using map = BpfMap.create(definition(address), { sys });
    using memory = map.memory();
    expect(memory.address).toBe(address);
    memory.bytes[0] = 1;
    expect(memory.bytes[0]).toBe(1);
  });

  test("it has no keys and no values, and is mapped once", () => {
    using map = BpfMap.create(definition(), { sys });
    using _memory = map.memory();
    expect(() => map.memory()).toThrow(
      /^mmap failed: E.*\[of=arena 'arena', length=16384, prot=3, offset=0\]\n {2}An arena has one address, in every process/,
    );
    // @ts-expect-error no keys
    expect(() => map.get(0)).toThrow("map 'arena' (arena) has no keys");
  });
});
