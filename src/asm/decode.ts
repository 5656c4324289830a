import {
  BPF_ABS,
  BPF_ADD,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_AND,
  BPF_ATOMIC,
  BPF_B,
  BPF_CALL,
  BPF_CMPXCHG,
  BPF_DIV,
  BPF_DW,
  BPF_END,
  BPF_EXIT,
  BPF_FETCH,
  BPF_H,
  BPF_IMM,
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
  BPF_OR,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  BPF_ST,
  BPF_STORE_REL,
  BPF_X,
  BPF_XCHG,
  BPF_XOR,
} from "../uapi/bpf.ts";
import { type Endian, INSN_SIZE, LDDW } from "./encode.ts";
import { DecodeError } from "./errors.ts";
import type { Insn } from "./insn.ts";
import {
  BPF_ADDR_PERCPU,
  BPF_NOSPEC,
  BPF_PROBE_ATOMIC,
  BPF_PROBE_MEM,
  BPF_PROBE_MEM32,
  BPF_PROBE_MEM32SX,
  BPF_PROBE_MEMSX,
  BPF_TAIL_CALL,
  type InsnForm,
  modeOf,
  opOf,
  sizeOf,
} from "./opcode.ts";

/** Options of {@link decode}. */
export interface DecodeOptions {
  /** Byte order of the machine that the program is for; default little. */
  readonly endian?: Endian;
  /** Default `uapi`. */
  readonly form?: InsnForm;
}

/**
 * Decodes instructions, and refuses whatever is not one: RFC 9669 and the additions up to Linux 7.2 (load-acquire,
 * store-release, `may_goto`, `addr_space_cast`, `gotox`), with every reserved field zero, as the verifier asks.
 * The opposite of `encode`: `encode(decode(bytes))` is `bytes`. It looks at each instruction alone; whether jumps stay
 * inside the program is not its business.
 *
 * @throws DecodeError that names the byte offset and what is wrong there.
 */
export function decode(bytes: Uint8Array, options: DecodeOptions = {}): Insn<never, never>[] {
  const { endian = "little", form = "uapi" } = options;
  const little = endian === "little";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const insns: Insn<never, never>[] = [];
  let at = 0;
  while (at + INSN_SIZE <= bytes.length) {
    const insn = readWord(view, at, little);
    const wrong = problem(insn, form === "xlated");
    if (wrong !== undefined) throw new DecodeError(wrong, at, bytes);
    if (insn.code === LDDW) {
      const second = readSecondWord(view, at + INSN_SIZE, little, bytes);
      if (second.imm !== 0 && form === "uapi" && !TAKES_NEXT_IMM.has(insn.src_reg)) {
        const reason = `the imm of the second word of lddw with src_reg ${insn.src_reg} is reserved, and it is ${second.imm}`;
        throw new DecodeError(reason, at + INSN_SIZE, bytes);
      }
      insns.push({ ...insn, next_imm: second.imm });
      at += 2 * INSN_SIZE;
    } else {
      insns.push(insn);
      at += INSN_SIZE;
    }
  }
  if (at !== bytes.length) {
    throw new DecodeError(
      `${bytes.length - at} bytes are left, and an instruction takes ${INSN_SIZE}`,
      at,
      bytes,
    );
  }
  return insns;
}

function readWord(view: DataView, at: number, little: boolean): Insn<never, never> {
  const registers = view.getUint8(at + 1);
  const low = registers & 0x0f;
  const high = registers >> 4;
  return {
    code: view.getUint8(at),
    dst_reg: little ? low : high,
    src_reg: little ? high : low,
    off: view.getInt16(at + 2, little),
    imm: view.getInt32(at + 4, little),
  };
}

function readSecondWord(view: DataView, at: number, little: boolean, bytes: Uint8Array): Insn {
  if (at + INSN_SIZE > bytes.length) {
    const first = at - INSN_SIZE;
    throw new DecodeError("lddw takes two words, and the bytes end inside it", first, bytes);
  }
  const word = readWord(view, at, little);
  if (word.code !== 0 || word.dst_reg !== 0 || word.src_reg !== 0 || word.off !== 0) {
    throw new DecodeError("the second word of lddw holds more than its imm", at, bytes);
  }
  return word;
}

