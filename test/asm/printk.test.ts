import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  assemble,
  type Endian,
  encode,
  exit,
  type Insn,
  printk,
  printkAt,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r6,
  r7,
  r8,
  r9,
  r10,
  xdp,
} from "../../src/asm/index.ts";

/** Runs the moves, additions and stores of a printk: registers and the stack at the call. */
function atTheCall(
  insns: readonly Insn[],
  endian: Endian = "little",
): { readonly registers: number[]; readonly stack: Uint8Array } {
  const registers = Array.from({ length: 11 }, (_, index) => 100 + index);
  registers[10] = 512;
  const stack = new Uint8Array(512).fill(0xee);
  const view = new DataView(stack.buffer);
  for (const { code, dst_reg, src_reg, off, imm } of insns) {
    const dst = registers[dst_reg] ?? 0;
    if (code === 0x85) return { registers, stack };
    else if (code === 0xbf) registers[dst_reg] = registers[src_reg] ?? 0;
    else if (code === 0xb4) registers[dst_reg] = imm;
    else if (code === 0x07) registers[dst_reg] = dst + imm;
    else if (code === 0x62) view.setInt32(dst + off, imm, endian === "little");
    else throw new Error(`printk used code ${code}`);
  }
  throw new Error("no call");
}

function lines(insns: readonly Insn<never, "bpf_trace_printk">[], endian: Endian): readonly Insn[] {
  return assemble(xdp("p", { entry: [...insns, exit()] }), { endian }).lines.map(({ insn }) => insn);
}

describe("the format", () => {
  it.each(["little", "big"] as const)(
    "stands in memory as text with its NUL, on %s-endian machines",
    (endian) => {
      for (const format of ["", "a", "abc", "abcd", "[XDP       ] cpu=%%\n"]) {
        const { registers, stack } = atTheCall(lines(printk(format), endian), endian);
        const [start = 0, size = 0] = registers.slice(1, 3);
        expect(new TextDecoder().decode(stack.subarray(start, start + size))).toBe(`${format}\0`);
        expect(size).toBe(format.length + 1);
        expect(start + size + ((4 - (size % 4)) % 4)).toBe(512);
      }
    },
  );

  it("can stand lower in the stack, and leaves what is above it", () => {
    const { registers, stack } = atTheCall(printkAt(-16, "hello"));
    expect(registers[1]).toBe(512 - 24);
    expect(new TextDecoder().decode(stack.subarray(488, 496))).toBe("hello\0\0\0");
    expect(stack.subarray(496)).toEqual(new Uint8Array(16).fill(0xee));
  });

  it("takes one instruction for 4 bytes", () => {
    expect(printk("[XDP       ] cpu=%d\n", r6).length).toBe(6 + 1 + 4);
    expect(encode(printk("hi")).length / 8).toBe(1 + 4);
  });

  it.each([
    "%d",
    "%i",
    "%u",
    "%x",
    "%X",
    "%ld",
    "%llu",
    "%llx",
    "%c",
    "%s",
    "%p",
    "%pK",
    "%px",
    "%ps",
    "%pS",
    "%pB",
    "%pks",
    "%pus",
    "%pI4",
    "%pi4",
    "%pI6",
    "%pi6",
    "%5d",
    "%-5d",
    "%05llu",
    "%+d",
    "%p!",
    "%s,",
  ])("takes %s", (format) => {
    expect(() => printk(format, r6)).not.toThrow();
  });

  it("does not count %%", () => {
    expect(() => printk("%d%% of %d", r6, r7)).not.toThrow();
  });
});

describe("the arguments", () => {
  it("arrive in r3 to r5, whatever registers they come from", () => {
    const register = fc.constantFrom(r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10);
    fc.assert(
      fc.property(fc.array(register, { maxLength: 3 }), (args) => {
        const { registers } = atTheCall(printk("%d".repeat(args.length), ...args));
        const expected = args.map(({ number }) => (number === 10 ? 512 : 100 + number));
        expect(registers.slice(3, 3 + args.length)).toEqual(expected);
        expect(registers.slice(6, 10)).toEqual([106, 107, 108, 109]);
      }),
      { numRuns: 2_000 },
    );
  });

  it("need no move where they are in their place", () => {
    expect(printk("%d%d%d", r3, r4, r5).length).toBe(printk("xxxxxx").length);
    expect(printk("%d%d", r4, r3).length).toBe(printk("xxxx").length + 3);
  });
});
