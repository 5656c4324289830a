import {
  BPF_ABS,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_CMPXCHG,
  BPF_DIV,
  BPF_END,
  BPF_EXIT,
  BPF_FETCH,
  BPF_IND,
  BPF_JA,
  BPF_JCOND,
  BPF_JMP,
  BPF_JMP32,
  BPF_LD,
  BPF_LDX,
  BPF_LOAD_ACQ,
  BPF_MEM,
  BPF_MEMSX,
  BPF_MOD,
  BPF_MOV,
  BPF_NEG,
  BPF_ST,
  BPF_STORE_REL,
  BPF_TO_BE,
  BPF_X,
  BPF_XCHG,
} from "../uapi/bpf.ts";
import { LDDW } from "./encode.ts";
import type { Insn } from "./insn.ts";
import { signed } from "./number-text.ts";
import { ALU_OPERATORS, ATOMIC_NAMES, JUMP_OPERATORS, modeOf, opOf, SIZE_BITS, sizeOf } from "./opcode.ts";

/**
 * An instruction in the words of LLVM 19 and newer with 32-bit registers on (`-mcpu=v4`), which `llvm-mc` assembles
 * again. What LLVM has no words for becomes `<unknown>`, as in `llvm-objdump`.
 *
 * @param name - of the label, callee or address that it refers to, printed behind it.
 */
export function llvmText(insn: Insn, name: string | undefined): string {
  const text = plainText(insn);
  const helper = insn.code === (BPF_JMP | BPF_CALL) && insn.src_reg === 0;
  return name === undefined || helper ? text : `${text} <${name}>`;
}

const UNKNOWN = "<unknown>";

function plainText(insn: Insn): string {
  switch (insn.code & 0x07) {
    case BPF_ALU:
    case BPF_ALU64:
      return arithmeticText(insn);
    case BPF_JMP:
    case BPF_JMP32:
      return jumpText(insn);
    case BPF_LD:
      return loadConstantText(insn);
    default:
      return memoryText(insn);
  }
}

function arithmeticText({ code, dst_reg, src_reg, off, imm }: Insn): string {
  const wide = (code & 0x07) === BPF_ALU64;
  const op = opOf(code);
  const r = wide ? "r" : "w";
  if (op === BPF_END) {
    const order = wide ? "bswap" : (code & BPF_X) === BPF_TO_BE ? "be" : "le";
    return `r${dst_reg} = ${order}${imm} r${dst_reg}`;
  }
  if (op === BPF_NEG) return `${r}${dst_reg} = -${r}${dst_reg}`;
  if (code === (BPF_ALU64 | BPF_MOV | BPF_X) && off === BPF_ADDR_SPACE_CAST) {
    return `r${dst_reg} = addr_space_cast(r${src_reg}, ${imm >>> 16}, ${imm & 0xffff})`;
  }
  const operator = ALU_OPERATORS.get(op);
  if (operator === undefined) return UNKNOWN;
  const sign = (op === BPF_DIV || op === BPF_MOD) && off === 1 ? "s" : "";
  const cast = op === BPF_MOV && off !== 0 ? `(s${off})` : "";
  const operand = (code & BPF_X) === 0 ? `${imm}` : `${cast}${r}${src_reg}`;
  return `${r}${dst_reg} ${sign}${operator} ${operand}`;
}

function jumpText({ code, dst_reg, src_reg, off, imm }: Insn): string {
  switch (code) {
    case BPF_JMP | BPF_CALL:
      return `call ${imm}`;
    case BPF_JMP | BPF_CALL | BPF_X:
      return `callx r${dst_reg}`;
    case BPF_JMP | BPF_EXIT:
      return "exit";
    case BPF_JMP | BPF_JA:
      return `goto ${signed(off)}`;
    case BPF_JMP | BPF_JA | BPF_X:
      return `gotox r${dst_reg}`;
    case BPF_JMP32 | BPF_JA:
      return `gotol ${signed(imm)}`;
    case BPF_JMP | BPF_JCOND:
      return `may_goto ${signed(off)}`;
  }
  const r = (code & 0x07) === BPF_JMP32 ? "w" : "r";
  const operator = JUMP_OPERATORS.get(opOf(code));
  if (operator === undefined) return UNKNOWN;
  const operand = (code & BPF_X) === 0 ? `${imm}` : `${r}${src_reg}`;
  return `if ${r}${dst_reg} ${operator} ${operand} goto ${signed(off)}`;
}