// What lddw loads with these sources is 64 bits, or a number in each word; with the others the second word is reserved.
// A dump of a loaded program has the index of the function there for a callback.
const TAKES_NEXT_IMM: ReadonlySet<number> = new Set([
  0,
  BPF_PSEUDO_MAP_VALUE,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_BTF_ID,
]);

/** What is wrong with an instruction word, in words; `undefined` where it is an instruction. */
function problem(insn: Insn, xlated: boolean): string | undefined {
  switch (insn.code & 0x07) {
    case BPF_ALU:
    case BPF_ALU64:
      return arithmeticProblem(insn, xlated) ?? noSuchRegister(insn, xlated);
    case BPF_JMP:
    case BPF_JMP32:
      return jumpProblem(insn, xlated) ?? noSuchRegister(insn, xlated);
    case BPF_LD:
      return loadConstantProblem(insn) ?? noSuchRegister(insn, xlated);
    default:
      return memoryProblem(insn, xlated) ?? noSuchRegister(insn, xlated);
  }
}

/** Fields that are no registers, because they are reserved or hold a sub-code, are small numbers once checked. */
function noSuchRegister({ dst_reg, src_reg }: Insn, xlated: boolean): string | undefined {
  const last = xlated ? 11 : 10; // the verifier's own patches use r11
  if (dst_reg > last) return `dst_reg is ${dst_reg}, and there is no register r${dst_reg}`;
  return src_reg > last ? `src_reg is ${src_reg}, and there is no register r${src_reg}` : undefined;
}

function arithmeticProblem(insn: Insn, xlated: boolean): string | undefined {
  const { code, off, imm } = insn;
  const op = opOf(code);
  const wide = (code & 0x07) === BPF_ALU64;
  const fromRegister = (code & BPF_X) !== 0;
  switch (op) {
    case BPF_END:
      if (wide && fromRegister) return unknown(insn, "operation of class ALU64");
      if (imm !== 16 && imm !== 32 && imm !== 64) return `a byte swap of ${imm} bits: it is 16, 32 or 64`;
      return reserved(insn, "src_reg", "off");
    case BPF_NEG:
      if (fromRegister) return unknown(insn, "operation");
      return reserved(insn, "src_reg", "off", "imm");
    case BPF_MOV:
      if (!fromRegister) return reserved(insn, "src_reg", "off");
      if (wide && off === BPF_ADDR_SPACE_CAST) return undefined;
      if (wide && off === BPF_ADDR_PERCPU && xlated) break;
      if (off !== 0 && off !== 8 && off !== 16 && !(wide && off === 32)) {
        return `off is ${off}: a ${wide ? 64 : 32}-bit move extends the sign of ${wide ? "8, 16 or 32" : "8 or 16"} bits`;
      }
      break;
    case BPF_DIV:
    case BPF_MOD:
      if (off !== 0 && off !== 1) return `off is ${off}: a division is unsigned (0) or signed (1)`;
      break;
    default:
      if (op > BPF_END) return unknown(insn, "operation");
      if (off !== 0) return reserved(insn, "off");
  }
  return reserved(insn, fromRegister ? "imm" : "src_reg");
}

function jumpProblem(insn: Insn, xlated: boolean): string | undefined {
  const { code, src_reg } = insn;
  const narrow = (code & 0x07) === BPF_JMP32;
  const fromRegister = (code & BPF_X) !== 0;
  switch (opOf(code)) {
    case BPF_JA:
      if (narrow && fromRegister) return unknown(insn, "operation of class JMP32");
      if (fromRegister) return reserved(insn, "src_reg", "off", "imm"); // gotox
      return reserved(insn, "dst_reg", "src_reg", narrow ? "off" : "imm");
    case BPF_CALL:
      return narrow ? unknown(insn, "operation of class JMP32") : callProblem(insn, xlated);
    case BPF_EXIT:
      if (narrow || fromRegister) return unknown(insn, "operation");
      return reserved(insn, "dst_reg", "src_reg", "off", "imm");
    case BPF_JCOND:
      if (narrow || fromRegister) return unknown(insn, "operation");
      if (xlated && src_reg === BPF_PSEUDO_CALL) return reserved(insn, "dst_reg"); // a call of the interpreter
      if (src_reg !== 0) return `src_reg is ${src_reg}: the only jump of this kind is may_goto (0)`;
      return reserved(insn, "dst_reg", "imm");
    case BPF_TAIL_CALL:
      return xlated && !narrow && !fromRegister ? undefined : unknown(insn, "operation");
    default:
      return fromRegister ? reserved(insn, "imm") : reserved(insn, "src_reg");
  }
}

