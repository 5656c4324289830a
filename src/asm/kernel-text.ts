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
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  BPF_ST,
  BPF_STORE_REL,
  BPF_TO_BE,
  BPF_X,
  BPF_XCHG,
} from "../uapi/bpf.ts";
import { LDDW } from "./encode.ts";
import type { Insn } from "./insn.ts";
import { hex, hex64, signed } from "./number-text.ts";
import {
  ALU_OPERATORS,
  ATOMIC_NAMES,
  BPF_ADDR_PERCPU,
  BPF_NOSPEC,
  BPF_PROBE_ATOMIC,
  BPF_PROBE_MEM,
  BPF_PROBE_MEM32,
  BPF_PROBE_MEM32SX,
  BPF_PROBE_MEMSX,
  BPF_TAIL_CALL,
  type InsnForm,
  JUMP_OPERATORS,
  modeOf,
  opOf,
  SIZE_BITS,
  sizeOf,
} from "./opcode.ts";

/**
 * An instruction in the words of the kernel's `kernel/bpf/disasm.c`, and of bpftool for what that leaves to it (maps,
 * functions). Codes that are no instructions become `BUG_` and the code, as there.
 *
 * @param name - of the label, callee or address that it refers to.
 */
export function kernelText(insn: Insn, form: InsnForm, name: string | undefined): string {
  switch (insn.code & 0x07) {
    case BPF_ALU:
    case BPF_ALU64:
      return arithmeticText(insn);
    case BPF_JMP:
    case BPF_JMP32:
      return jumpText(insn, form, name);
    case BPF_LD:
      return loadConstantText(insn, form, name);
    case BPF_LDX:
      return loadText(insn);
    case BPF_ST:
      return storeConstantText(insn);
    default:
      return modeOf(insn.code) === BPF_ATOMIC || modeOf(insn.code) === BPF_PROBE_ATOMIC
        ? atomicText(insn)
        : storeText(insn);
  }
}

function arithmeticText(insn: Insn): string {
  const { code, dst_reg, src_reg, off, imm } = insn;
  const wide = (code & 0x07) === BPF_ALU64;
  const op = opOf(code);
  const r = wide ? "r" : "w";
  if (op === BPF_END) {
    const order = wide ? "bswap" : (code & BPF_X) === BPF_TO_BE ? "be" : "le";
    return `r${dst_reg} = ${order}${imm} r${dst_reg}`;
  }
  if (op === BPF_NEG) return `${r}${dst_reg} = -${r}${dst_reg}`;
  if (code === (BPF_ALU64 | BPF_MOV | BPF_X)) {
    if (off === BPF_ADDR_SPACE_CAST) {
      return `r${dst_reg} = addr_space_cast(r${src_reg}, ${imm >>> 16}, ${imm & 0xffff})`;
    }
    if (off === BPF_ADDR_PERCPU) return `r${dst_reg} = &(void __percpu *)(r${src_reg})`;
  }
  const operator = ALU_OPERATORS.get(op);
  if (operator === undefined) return bug("", insn);
  const sign = (op === BPF_DIV || op === BPF_MOD) && off === 1 ? "s" : "";
  const cast = op === BPF_MOV && off !== 0 ? `(s${off})` : "";
  const operand = (code & BPF_X) === 0 ? `${imm}` : `${cast}${r}${src_reg}`;
  return `${r}${dst_reg} ${sign}${operator} ${operand}`;
}

function jumpText(insn: Insn, form: InsnForm, name: string | undefined): string {
  const { code, dst_reg, src_reg, off, imm } = insn;
  const r = (code & 0x07) === BPF_JMP32 ? "w" : "r";
  const label = name === undefined ? "" : ` <${name}>`;
  switch (code) {
    case BPF_JMP | BPF_CALL:
      return callText(insn, form, name);
    case BPF_JMP | BPF_CALL | BPF_X:
      return `callx r${dst_reg}`;
    case BPF_JMP | BPF_TAIL_CALL:
      return "call bpf_tail_call#12";
    case BPF_JMP | BPF_EXIT:
      return "exit";
    case BPF_JMP | BPF_JA:
      return `goto pc${signed(off)}${label}`;
    case BPF_JMP | BPF_JA | BPF_X:
      return `gotox r${dst_reg}`;
    case BPF_JMP32 | BPF_JA:
      return `gotol pc${signed(imm)}${label}`;
    case BPF_JMP | BPF_JCOND:
      return src_reg === BPF_PSEUDO_CALL ? callText(insn, form, name) : `may_goto pc${signed(off)}${label}`;
  }
  const operator = JUMP_OPERATORS.get(opOf(code));
  if (operator === undefined) return bug("", insn);
  const operand = (code & BPF_X) === 0 ? hex(imm) : `${r}${src_reg}`;
  return `if ${r}${dst_reg} ${operator} ${operand} goto pc${signed(off)}${label}`;
}