function loadConstantText({ code, dst_reg, src_reg, imm, next_imm = 0 }: Insn): string {
  const bits = SIZE_BITS.get(sizeOf(code));
  if (code === LDDW) {
    if (src_reg !== 0) return `ld_pseudo r${dst_reg}, ${src_reg}, ${imm >>> 0}`; // LLVM drops the other half
    return `r${dst_reg} = ${(BigInt(next_imm) << 32n) | BigInt(imm >>> 0)} ll`;
  }
  switch (modeOf(code)) {
    case BPF_ABS:
      return `r0 = *(u${bits} *)skb[${imm}]`;
    case BPF_IND: // LLVM has no words for the constant that may be added to the register
      return imm === 0 ? `r0 = *(u${bits} *)skb[r${src_reg}]` : UNKNOWN;
    default:
      return UNKNOWN;
  }
}

function memoryText(insn: Insn): string {
  const { code, dst_reg, src_reg, off, imm } = insn;
  const bits = SIZE_BITS.get(sizeOf(code));
  const r = bits === 64 ? "r" : "w";
  const at = (base: number): string => `(r${base} ${off < 0 ? "-" : "+"} ${Math.abs(off)})`;
  const mode = modeOf(code);
  switch (code & 0x07) {
    case BPF_LDX:
      if (mode === BPF_MEMSX) return `r${dst_reg} = *(s${bits} *)${at(src_reg)}`;
      return mode === BPF_MEM ? `${r}${dst_reg} = *(u${bits} *)${at(src_reg)}` : UNKNOWN;
    case BPF_ST:
      return mode === BPF_MEM ? `*(u${bits} *)${at(dst_reg)} = ${imm}` : UNKNOWN;
    default:
      if (mode === BPF_MEM) return `*(u${bits} *)${at(dst_reg)} = ${r}${src_reg}`;
      return mode === BPF_ATOMIC ? atomicText(insn) : UNKNOWN;
  }
}

function atomicText({ code, dst_reg, src_reg, off, imm }: Insn): string {
  const bits = SIZE_BITS.get(sizeOf(code));
  const r = bits === 64 ? "r" : "w";
  const place = (base: number): string => `r${base} ${off < 0 ? "-" : "+"} ${Math.abs(off)}`;
  const memory = `(u${bits} *)(${place(dst_reg)})`;
  const suffix = bits === 64 ? "_64" : "32_32";
  switch (imm) {
    case BPF_LOAD_ACQ:
      return `${r}${dst_reg} = load_acquire((u${bits} *)(${place(src_reg)}))`;
    case BPF_STORE_REL:
      return `store_release(${memory}, ${r}${src_reg})`;
    case BPF_XCHG:
      return `${r}${src_reg} = xchg${suffix}(${place(dst_reg)}, ${r}${src_reg})`;
    case BPF_CMPXCHG:
      return `${r}0 = cmpxchg${suffix}(${place(dst_reg)}, ${r}0, ${r}${src_reg})`;
  }
  const op = imm & ~BPF_FETCH;
  const name = ATOMIC_NAMES.get(op);
  if (name === undefined) return UNKNOWN;
  return (imm & BPF_FETCH) === 0
    ? `lock *${memory} ${ALU_OPERATORS.get(op)} ${r}${src_reg}`
    : `${r}${src_reg} = atomic_fetch_${name}(${memory}, ${r}${src_reg})`;
}