function callProblem(insn: Insn, xlated: boolean): string | undefined {
  const { code, src_reg } = insn;
  if ((code & BPF_X) !== 0) return reserved(insn, "src_reg", "off", "imm"); // callx
  if (src_reg > BPF_PSEUDO_KFUNC_CALL) {
    return `src_reg is ${src_reg}: a call is of a helper (0), a function of the program (1) or a kernel function (2)`;
  }
  // A kernel function of a module has the index of the module's BTF in off; a dump keeps distances there.
  const usesOff = xlated || src_reg === BPF_PSEUDO_KFUNC_CALL;
  return reserved(insn, "dst_reg") ?? (usesOff ? undefined : reserved(insn, "off"));
}

function loadConstantProblem(insn: Insn): string | undefined {
  const { code, src_reg } = insn;
  const size = sizeOf(code);
  switch (modeOf(code)) {
    case BPF_IMM:
      if (size !== BPF_DW) return unknown(insn, "size of a 64-bit immediate load");
      if (src_reg > BPF_PSEUDO_MAP_IDX_VALUE) return `src_reg is ${src_reg}: the sources of lddw are 0 to 6`;
      return reserved(insn, "off");
    case BPF_ABS:
      if (size === BPF_DW) return unknown(insn, "size of a packet load");
      return reserved(insn, "dst_reg", "src_reg", "off");
    case BPF_IND:
      if (size === BPF_DW) return unknown(insn, "size of a packet load");
      return reserved(insn, "dst_reg", "off");
    default:
      return unknown(insn, "mode of class LD");
  }
}

function memoryProblem(insn: Insn, xlated: boolean): string | undefined {
  const { code } = insn;
  const opClass = code & 0x07;
  const mode = modeOf(code);
  const size = sizeOf(code);
  const plain = mode === BPF_MEM || (xlated && mode === BPF_PROBE_MEM32);
  switch (opClass) {
    case BPF_LDX: {
      const signed =
        mode === BPF_MEMSX || (xlated && (mode === BPF_PROBE_MEMSX || mode === BPF_PROBE_MEM32SX));
      if (signed && size === BPF_DW) return unknown(insn, "size of a sign-extending load");
      if (!plain && !signed && !(xlated && mode === BPF_PROBE_MEM)) return unknown(insn, "mode of class LDX");
      return reserved(insn, "imm");
    }
    case BPF_ST:
      if (xlated && code === (BPF_ST | BPF_NOSPEC)) return reserved(insn, "dst_reg", "src_reg", "off", "imm");
      if (!plain) return unknown(insn, "mode of class ST");
      return reserved(insn, "src_reg");
    default:
      if (mode === BPF_ATOMIC || (xlated && mode === BPF_PROBE_ATOMIC)) {
        return atomicProblem(insn);
      }
      if (!plain) return unknown(insn, "mode of class STX");
      return reserved(insn, "imm");
  }
}

const FETCHABLE: ReadonlySet<number> = new Set([BPF_ADD, BPF_OR, BPF_AND, BPF_XOR]);

function atomicProblem(insn: Insn): string | undefined {
  const { code, imm } = insn;
  const size = sizeOf(code);
  if (imm === BPF_LOAD_ACQ || imm === BPF_STORE_REL) return undefined;
  if (imm !== BPF_XCHG && imm !== BPF_CMPXCHG && !FETCHABLE.has(imm & ~BPF_FETCH)) {
    return `imm is ${hex(imm)}, which is not an atomic operation`;
  }
  if (size === BPF_B || size === BPF_H) {
    return "an atomic operation on 1 or 2 bytes: only load-acquire and store-release can do that";
  }
  return undefined;
}

type Field = "dst_reg" | "src_reg" | "off" | "imm";

/** The complaint about the first of these fields that is not zero. */
function reserved(insn: Insn, ...fields: readonly Field[]): string | undefined {
  for (const field of fields) {
    if (insn[field] === 0) continue;
    return `code ${hex(insn.code)} has ${field} reserved: it must be 0, and it is ${insn[field]}`;
  }
  return undefined;
}

function unknown(insn: Insn, what: string): string {
  return `code ${hex(insn.code)} is no instruction: unknown ${what}`;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(2, "0")}`;
}