function callText({ src_reg, off, imm }: Insn, form: InsnForm, name: string | undefined): string {
  if (src_reg === BPF_PSEUDO_CALL) {
    return `call pc${signed(form === "xlated" ? off : imm)}${name === undefined ? "" : `#${name}`}`;
  }
  const unnamed = src_reg === BPF_PSEUDO_KFUNC_CALL ? "kernel-function" : "unknown";
  return `call ${name ?? unnamed}#${imm}`;
}

function loadConstantText(insn: Insn, form: InsnForm, name: string | undefined): string {
  const { code, src_reg, imm } = insn;
  const bits = SIZE_BITS.get(sizeOf(code));
  if (code === LDDW) return `r${insn.dst_reg} = ${addressText(insn, form, name)}`;
  switch (modeOf(code)) {
    case BPF_ABS:
      return `r0 = *(u${bits} *)skb[${imm}]`;
    case BPF_IND:
      return `r0 = *(u${bits} *)skb[r${src_reg} + ${imm}]`;
    default:
      return bug("ld_", insn);
  }
}

function addressText({ src_reg, imm, next_imm = 0 }: Insn, form: InsnForm, name: string | undefined): string {
  const by = form === "xlated" ? "id" : "fd";
  const label = name === undefined ? "" : ` <${name}>`;
  switch (src_reg) {
    case BPF_PSEUDO_MAP_FD:
      return `map[${by}:${name ?? imm}]`;
    case BPF_PSEUDO_MAP_VALUE:
      return `map[${by}:${name ?? imm}][0]+${next_imm >>> 0}`;
    case BPF_PSEUDO_MAP_IDX:
      return `map[idx:${imm}]`;
    case BPF_PSEUDO_MAP_IDX_VALUE:
      return `map[idx:${imm}]+${next_imm >>> 0}`; // without [0], as bpftool prints it
    case BPF_PSEUDO_BTF_ID:
      return form === "xlated" ? hex64(imm, next_imm) : `ksym[btf:${name ?? imm}]`;
    case BPF_PSEUDO_FUNC:
      return `subprog[${signed(imm)}]${label}`;
    default:
      return hex64(imm, next_imm);
  }
}

function loadText(insn: Insn): string {
  const { code, dst_reg } = insn;
  const mode = modeOf(code);
  const isSigned = mode === BPF_MEMSX || mode === BPF_PROBE_MEMSX || mode === BPF_PROBE_MEM32SX;
  if (!isSigned && mode !== BPF_MEM && mode !== BPF_PROBE_MEM && mode !== BPF_PROBE_MEM32) {
    return bug("ldx_", insn);
  }
  return `r${dst_reg} = *(${isSigned ? "s" : "u"}${place(insn, insn.src_reg)}`;
}

function storeConstantText(insn: Insn): string {
  const { code, dst_reg, imm } = insn;
  const mode = modeOf(code);
  if (mode === BPF_NOSPEC) return "nospec";
  if (mode !== BPF_MEM && mode !== BPF_PROBE_MEM32) return bug("st_", insn);
  return `*(u${place(insn, dst_reg)} = ${imm}`;
}

function storeText(insn: Insn): string {
  const mode = modeOf(insn.code);
  if (mode !== BPF_MEM && mode !== BPF_PROBE_MEM32) return bug("", insn);
  return `*(u${place(insn, insn.dst_reg)} = r${insn.src_reg}`;
}

function atomicText(insn: Insn): string {
  const { code, dst_reg, src_reg, imm } = insn;
  const wide = SIZE_BITS.get(sizeOf(code)) === 64 ? "64" : "";
  const memory = `(u${place(insn, dst_reg)}`;
  switch (imm) {
    case BPF_LOAD_ACQ:
      return `r${dst_reg} = load_acquire((u${place(insn, src_reg)})`;
    case BPF_STORE_REL:
      return `store_release(${memory}, r${src_reg})`;
    case BPF_XCHG:
      return `r${src_reg} = atomic${wide}_xchg(${memory}, r${src_reg})`;
    case BPF_CMPXCHG:
      return `r0 = atomic${wide}_cmpxchg(${memory}, r0, r${src_reg})`;
  }
  const op = imm & ~BPF_FETCH;
  const name = ATOMIC_NAMES.get(op);
  if (name === undefined) return bug("", insn);
  return (imm & BPF_FETCH) === 0
    ? `lock *${memory} ${ALU_OPERATORS.get(op)} r${src_reg}`
    : `r${src_reg} = atomic${wide}_fetch_${name}(${memory}, r${src_reg})`;
}

/** From the width on: `64 *)(r1 +8)`. */
function place({ code, off }: Insn, base: number): string {
  return `${SIZE_BITS.get(sizeOf(code))} *)(r${base} ${signed(off)})`;
}

function bug(where: string, { code }: Insn): string {
  return `BUG_${where}${code.toString(16).padStart(2, "0")}`;
}
