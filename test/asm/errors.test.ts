import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  AssembleError,
  add,
  addrSpaceCast,
  assemble,
  call,
  div,
  encode,
  exit,
  type Insn,
  insn,
  ja,
  jeq,
  lddw,
  ldxw,
  lsh,
  lsh32,
  mapDef,
  mapIndex,
  mapIndexValue,
  mapValue,
  mod32,
  mov,
  mov32,
  type Program,
  printk,
  printkAt,
  program,
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r6,
  r9,
  stb,
  stdw,
  sth,
  stw,
  stxdw,
  subprogram,
  xdp,
} from "../../src/asm/index.ts";
import { TsbpfError } from "../../src/base/error.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";

const here = fileURLToPath(import.meta.url);
const lines = readFileSync(here, "utf8").split("\n");

/** The error that a call throws. */
function errorOf(run: () => unknown): AssembleError {
  try {
    run();
  } catch (error) {
    if (error instanceof AssembleError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** A line of this file that an error points at. */
function sourceText({ place: { source } }: AssembleError): string {
  expect(source?.file).toBe(here);
  return (lines[(source?.line ?? 0) - 1] ?? "").slice((source?.column ?? 0) - 1);
}

const config = mapDef({ name: "config", type: "array", key: u32, value: u64, maxEntries: 1 });
const many = { ...config, name: "many", maxEntries: 2 };
const wide = "\n  Load a wider constant into a register with lddw, and use the register.";
const wideStore = "\n  Load a wider constant into a register, and store that with stx.";

describe("a constructor refuses what does not fit, and points at the call", () => {
  // The first line of the message, its hint, and the call, which the error has to point at.
  it.each([
    [
      "imm is 2147483648, which is not an integer from -2147483648 to 2147483647",
      wide,
      () => add(r1, 2_147_483_648),
    ],
    [
      "imm is -2147483649, which is not an integer from -2147483648 to 2147483647",
      wide,
      () => mov(r1, -2_147_483_649),
    ],
    [
      "imm is 4294967296, which is not an integer from -2147483648 to 4294967295",
      wide,
      () => mov32(r1, 4_294_967_296),
    ],
    ["imm is 1.5, which is not an integer from -2147483648 to 2147483647", wide, () => add(r1, 1.5)],
    ["imm is NaN, which is not an integer from -2147483648 to 2147483647", wide, () => add(r1, Number.NaN)],
    [
      "imm is 4294967295, which is not an integer from -2147483648 to 2147483647",
      wide,
      () => jeq(r1, 0xffff_ffff, "x"),
    ],
    ["shift count is 64, which is not an integer from 0 to 63", "", () => lsh(r1, 64)],
    ["shift count is 32, which is not an integer from 0 to 31", "", () => lsh32(r1, 32)],
    ["shift count is -1, which is not an integer from 0 to 63", "", () => lsh(r1, -1)],
    ["the divisor is the constant 0", "", () => div(r1, 0)],
    ["the divisor is the constant 0", "", () => mod32(r1, 0)],
    ["off is 32768, which is not an integer from -32768 to 32767", "", () => ldxw(r1, [r2, 32_768])],
    ["off is -32769, which is not an integer from -32768 to 32767", "", () => stxdw([r2, -32_769], r1)],
    ["imm is 256, which is not an integer from -128 to 255", wideStore, () => stb([r2, 0], 256)],
    ["imm is -32769, which is not an integer from -32768 to 65535", wideStore, () => sth([r2, 0], -32_769)],
    [
      "imm is 4294967296, which is not an integer from -2147483648 to 4294967295",
      wideStore,
      () => stw([r2, 0], 2 ** 32),
    ],
    [
      "imm is 2147483648, which is not an integer from -2147483648 to 2147483647",
      wideStore,
      () => stdw([r2, 0], 2 ** 31),
    ],
    ["lddw: 18446744073709551616 does not fit 64 bits", "", () => lddw(r1, 1n << 64n)],
    ["lddw: -9223372036854775809 does not fit 64 bits", "", () => lddw(r1, -(1n << 63n) - 1n)],
    [
      "lddw: 9007199254740992 is not an exact integer",
      "\n  Above 2^53 write a bigint, as in 0xffff_ffff_0000_0000n.",
      () => lddw(r1, 2 ** 53),
    ],
    [
      "offset into the value of map 'config' is 8, which is not an integer from 0 to 7",
      "",
      () => mapValue(config, 8),
    ],
    [
      "map 'many' has 2 entries, and only the value of an array with one is loaded so",
      "\n  Call bpf_map_lookup_elem.",
      () => mapValue(many),
    ],
    ["map index is -1, which is not an integer from 0 to 2147483647", "", () => mapIndex(-1)],
    [
      "offset into the value is -1, which is not an integer from 0 to 2147483647",
      "",
      () => mapIndexValue(0, -1),
    ],
    [
      "address space is 65536, which is not an integer from 0 to 65535",
      "",
      () => addrSpaceCast(r1, r2, 65_536, 0),
    ],
    ["code is 256, which is not an integer from 0 to 255", "", () => insn({ code: 256 })],
    ["dst_reg is 16, which is not an integer from 0 to 15", "", () => insn({ code: 7, dst_reg: 16 })],
    ["src_reg is -1, which is not an integer from 0 to 15", "", () => insn({ code: 7, src_reg: -1 })],
    [
      "next_imm is 4294967296, which is not an integer from -2147483648 to 2147483647",
      "",
      () => insn({ code: 0x18, next_imm: 2 ** 32 }),
    ],
  ])("%s", (message, hint, run) => {
    const error = errorOf(run);
    const { source } = error.place;
    expect(error.message).toBe(`${message}\n  at ${source?.file}:${source?.line}:${source?.column}${hint}`);
    // The name of the function that is called, which the test runner has put into another form: (0, x.add)(...)
    const name = /=>\s*(?:\(0,\s*)?(?:\w+\.)?(\w+)\)?\(/.exec(run.toString())?.[1];
    expect(sourceText(error)).toMatch(new RegExp(`^${name}\\(`));
  });

  it("with an error that is a TsbpfError and has the hint as a field", () => {
    const error = errorOf(() => add(r1, 2 ** 31));
    expect(error).toBeInstanceOf(TsbpfError);
    expect(error.name).toBe("AssembleError");
    expect(error.hint).toBe("Load a wider constant into a register with lddw, and use the register.");
  });
});

describe("printk refuses what the kernel would refuse when the program runs", () => {
  const conversions = "\n  It takes %d %i %u %x %X with l or ll, %c, %s, %p and its kinds, and %%.";
  it.each([
    ['printk: the format "a=%d" has 1 conversions, and 0 arguments follow', "", () => printk("a=%d")],
    ['printk: the format "a" has 0 conversions, and 1 arguments follow', "", () => printk("a", r6)],
    ["printk: 4 arguments, and the kernel prints at most 3", "", () => printk("%d%d%d%d", r6, r6, r6, r6)],
    ["printk: the kernel has no conversion '%f'", conversions, () => printk("%f", r6)],
    ["printk: the kernel has no conversion '%hd'", conversions, () => printk("%hd", r6)],
    ["printk: the kernel has no conversion '%lll'", conversions, () => printk("%llld", r6)],
    ["printk: the kernel has no conversion '%'", conversions, () => printk("100%")],
    ["printk: the kernel has no conversion '%pI5'", conversions, () => printk("%pI5", r6)],
    [
      'printk: the format "caf\u00e9" holds a character that is not printable ASCII',
      "\n  The kernel refuses it when the program runs.",
      () => printk("caf\u00e9"),
    ],
    [
      "printk: the start of the format, from the frame pointer, is -516, which is not an integer from -512 to -4",
      "",
      () => printk("x".repeat(512)),
    ],
    [
      "printk: the format at -6 from the frame pointer is not aligned to 4 bytes",
      "",
      () => printkAt(-2, "abc"),
    ],
  ])("%s", (message, hint, run) => {
    const error = errorOf(run);
    const { source } = error.place;
    expect(error.message).toBe(`${message}\n  at ${source?.file}:${source?.line}:${source?.column}${hint}`);
    expect(sourceText(error)).toMatch(/^printk(At)?\(/);
  });
});

describe("names", () => {
  const objectName = "\n  The kernel takes 1 to 15 letters, digits, '_' and '.'.";
  it.each([
    [
      "'sixteen_letters_' is not a name for a program",
      objectName,
      () => xdp("sixteen_letters_", { a: [exit()] }),
    ],
    ["'' is not a name for a program", objectName, () => xdp("", { a: [exit()] })],
    ["'same-cpu' is not a name for a program", objectName, () => xdp("same-cpu", { a: [exit()] })],
    ["'a b' is not a name for a map", objectName, () => mapDef({ name: "a b", type: "hash", maxEntries: 1 })],
    [
      "'2x' is not a name for a subprogram",
      "\n  Write it as a C identifier.",
      () => subprogram("2x", { a: [exit()] }),
    ],
    [
      "program 'x': a block cannot be named '1'",
      "\n  Begin the name with a letter: order is fall-through.",
      () => xdp("x", { a: [exit()], 1: [exit()] }),
    ],
  ])("%s", (message, hint, run) => {
    expect(errorOf(run).message).toBe(`${message}${hint}`);
  });
});

describe("assembling names program, block, instruction and line", () => {
  type Blocks = Record<string, readonly Insn<never, never>[]>;
  const unchecked = (blocks: Record<string, readonly Insn[]>): Program<"xdp"> =>
    program("xdp", "x", blocks as Blocks);
  const dead = "Jump to it, or remove it: the verifier refuses dead code.";

  it.each([
    {
      program: unchecked({ entry: [mov(r0, 2), ja("nowhere")], out: [exit()] }),
      message: "program 'x', block 'entry', instruction 1: no block is named 'nowhere'",
      hint: "The blocks are 'entry', 'out'.",
      at: 'ja("nowhere")',
    },
    {
      program: unchecked({ entry: [exit()], forgotten: [mov(r0, 111), exit()] }),
      message: "program 'x', block 'forgotten', instruction 0: nothing reaches this block",
      hint: dead,
      at: "mov(r0, 111)",
    },
    {
      program: unchecked({ entry: [exit()], loop: [mov(r0, 112), ja("loop")] }),
      message: "program 'x', block 'loop', instruction 0: nothing reaches this block",
      hint: dead,
      at: "mov(r0, 112)",
    },
    {
      program: unchecked({ entry: [ja("out"), mov(r0, 113)], out: [exit()] }),
      message:
        "program 'x', block 'entry', instruction 1: nothing reaches this instruction: the one before it always jumps or exits",
      hint: "Remove it, or begin a block with it: the verifier refuses dead code.",
      at: "mov(r0, 113)",
    },
    {
      program: unchecked({ entry: [jeq(r1, 0, "entry"), mov(r0, 114)] }),
      message: "program 'x', block 'entry', instruction 1: the function can run off its end here",
      hint: "End the last block with exit() or a jump.",
      at: "mov(r0, 114)",
    },
    {
      program: unchecked({
        entry: [call(subprogram("helper", { entry: [mov(r0, 115)] as Insn<never, never>[] })), exit()],
      }),
      message: "program 'helper', block 'entry', instruction 0: the function can run off its end here",
      hint: "End the last block with exit() or a jump.",
      at: "mov(r0, 115)",
    },
  ])("$message", ({ program, message, hint, at }) => {
    const error = errorOf(() => assemble(program));
    const { source } = error.place;
    expect(error.message).toBe(`${message}\n  at ${here}:${source?.line}:${source?.column}\n  ${hint}`);
    expect(sourceText(error).startsWith(at)).toBe(true);
    expect(error.hint).toBe(hint);
    expect(error.place).toMatchObject({ block: expect.any(String), index: expect.any(Number) });
  });

  it("where there is no instruction to point at", () => {
    expect(errorOf(() => assemble(unchecked({}))).message).toBe("program 'x': it has no blocks");
    expect(errorOf(() => assemble(unchecked({ entry: [] }))).message).toBe(
      "program 'x', block 'entry', instruction 0: the function can run off its end here\n  End the last block with exit() or a jump.",
    );
  });

  it("two functions of one name", () => {
    const one = subprogram("twin", { entry: [exit()] });
    const two = subprogram("twin", { entry: [mov(r0, 1), exit()] });
    expect(errorOf(() => assemble(xdp("x", { entry: [call(one), call(two), exit()] }))).message).toBe(
      "program 'x': two different functions are named 'twin'\n  Rename one of them.",
    );
  });

  it("encode cuts nothing off", () => {
    const bad = { ...mov(r1, 1), off: 40_000 };
    expect(errorOf(() => encode([lddw(r1, 1), bad])).message).toContain(
      'instruction word 2 has a field that does not fit: {"code":183,"dst_reg":1,"src_reg":0,"off":40000,"imm":1}',
    );
    for (const fields of [
      { code: 256 },
      { dst_reg: 16 },
      { src_reg: -1 },
      { imm: 2 ** 31 },
      { next_imm: 0.5 },
    ]) {
      expect(() => encode([{ ...mov(r1, 1), ...fields }])).toThrow(AssembleError);
    }
  });
});

it("registers are as they are named", () => {
  expect([r0, r1, r2, r3, r4, r5, r6, r9].map(({ number }) => number)).toEqual([0, 1, 2, 3, 4, 5, 6, 9]);
});
