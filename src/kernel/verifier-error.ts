import type { Assembled, AssembledInsn } from "../asm/assemble.ts";
import { wordsOf } from "../asm/encode.ts";
import type { SourcePosition } from "../asm/source-position.ts";
import { TsbpfError } from "../base/error.ts";
import { describeErrno, errnoName } from "../syscall/errno.ts";
import { BPF_CALL, BPF_EXIT, BPF_JA, BPF_JMP, BPF_JMP32, BPF_PSEUDO_KFUNC_CALL } from "../uapi/bpf.ts";
import { EACCES, EPERM } from "../uapi/errno.ts";
import { capabilitiesToLoad } from "./needed-capabilities.ts";
import { permissionHint } from "./privileges.ts";
import type { SourceText } from "./source-text.ts";
import type { HintId } from "./verifier/hint.ts";
import { hintFor } from "./verifier/hints.ts";
import { parseVerifierLog, type VerifierLog, type VerifierReport } from "./verifier/log.ts";

/**
 * A program that the kernel's verifier refused.
 *
 * The message has the verifier's words, the lines of TypeScript with the offending one marked, what the verifier knew
 * about the registers that matter there, and what to do about it. The whole log is a field of its own.
 *
 * @example
 * ```text
 * VerifierError: the verifier refused program 'count_bytes': invalid access to packet, off=12 size=2, ...
 *   src/programs/count-bytes.ts:12:5 (block 'entry', instruction 1: r1 = *(u16 *)(r6 +12))
 *     10 | entry: [
 *     11 |   ldxw(r6, [r1, xdp_md.data]),
 *   > 12 |   ldxh(r1, [r6, 12]),
 *        |   ^
 *   registers: r1=ctx() r6=pkt(r=0)
 *   The verifier's whole log, 8 lines, is in the error's property log.
 *   Compare r6 + 14 with data_end first: mov(r4, r6), add(r4, 14), jgt(r4, r3, "out"), with data_end in r3. ...
 * ```
 */
export class VerifierError extends TsbpfError {
  /** Name of the program. */
  readonly program: string;
  /** Errno of the load, such as `EACCES` or `EINVAL`. */
  readonly code: string;
  /** The verifier's reason, in its own words; where it gives none, what the errno means. */
  readonly reason: string;
  /** Whether the verifier gave no reason: it stopped without a word. */
  readonly unexplained: boolean;
  /** Instruction word at which the verifier stopped, or `undefined` where the log names none. */
  readonly insn: number | undefined;
  /** The line of TypeScript that wrote that instruction. */
  readonly source: SourcePosition | undefined;
  /** The text of that line, trimmed; empty where the file cannot be read. */
  readonly sourceText: string;
  /** What the verifier knew there: registers (`r6`), stack slots (`fp-8`), held references (`refs`), in its own words. */
  readonly state: ReadonlyMap<string, string>;
  /** Which of the well-known causes it is, or `undefined`. */
  readonly hintId: HintId | undefined;
  /** The report of kernels from 7.3 on. */
  readonly report: VerifierReport | undefined;
  /** The whole log. Only a kernel before 5.2 cuts it, at 16 MB. */
  readonly log: string;

  /**
   * @param assembled - the program as it was loaded.
   * @param errno - what the load failed with, positive.
   * @param log - what the verifier wrote.
   * @param text - reads the source lines.
   */
  constructor(assembled: Assembled, errno: number, log: string, text: SourceText) {
    const { name } = assembled.program;
    const parsed = located(parseVerifierLog(log), assembled);
    const unexplained = parsed.reason === "";
    const reason = unexplained ? describeErrno(errno) : parsed.reason;
    const line = parsed.insn === undefined ? undefined : lineAt(assembled, parsed.insn);
    const source = line?.insn.source?.position();
    const hint = hintFor({ assembled, log: parsed, line, place: (insn) => placeOf(assembled, insn, text) });
    super(`the verifier refused program '${name}': ${reason}`, {
      details: [...details(assembled, parsed, line, text), logRemark(log, unexplained)].join("\n"),
      hint:
        hint?.text ??
        (parsed.report?.suggestion || (unexplained ? silenceHint(assembled, errno) : undefined)),
    });
    this.unexplained = unexplained;
    this.program = name;
    this.code = errnoName(errno);
    this.reason = reason;
    this.insn = parsed.insn;
    this.source = source;
    this.sourceText = source === undefined ? "" : text.line(source);
    this.state = parsed.state;
    this.hintId = hint?.id;
    this.report = parsed.report;
    this.log = log;
  }
}

/** Lines of the causal path that a message shows: its end is nearest to the refusal. */
const MAX_EVENTS = 6;

