import { expect, it } from "vitest";
import * as asm from "../../../src/asm/index.ts";
import {
  call,
  callback,
  decode,
  disassemble,
  exit,
  type Insn,
  jeq,
  lddw,
  ldxw,
  type MapDef,
  mapDef,
  mapFd,
  mapValue,
  mayGoto,
  mov,
  mov32,
  printk,
  r0,
  r1,
  r2,
  r3,
  r4,
  r6,
  r10,
  rsh,
  stw,
  subprogram,
  type WritableRegister,
  xdp,
} from "../../../src/asm/index.ts";
import { u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import {
  bpf_get_prandom_u32,
  bpf_loop,
  bpf_map_lookup_elem,
  bpf_tail_call,
} from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";

const PACKET = { data: new Uint8Array(64) };

/** Runs instructions on r0 = `left` and r2 = `right`, and gives all of r0. */
function compute(left: bigint, right: bigint, insns: readonly Insn<never, never>[]): bigint {
  const half = (name: string, last: readonly Insn<never, never>[]): bigint => {
    const blocks = { entry: [lddw(r0, left), lddw(r2, right), ...insns, ...last, exit()] };
    using prog = BpfProgram.load(xdp(name, blocks));
    return BigInt(prog.testRun(PACKET).retval >>> 0);
  };
  return (half("high", [rsh(r0, 32)]) << 32n) | half("low", []);
}

const MIN64 = -(1n << 63n);
const M = 0xffff_ffff_ffff_ffffn;

describeKernel("what the documentation of the constructors promises", () => {
  it.each([
    ["div by 0 is 0", 7n, 0n, [asm.div(r0, r2)], 0n],
    ["div32 by 0 is 0", M, 0n, [asm.div32(r0, r2)], 0n],
    ["div is unsigned", M, 2n, [asm.div(r0, r2)], M >> 1n],
    ["div by -1 sign-extends the constant", M, 0n, [asm.div(r0, -1)], 1n],
    ["div32 zeroes the upper half", M, 2n, [asm.div32(r0, r2)], 0x7fff_ffffn],
    ["mod by 0 leaves dst", 0x1_2345_6789n, 0n, [asm.mod(r0, r2)], 0x1_2345_6789n],
    ["mod32 by 0 leaves the lower half", 0x1_2345_6789n, 0n, [asm.mod32(r0, r2)], 0x2345_6789n],
    ["sdiv truncates towards 0", -7n, 2n, [asm.sdiv(r0, r2)], -3n],
    ["sdiv by 0 is 0", -7n, 0n, [asm.sdiv(r0, r2)], 0n],
    ["sdiv of the smallest by -1", MIN64, -1n, [asm.sdiv(r0, r2)], MIN64],
    ["sdiv32 of the smallest by -1", 0x8000_0000n, -1n, [asm.sdiv32(r0, r2)], 0x8000_0000n],
    ["smod has the sign of dst", -7n, 2n, [asm.smod(r0, r2)], -1n],
    ["smod has the sign of dst", 7n, -2n, [asm.smod(r0, r2)], 1n],
    ["smod by 0 leaves dst", -7n, 0n, [asm.smod(r0, r2)], -7n],
    ["smod32 by 0 leaves the lower half", -7n, 0n, [asm.smod32(r0, r2)], 0xffff_fff9n],
    ["lsh counts modulo 64", 1n, 65n, [asm.lsh(r0, r2)], 2n],
    ["lsh32 counts modulo 32", 1n, 33n, [asm.lsh32(r0, r2)], 2n],
    ["arsh shifts the sign in", MIN64, 4n, [asm.arsh(r0, r2)], MIN64 >> 4n],
    ["arsh32 shifts the lower sign in", 0x8000_0000n, 4n, [asm.arsh32(r0, r2)], 0xf800_0000n],
    ["neg32 zeroes the upper half", 1n, 0n, [asm.neg32(r0)], 0xffff_ffffn],
    ["mov sign-extends the constant", 0n, 0n, [mov(r0, -1)], M],
    ["mov32 does not", 0n, 0n, [mov32(r0, -1)], 0xffff_ffffn],
    ["movsx8 extends to 64 bits", 0n, 0x80n, [asm.movsx8(r0, r2)], -128n],
    ["mov32sx16 extends to 32 bits", 0n, 0x8000n, [asm.mov32sx16(r0, r2)], 0xffff_8000n],
    ["bswap32 zeroes the rest", 0x1122_3344_5566_7788n, 0n, [asm.bswap32(r0)], 0x8877_6655n],
    ["bswap64", 0x1122_3344_5566_7788n, 0n, [asm.bswap64(r0)], 0x8877_6655_4433_2211n],
    [
      "xchg64 gives the old value",
      5n,
      9n,
      [asm.stdw([r10, -8], 7), asm.xchg64([r10, -8], r2), mov(r0, r2)],
      7n,
    ],
    [
      "cmpxchg64 gives the old value in r0",
      5n,
      9n,
      [asm.stdw([r10, -8], 7), asm.cmpxchg64([r10, -8], r2)],
      7n,
    ],
    [
      "afadd32 gives the old value, zero-extended",
      0n,
      M,
      [asm.stdw([r10, -8], -1), asm.afadd32([r10, -8], r2), mov(r0, r2)],
      0xffff_ffffn,
    ],
    ["stdw sign-extends", 0n, 0n, [asm.stdw([r10, -8], -2), asm.ldxdw(r0, [r10, -8])], -2n],
    [
      "stb takes 255",
      0n,
      0n,
      [asm.stdw([r10, -8], 0), asm.stb([r10, -8], 255), asm.ldxb(r0, [r10, -8])],
      255n,
    ],
    ["ldxsb extends the sign", 0n, 0n, [asm.stb([r10, -8], 255), asm.ldxsb(r0, [r10, -8])], -1n],
    ["load-acquire", 0n, 0n, [asm.stdw([r10, -8], 3), asm.mov(r1, r10), asm.ldacqdw(r0, [r1, -8])], 3n],
    ["store-release", 0n, 4n, [asm.streldw([r10, -8], r2), asm.ldxdw(r0, [r10, -8])], 4n],
  ] as const)("%s", (_name, left, right, insns, expected) => {
    expect(compute(left, right, insns)).toBe(BigInt.asUintN(64, expected));
  });
});

describeKernel("printk", () => {
  const setUp = (register: WritableRegister) => mov(register, 42);

  it.each([
    ["plain", printk("plain")],
    ["100%%", printk("100%%")],
    ["%d", printk("%d", r6)],
    ["%05llu %-4x|%+d", printk("%05llu %-4x|%+d", r6, r6, r6)],
    ["%lx %ld %X", printk("%lx %ld %X", r6, r6, r6)],
    ["%c%c%i", printk("%c%c%i", r6, r6, r6)],
    ["%p %px %pK", printk("%p %px %pK", r10, r10, r10)],
    ["%pS %ps %pB", printk("%pS %ps %pB", r6, r6, r6)],
    ["%s", printk("%s", r6)],
    ["%pks and %pus.", printk("%pks and %pus.", r6, r6)],
    ["%pI4 %pi6", printk("%pI4 %pi6", r10, r10)],
  ])("the kernel prints what it lets through: %s", (_format, insns) => {
    using prog = BpfProgram.load(xdp("printk", { entry: [setUp(r6), ...insns, exit()] }));
    expect(prog.testRun(PACKET).retval | 0).toBeGreaterThanOrEqual(0); // -22 where it refuses the format
  });
});

describeKernel("a loaded program's dump", () => {
  it("is decoded and put into words, whatever the verifier has made of it", () => {
    const map = (name: string, type: "array" | "hash" | "percpu_array", maxEntries = 4) =>
      mapDef({ name, type, key: u32, value: u64, maxEntries });
    const [many, one, hash, perCpu] = [
      map("many", "array"),
      map("one", "array", 1),
      map("hash", "hash"),
      map("per_cpu", "percpu_array"),
    ];
    const tails = mapDef({ name: "tails", type: "prog_array", key: u32, value: u32, maxEntries: 1 });
    const lookUp = (definition: Parameters<typeof mapFd>[0]) => [
      ...[stw([r10, -4], 1), lddw(r1, mapFd(definition)), mov(r2, r10), asm.add(r2, -4)],
      call(bpf_map_lookup_elem),
    ];
    const once = subprogram("once", { entry: [mov(r0, 0), exit()] });
    const find = subprogram("find", {
      entry: [...lookUp(hash), jeq(r0, 0, "out"), asm.ldxdw(r0, [r0, 0])],
      out: [exit()],
    });
    const program = xdp("dump", {
      entry: [mov(r6, r1), ...lookUp(many), jeq(r0, 0, "second"), mov(r1, 1), asm.aadd64([r0, 0], r1)],
      second: [
        ...lookUp(perCpu),
        call(bpf_get_prandom_u32),
        ldxw(r2, [r6, 0]),
        mov32(r1, r0),
        asm.mod32(r1, 7),
      ],
      third: [call(find), lddw(r1, mapValue(one, 4)), ldxw(r1, [r1, 0]), asm.div(r0, r1), asm.smod(r0, r1)],
      fourth: [mov(r1, 4), lddw(r2, callback(once)), mov(r3, 0), mov(r4, 0), call(bpf_loop)],
      loop: [mayGoto("out"), call(bpf_get_prandom_u32), asm.jne(r0, 9, "loop")],
      out: [mov(r1, r6), lddw(r2, mapFd(tails)), mov(r3, 0), call(bpf_tail_call), mov32(r0, 2), exit()],
    });
    const maps = [many, one, hash, perCpu, tails].map((definition: MapDef) => BpfMap.create(definition));
    try {
      using prog = BpfProgram.load(program, { maps });
      const bytes = prog.xlated() ?? new Uint8Array();
      const insns = decode(bytes, { form: "xlated" });
      expect(asm.encode(insns)).toEqual(bytes);
      const ids = new Map(maps.map((created) => [created.info().id, created.info().name]));
      const text = disassemble(insns, { form: "xlated", names: { map: (id) => ids.get(id) } }).map(
        (line) => line.text,
      );
      expect(text.filter((line) => line.includes("BUG"))).toEqual([]);
      for (const expected of ["map[id:hash]", "map[id:one][0]+4", "map[id:tails]"]) {
        expect(text.some((line) => line.includes(expected))).toBe(true);
      }
    } finally {
      for (const created of maps) created.close();
    }
  });
});
