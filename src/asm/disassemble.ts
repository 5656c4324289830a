import {
  BPF_CALL,
  BPF_JA,
  BPF_JMP,
  BPF_JMP32,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
} from "../uapi/bpf.ts";
import { helpers } from "../uapi/helpers.ts";
import { LDDW, wordsOf } from "./encode.ts";
import type { Insn } from "./insn.ts";
import { kernelText } from "./kernel-text.ts";
import { llvmText } from "./llvm-text.ts";
import { type InsnForm, isShortJump } from "./opcode.ts";

/**
 * Whose words a disassembly uses: those of the kernel's verifier log and `bpftool prog dump xlated`
 * (`if w1 > 0x5 goto pc+3`), or those of `llvm-objdump -d --no-print-imm-hex` (`if w1 > 5 goto +3`), which `llvm-mc` and
 * clang's inline assembler read.
 */
export type Dialect = "kernel" | "llvm";

/** Names that the numbers of instructions stand for, where they are known from elsewhere. */
export interface SymbolNames {
  /** Name of what stands at an offset in instruction words: a block or a function. */
  label?(offset: number): string | undefined;
  /** Name of the map with this fd (or, in a dump of a loaded program, this id). */
  map?(fdOrId: number): string | undefined;
  /**
   * Name of the function that a helper call of a dump goes to, by its distance from `__bpf_call_base`: a dump of a loaded
   * program has no helper numbers any more.
   */
  helper?(distance: number): string | undefined;
  /** Name of the kernel function with this BTF id, in the BTF of the module at this index (0 is the kernel). */
  kfunc?(btfId: number, btfIndex: number): string | undefined;
}

/** Options of {@link disassemble}. */
export interface DisassembleOptions {
  /** Default `kernel`. */
  readonly dialect?: Dialect;
  /** Default `uapi`. In a dump of a loaded program (`xlated`) maps are told by id, and calls have their distance in `off`. */
  readonly form?: InsnForm;
  /** Names beside those that the instructions themselves know (labels, helpers, maps, subprograms, kfuncs). */
  readonly names?: SymbolNames;
}

/** An instruction in words. */
export interface DisassembledInsn {
  /** Instruction words before it. */
  readonly offset: number;
  readonly insn: Insn;
  /** Without the code that the kernel prints before it, as in `(b7) `. */
  readonly text: string;
}

/**
 * Puts instructions into words.
 *
 * Where an instruction knows what it refers to (it was assembled here, or `names` tells), the text says so: jumps and
 * `subprog` get the label behind them, as in `goto pc+3 <out>`, maps stand by name, as in `r1 = map[fd:cpus]`. Without
 * names the text of the kernel dialect is the kernel's to the letter, but for the address of a map, in whose place stands
 * `map[fd:5]` or, in a dump, bpftool's `map[id:5]`.
 *
 * @example
 * ```ts
 * for (const { offset, text } of disassemble(decode(code))) console.log(`${offset}: ${text}`);
 * ```
 */
export function disassemble(
  insns: readonly Insn[],
  options: DisassembleOptions = {},
): readonly DisassembledInsn[] {
  let offset = 0;
  return insns.map((insn) => {
    const line = { offset, insn, text: insnText(insn, offset, options) };
    offset += wordsOf(insn);
    return line;
  });
}

/**
 * Puts one instruction into words.
 *
 * @param offset - instruction words before it, from which `names.label` finds the targets of jumps.
 */
export function insnText(insn: Insn, offset = 0, options: DisassembleOptions = {}): string {
  const { dialect = "kernel", form = "uapi", names = {} } = options;
  const name = referenceName(insn) ?? lookedUpName(insn, offset, form, names);
  return dialect === "kernel" ? kernelText(insn, form, name) : llvmText(insn, name);
}

/** Name of the one thing that an instruction refers to (a target, a callee, an address), as the instruction knows it. */
function referenceName({ ref }: Insn): string | undefined {
  switch (ref?.kind) {
    case "label":
    case "kfunc":
    case "ksym":
      return ref.name;
    case "helper":
      return ref.helper.name;
    case "subprogram":
    case "callback":
      return ref.subprogram.name;
    case "map":
      return ref.map.name;
    default:
      return undefined;
  }
}

function lookedUpName(insn: Insn, offset: number, form: InsnForm, names: SymbolNames): string | undefined {
  const { code, src_reg, off, imm } = insn;
  switch (code) {
    case LDDW:
      if (src_reg === BPF_PSEUDO_MAP_FD || src_reg === BPF_PSEUDO_MAP_VALUE) return names.map?.(imm);
      return src_reg === BPF_PSEUDO_FUNC ? names.label?.(offset + 1 + imm) : undefined;
    case BPF_JMP | BPF_CALL:
      if (src_reg === BPF_PSEUDO_CALL) return names.label?.(offset + 1 + (form === "xlated" ? off : imm));
      if (src_reg === BPF_PSEUDO_KFUNC_CALL) return names.kfunc?.(imm, off);
      return helpers[imm]?.name ?? names.helper?.(imm);
    case BPF_JMP32 | BPF_JA:
      return names.label?.(offset + 1 + imm);
    default:
      return isShortJump(code) ? names.label?.(offset + 1 + off) : undefined;
  }
}