function details(
  assembled: Assembled,
  log: VerifierLog,
  line: AssembledInsn | undefined,
  text: SourceText,
): string[] {
  const lines: string[] = [];
  if (line !== undefined) {
    const place = placeOf(assembled, line.offset, text);
    const words = log.insnText === undefined ? "" : `: ${log.insnText}`;
    lines.push(`  ${place} (${whereIn(assembled, line)}, instruction ${line.offset}${words})`);
    const source = line.insn.source?.position();
    if (source !== undefined) lines.push(...text.frame(source).map((row) => `  ${row}`));
  }
  const registers = relevantState(log);
  if (registers.length > 0) lines.push(`  registers: ${registers.join(" ")}`);
  if (log.report !== undefined) {
    if (log.report.reason !== "") lines.push(`  ${log.report.reason}`);
    for (const { insn, text: event } of log.report.path.slice(-MAX_EVENTS)) {
      lines.push(`  - ${insn === undefined ? "" : `${placeOf(assembled, insn, text)} `}${event}`);
    }
  }
  return lines;
}

function logRemark(log: string, unexplained: boolean): string {
  const lines = log.trimEnd().split("\n").length;
  const whole = `The verifier's whole log${lines === 1 ? "" : `, ${lines} lines,`} is in the error's property log`;
  return unexplained ? `  ${whole}, and gives no reason.` : `  ${whole}.`;
}

/** What to do about a refusal without a reason: most are about what the program is loaded for, or who loads it. */
function silenceHint({ program }: Assembled, errno: number): string | undefined {
  return errno === EPERM || errno === EACCES ? permissionHint(capabilitiesToLoad(program.type)) : undefined;
}

function whereIn({ program }: Assembled, line: AssembledInsn): string {
  const block = `block '${line.block}'`;
  return line.function === program.name ? block : `subprogram '${line.function}', ${block}`;
}

/**
 * Finds the instruction where the log does not number it: the first passes over a program only say what they met.
 */
function located(log: VerifierLog, { lines, functions }: Assembled): VerifierLog {
  if (log.insn !== undefined) return log;
  const opcode = /unknown opcode ([0-9a-f]{2})/.exec(log.reason)?.[1];
  const btfId = /kernel btf_id (\d+)/.exec(log.reason)?.[1];
  const openEnd = log.reason.includes("last insn is not an exit or jmp");
  const ends = new Set(functions.map(({ offset, length }) => offset + length));
  const found = lines.find(({ offset, insn }) => {
    if (opcode !== undefined) return insn.code === Number.parseInt(opcode, 16);
    if (openEnd) return ends.has(offset + wordsOf(insn)) && !ENDING.includes(insn.code);
    if (insn.code !== (BPF_JMP | BPF_CALL) || insn.src_reg !== BPF_PSEUDO_KFUNC_CALL) return false;
    return insn.ref?.kind === "kfunc" ? log.reason.includes(insn.ref.name) : String(insn.imm) === btfId;
  });
  return { ...log, insn: found?.offset };
}

/** What a function may end in. */
const ENDING: readonly number[] = [BPF_JMP | BPF_EXIT, BPF_JMP | BPF_JA, BPF_JMP32 | BPF_JA];

/** A place for people: the source line where it is known, else the number of the instruction. */
function placeOf(assembled: Assembled, insn: number, text: SourceText): string {
  const source = lineAt(assembled, insn)?.insn.source?.position();
  if (source === undefined) return `instruction ${insn}`;
  return `${text.fileName(source)}:${source.line}:${source.column}`;
}

/** The instruction that a word belongs to; instructions stand in the order of their offsets. */
function lineAt({ lines }: Assembled, word: number): AssembledInsn | undefined {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lines[middle]?.offset ?? 0) <= word) low = middle + 1;
    else high = middle;
  }
  const line = lines[low - 1];
  return line !== undefined && word < line.offset + wordsOf(line.insn) ? line : undefined;
}

/** The state of what the instruction and the reason name, in the words of the log. */
function relevantState({ reason, insnText = "", state }: VerifierLog): string[] {
  const named = new Set<string>();
  for (const [, number] of `${insnText} ${reason}`.matchAll(/\b[rRw](\d+)\b/g)) named.add(`r${number}`);
  for (const [, offset] of insnText.matchAll(/\br10 ?(-\d+)\)/g)) {
    named.add(`fp${Math.floor(Number(offset) / 8) * 8}`); // the log names whole slots of 8 bytes
  }
  if (insnText.startsWith("call ")) for (const name of ["r1", "r2", "r3", "r4", "r5"]) named.add(name);
  if (/reference/i.test(reason)) named.add("refs");
  const all = /infinite loop|too (?:large|complex)/.test(reason); // what a loop counts may be in any of them
  return [...state]
    .filter(([name]) => all || named.has(name))
    .sort(([a], [b]) => orderOf(a) - orderOf(b))
    .map(([name, value]) => `${name}=${value}`);
}

/** Registers by number, then stack slots from the top down, then references. */
function orderOf(name: string): number {
  const number = Number(/-?\d+$/.exec(name)?.[0] ?? Number.NEGATIVE_INFINITY);
  return number < 0 ? 16 - number : number;
}
