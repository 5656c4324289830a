import { describe, expect, it } from "vitest";
import {
  assemble,
  call,
  callback,
  decode,
  disassemble,
  exit,
  gotol,
  insnText,
  ja,
  jeq,
  jlt32,
  lddw,
  mapDef,
  mapFd,
  mapValue,
  mayGoto,
  mov,
  r0,
  r1,
  r2,
  type SymbolNames,
  subprogram,
  xdp,
} from "../../src/asm/index.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import { bpf_map_lookup_elem } from "../../src/uapi/helpers.ts";
import { fromHex } from "./vectors.ts";

const hits = mapDef({ name: "hits", type: "array", key: u32, value: u64, maxEntries: 1 });
const twice = subprogram("twice", { entry: [mov(r0, r1), exit()] });
const assembled = assemble(
  xdp("sample", {
    entry: [
      jeq(r1, 0, "out"),
      jlt32(r1, r2, "out"),
      mayGoto("out"),
      lddw(r1, mapFd(hits)),
      lddw(r2, mapValue(hits, 4)),
      call(bpf_map_lookup_elem),
      call(twice),
      lddw(r2, callback(twice)),
      ja("more"),
    ],
    more: [gotol("out")],
    out: [exit()],
  }),
);
const insns = assembled.lines.map(({ insn }) => insn);

describe("names that instructions know", () => {
  it("stand in the kernel's words", () => {
    expect(disassemble(insns).map(({ offset, text }) => `${offset}: ${text}`)).toEqual([
      "0: if r1 == 0x0 goto pc+12 <out>",
      "1: if w1 < w2 goto pc+11 <out>",
      "2: may_goto pc+10 <out>",
      "3: r1 = map[fd:hits]",
      "5: r2 = map[fd:hits][0]+4",
      "7: call bpf_map_lookup_elem#1",
      "8: call pc+5#twice",
      "9: r2 = subprog[+4] <twice>",
      "11: goto pc+0 <more>",
      "12: gotol pc+0 <out>",
      "13: exit",
      "14: r0 = r1",
      "15: exit",
    ]);
  });
});

describe("names that somebody else knows", () => {
  const raw = decode(assembled.bytes);
  const names: SymbolNames = {
    label: (offset) =>
      new Map([
        [13, "out"],
        [12, "more"],
        [14, "twice"],
      ]).get(offset),
    map: (fd) => (fd === 0 ? "hits" : undefined),
    kfunc: (id, module) => `kfunc_${id}_${module}`,
  };

  it("stand in the same places", () => {
    expect(disassemble(raw, { names }).map(({ text }) => text)).toEqual(
      disassemble(insns).map(({ text }) => text),
    );
    expect(disassemble(raw, { names, dialect: "llvm" }).map(({ text }) => text)).toEqual(
      disassemble(insns, { dialect: "llvm" }).map(({ text }) => text),
    );
    expect(insnText({ code: 0x85, dst_reg: 0, src_reg: 2, off: 3, imm: 77 }, 0, { names })).toBe(
      "call kfunc_77_3#77",
    );
  });

  it("are missing where nobody knows", () => {
    expect(
      disassemble(raw)
        .map(({ text }) => text)
        .slice(0, 8),
    ).toEqual([
      "if r1 == 0x0 goto pc+12",
      "if w1 < w2 goto pc+11",
      "may_goto pc+10",
      "r1 = map[fd:0]",
      "r2 = map[fd:0][0]+4",
      "call bpf_map_lookup_elem#1",
      "call pc+5",
      "r2 = subprog[+4]",
    ]);
    expect(insnText({ code: 0x85, dst_reg: 0, src_reg: 2, off: 0, imm: 77 })).toBe("call kernel-function#77");
    expect(insnText({ code: 0x85, dst_reg: 0, src_reg: 0, off: 0, imm: 9999 })).toBe("call unknown#9999");
    const helper = (distance: number) => (distance === 9999 ? "bpf_ktime_get_ns" : undefined);
    expect(
      insnText({ code: 0x85, dst_reg: 0, src_reg: 0, off: 0, imm: 9999 }, 0, { names: { helper } }),
    ).toBe("call bpf_ktime_get_ns#9999");
    expect(insnText({ code: 0x85, dst_reg: 0, src_reg: 0, off: 0, imm: -1 })).toBe("call unknown#-1");
  });
});

describe("a dump of a loaded program", () => {
  it.each([
    ["18 11 00 00 0e 00 00 00 00 00 00 00 00 00 00 00", "r1 = map[id:14]"],
    ["18 21 00 00 0e 00 00 00 00 00 00 00 08 00 00 00", "r1 = map[id:14][0]+8"],
    ["18 31 00 00 00 10 00 00 00 00 00 00 ff ff ff ff", "r1 = 0xffffffff00001000"],
    ["85 10 05 00 01 00 00 00", "call pc+5"],
    ["e5 10 05 00 01 00 00 00", "call pc+5"],
    ["f5 00 00 00 00 00 00 00", "call bpf_tail_call#12"],
    ["c2 00 00 00 00 00 00 00", "nospec"],
    ["bf 21 ff ff 00 00 00 00", "r1 = &(void __percpu *)(r2)"],
    ["39 21 08 00 00 00 00 00", "r1 = *(u64 *)(r2 +8)"],
    ["41 21 08 00 00 00 00 00", "r1 = *(s32 *)(r2 +8)"],
    ["a3 21 08 00 00 00 00 00", "*(u32 *)(r1 +8) = r2"],
    ["a2 01 08 00 07 00 00 00", "*(u32 *)(r1 +8) = 7"],
    ["fb 21 08 00 00 00 00 00", "lock *(u64 *)(r1 +8) += r2"],
    ["bc 1b 00 00 00 00 00 00", "w11 = w1"],
  ])("%s: %s", (hex, text) => {
    const [insn] = decode(fromHex(hex), { form: "xlated" });
    expect(insn && insnText(insn, 0, { form: "xlated" })).toBe(text);
  });
});

describe("what is no instruction", () => {
  it("gets the kernel's word for it, and never an exception", () => {
    const fields = { dst_reg: 15, src_reg: 15, off: -1, imm: -1 };
    const texts = Array.from({ length: 256 }, (_, code) => insnText({ code, ...fields, next_imm: -1 }));
    expect(texts.every((text) => text.length > 0 && !text.includes("undefined"))).toBe(true);
    for (const [code, text] of [
      [0x00, "BUG_ld_00"],
      [0x21, "r15 = *(u32 *)(r15 -1)"],
      [0xe1, "BUG_ldx_e1"],
      [0x22, "BUG_st_22"],
      [0x03, "BUG_03"],
      [0xc3, "BUG_c3"],
      [0xe4, "BUG_e4"],
    ] as const) {
      expect(texts[code]).toBe(text);
    }
    for (let code = 0; code < 256; code++) {
      const text = insnText({ code, ...fields, next_imm: -1 }, 0, { dialect: "llvm" });
      expect(text.length > 0 && !text.includes("undefined")).toBe(true);
    }
  });
});
