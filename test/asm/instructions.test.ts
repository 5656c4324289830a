import { describe, expect, it } from "vitest";
import * as asm from "../../src/asm/index.ts";
import { decode, disassemble, encode, insnText } from "../../src/asm/index.ts";
import { build, instructionVectors, toHex } from "./vectors.ts";

describe.each(instructionVectors)("$insn ($distance)", (vector) => {
  it("encodes to the bytes of the specification, in both byte orders", () => {
    expect(toHex(encode([build(vector)]))).toBe(toHex(vector.little));
    expect(toHex(encode([build(vector)], "big"))).toBe(toHex(vector.big));
  });

  it("is decoded from them, and encoded to them again", () => {
    for (const [bytes, endian] of [
      [vector.little, "little"],
      [vector.big, "big"],
    ] as const) {
      const decoded = decode(bytes, { endian });
      const { code, dst_reg, src_reg, off, imm, next_imm } = build(vector);
      const fields = { code, dst_reg, src_reg, off, imm };
      expect(decoded).toEqual([next_imm === undefined ? fields : { ...fields, next_imm }]);
      expect(encode(decoded, endian)).toEqual(bytes);
    }
  });

  it("reads in the kernel's and in LLVM's words", () => {
    const { ref, ...rest } = build(vector);
    const insn = ref?.kind === "label" ? rest : build(vector); // the label L is not part of the rows
    expect(insnText(insn)).toBe(vector.kernel);
    expect(insnText(insn, 0, { dialect: "llvm" })).toBe(vector.llvm);
    expect(disassemble([insn])).toEqual([{ offset: 0, insn, text: vector.kernel }]);
  });
});

// What is exported and is no constructor of instructions.
const OTHERS = new Set([
  ...[
    "assemble",
    "decode",
    "disassemble",
    "encode",
    "formatListing",
    "insnText",
    "listing",
    "setSourceCapture",
  ],
  ...[
    "mapDef",
    "dataDef",
    "program",
    "subprogram",
    "xdp",
    "schedCls",
    "printk",
    "printkAt",
    "wordsOf",
    "insn",
  ],
  ...["AssembleError", "DecodeError"],
]);

it("the table has every constructor", () => {
  const constructors = Object.entries(asm)
    .filter(([name, value]) => typeof value === "function" && !OTHERS.has(name))
    .map(([name]) => name);
  const text = instructionVectors.map(({ insn }) => insn).join("\n");
  expect(constructors.filter((name) => !new RegExp(`(^|[ (])${name}\\(`, "m").test(text))).toEqual([]);
  expect(constructors.length).toBeGreaterThan(130);
});
