/** What the verifier's log says about a refusal. Every field but `reason` is `undefined` or empty where it does not say. */
export interface VerifierLog {
  /** Why, in the verifier's own words, its lines joined by "; "; empty where the log gives no reason. */
  readonly reason: string;
  /** Instruction word that the reason is about. */
  readonly insn: number | undefined;
  /** That instruction as the verifier prints it, such as `r1 = *(u16 *)(r6 +12)`. */
  readonly insnText: string | undefined;
  /**
   * What the verifier knew when it stopped: registers (`r6`), stack slots (`fp-8`) and held references (`refs`), each in
   * its own words, of the function that it was in.
   */
  readonly state: ReadonlyMap<string, string>;
  /** What calls on the way have made unreadable: registers r1 to r5, and packet pointers where the packet may have moved. */
  readonly lost: ReadonlyMap<string, LostState>;
  /** The report that kernels from 7.3 on append. */
  readonly report: VerifierReport | undefined;
}

/** A register or stack slot whose content a call has taken away. */
export interface LostState {
  /** What it held before, where the log says it. */
  readonly was: string | undefined;
  /** Instruction word of the call. */
  readonly insn: number;
  /** The call as the verifier prints it: `call bpf_xdp_adjust_head#44`. */
  readonly insnText: string;
}

/** The report of a kernel from 7.3 on, the first one where there are several. Paragraphs are joined into one line. */
export interface VerifierReport {
  /** Such as `Register Type Safety: Unreadable register`. */
  readonly problem: string;
  /** Section "Reason". */
  readonly reason: string;
  /** Section "Causal path": what led there, in the order of execution. */
  readonly path: readonly VerifierEvent[];
  /** Section "Suggestion". */
  readonly suggestion: string;
}

/** A step of a {@link VerifierReport}'s causal path. */
export interface VerifierEvent {
  /** Instruction word. */
  readonly insn: number | undefined;
  /** Such as `branch: explored as true, goto followed`. */
  readonly text: string;
}

/**
 * Reads a verifier log, of any kernel: the instruction log with its reason that all of them write, and the report with the
 * sections Reason, At, Causal path and Suggestion that kernel 7.3 appends (kernel/bpf/diagnostics.c).
 *
 * Never throws. The log is free text that changes between kernels: what it does not recognise is taken as part of the
 * reason when it comes after the last instruction, and passed over otherwise. Of a huge log it reads the last megabytes.
 */
export function parseVerifierLog(log: string): VerifierLog {
  const reader = new LogReader();
  const cut = log.length > MAX_READ ? log.indexOf("\n", log.length - MAX_READ) + 1 : 0;
  for (let start = cut; start < log.length; ) {
    const newline = log.indexOf("\n", start);
    const end = newline < 0 ? log.length : newline;
    reader.line(log.slice(start, Math.min(end, start + MAX_LINE)).trimEnd());
    start = end + 1;
  }
  return reader.finish();
}

// A program of a million instructions writes 55 MB. What matters stands at the end, and reading a megabyte takes 70 ms.
const MAX_READ = 0x40_0000;
// The verifier writes at most 1024 bytes at a time (BPF_VERIFIER_TMP_LOG_SIZE); a longer line is nothing that we know.
const MAX_LINE = 4096;
/** How much of a tail that is no known log is still shown as the reason. */
const MAX_REASON_LINES = 4;
const MAX_REASON_LINE = 300;

// `12: (71) r1 = *(u8 *)(r6 +12)         ; R1_w=scalar() R6=pkt(r=14)`; the state is absent before kernel 5.18 or so.
const INSN = /^(\d+): \([0-9a-f]{2}\) ([^;]*)(?:;(.*))?$/;
// State that could not be put behind its instruction: `if r6 != 0x0 goto pc+5 8: R6=ptr_bpf_cpumask(id=2) R10=fp0`.
const STATE_BEHIND = / \d+: ?((?:frame\d+: ?)?(?:R\d|fp-).*)$/;
// The whole state, where another path is taken up: `from 4 to 7: R0=0 R10=fp0`.
const PATH = /^from (\d+) to \d+(?: \(speculative execution\))?: ?(.*)$/;
// `0: R1=ctx() R10=fp0`, ` R0=inv(id=0) R10=fp0` below an instruction of older kernels, and what closes an endless loop.
const STATE = /^(?:\d+:|cur state:)? ?((?:frame\d+: ?)?(?:R\d+(?:_\w+)?=|fp-\d+(?:_\w+)?=).*)$/;

/** The register that an instruction writes: `r1 = ...`, `w2 += ...`. */
const TARGET = /^[rw](\d+) \S*=/;
// Some reasons lack their newline: `expected prog array map for tail callprocessed 3 insns (limit 1000000) ...`.
const STATISTICS = /processed \d+ insns \(limit .*$/;

// Lines that say nothing about why: statistics, the verifier's own bookkeeping, what it learnt about functions.
const NOISE = new RegExp(
  `^ *(?:${[
    "processed \\d+ insns|insns processed |verification time \\d+|stack depth \\d",
    "mark_precise: |propagating |parent (?:state|didn't|already)|last_idx \\d+|(?:frame\\d+: )?regs=",
    "func#\\d+ @|Func#\\d+ |Validating |func '|Live regs before insn:|SCC |subprog#|topo_order",
    "old state:|caller:|callee:|returning from callee:|to caller at |\\d+: safe",
    "arg#\\d+ reference type\\(.*\\) size cannot be determined",
  ].join("|")})`,
);

// Reasons that name the instruction which they are about. (`alloc_insn=3` is where a lost reference came from.)
const REASON_INSN = /\b(?:at|from|unreachable|ldimm64|into) insn (\d+)/;

const REPORT = /^Verification failed: (.*)$/;
const SECTION = /^(Reason|At|Causal path|Suggestion):$/;
const REPORT_INSN = /^ {2}insn (\d+)$/;
// `>>> 12 | ldxh(r1, [r6, 12]),     >>> 7 | (69) r1 = *(u16 *)(r6 +12)`: the instruction is the last one; the text is ours.
const REPORT_FOCUS = /^ +>>> (?:.*>>> )? *(\d+) \| \([0-9a-f]{2}\)/;
const REPORT_EVENT = /^ *\| +(\^-- )?(.*)$/;

// Calls that may move the packet, which makes every pointer into it void (bpf_helper_changes_pkt_data, net/core/filter.c).
const MOVES_PACKET = new RegExp(
  `^call bpf_(?:${[
    "xdp_adjust_(?:head|meta|tail)|xdp_pull_data",
    "skb_(?:store_bytes|change_(?:proto|head|tail)|pull_data|adjust_room|vlan_(?:push|pop))",
    "l[34]_csum_replace|clone_redirect|tail_call|store_hdr_opt",
    "lwt_(?:push_encap|seg6_\\w+)|msg_(?:pull|push|pop)_data",
  ].join("|")})#`,
);

/** What is known of registers and stack slots, by name. */
type State = Map<string, string>;

/** Reads a log line by line. */
class LogReader {
  /** The instruction that the verifier looked at last, and how many it had looked at before. */
  #last: { insn: number; text: string; order: number } | undefined;
  /** Whether what the last instruction overwrites has been forgotten. It is kept where the verifier stops there. */
  #done = true;
  /** State by frame of the call stack; a call of another function pushes one. */
  readonly #frames = new Map<number, State>();
  #frame = 0;
  readonly #lost = new Map<string, LostState & { order: number }>();
  /** The instructions that the log shows, with when they were last looked at. */
  readonly #seen = new Map<number, { text: string; order: number }>();
  #reason: string[] = [];
  #report: ReportReader | undefined;

  line(line: string): void {
    if (line === "" || line.startsWith(";")) return; // source text, ours: anything may stand in it
    if (this.#report?.line(line) === true) return;
    let match = INSN.exec(line);
    if (match !== null) {
      this.#instruction(Number(match[1]), match[2] ?? "", match[3] ?? "");
      return;
    }
    match = PATH.exec(line);
    if (match !== null) {
      this.#path(Number(match[1]), match[2] ?? "");
      return;
    }
    match = STATE.exec(line);
    if (match !== null) {
      this.#finishInstruction();
      this.#state(match[1] ?? "");
      return;
    }
    match = REPORT.exec(line);
    if (match !== null) {
      if (this.#report === undefined) this.#report = new ReportReader(match[1] ?? "");
      else this.#report.close(); // a second report, as of a second lost reference: the first one tells enough
      return;
    }
    if (!NOISE.test(line)) this.#reasonLine(line.replace(STATISTICS, "").trim());
  }

  finish(): VerifierLog {
    const report = this.#report?.finish();
    const reason = this.#reason.join("; ");
    const named = REASON_INSN.exec(reason)?.[1];
    const insn = this.#report?.insn ?? (named === undefined ? this.#last?.insn : Number(named));
    return {
      reason: reason === "" ? (report?.problem ?? "") : reason,
      insn,
      insnText: insn === undefined ? undefined : this.#seen.get(insn)?.text,
      state: this.#frames.get(this.#frame) ?? new Map(),
      lost: this.#lost,
      report,
    };
  }

  #instruction(insn: number, text: string, state: string): void {
    this.#newGround();
    this.#finishInstruction();
    const behind = STATE_BEHIND.exec(text);
    const order = (this.#last?.order ?? 0) + 1;
    this.#last = { insn, text: (behind === null ? text : text.slice(0, behind.index)).trim(), order };
    this.#seen.set(insn, this.#last);
    this.#done = false;
    const printed = behind?.[1] ?? state;
    if (printed === "") return;
    this.#finishInstruction();
    this.#state(printed);
  }

  /** Another path is taken up, behind a jump: what the path before it did behind that jump did not happen on this one. */
  #path(from: number, state: string): void {
    this.#newGround();
    this.#done = true;
    this.#frames.clear();
    const since = this.#seen.get(from)?.order ?? 0;
    for (const [name, { order }] of this.#lost) if (order > since) this.#lost.delete(name);
    this.#state(state);
  }

  /** The verifier went on: whatever was said before was no reason to stop. */
  #newGround(): void {
    if (this.#reason.length > 0) this.#reason = [];
    this.#report = undefined;
  }

  /**
   * Forgets what the last instruction overwrote. The verifier prints what changed, but not everything: what a call takes
   * away is never printed, and kernels before 5.18 print states at branches only.
   */
  #finishInstruction(): void {
    if (this.#done || this.#last === undefined) return;
    this.#done = true;
    const { insn, text: insnText, order } = this.#last;
    const state = this.#frames.get(this.#frame);
    if (!insnText.startsWith("call ")) {
      const target = TARGET.exec(insnText)?.[1];
      if (target !== undefined) {
        state?.delete(`r${target}`);
        this.#lost.delete(`r${target}`);
      }
      return;
    }
    state?.delete("r0");
    for (const name of ["r1", "r2", "r3", "r4", "r5"]) {
      // What an earlier call took was not there any more for this one to take.
      if (!this.#lost.has(name)) this.#lost.set(name, { was: state?.get(name), insn, insnText, order });
      state?.delete(name);
    }
    if (!MOVES_PACKET.test(insnText)) return;
    for (const frame of this.#frames.values()) {
      for (const [name, was] of frame) {
        if (!was.startsWith("pkt")) continue;
        frame.delete(name);
        this.#lost.set(name, { was, insn, insnText, order });
      }
    }
  }

  #state(text: string): void {
    const [, frame = "0", rest = ""] = /^ ?(?:frame(\d+):)?(.*)$/.exec(text) ?? [];
    const parts = splitState(rest);
    if (parts.length === 0) return;
    this.#frame = Number(frame);
    let known = this.#frames.get(this.#frame);
    if (known === undefined) {
      known = new Map();
      this.#frames.set(this.#frame, known);
    }
    for (const [name, value] of parts) {
      known.set(name, value);
      this.#lost.delete(name);
    }
  }

  #reasonLine(line: string): void {
    if (line === "") return;
    if (this.#reason.length === MAX_REASON_LINES) this.#reason.shift();
    this.#reason.push(line.length > MAX_REASON_LINE ? `${line.slice(0, MAX_REASON_LINE)}...` : line);
  }
}

type Section = "Reason" | "At" | "Causal path" | "Suggestion";

/** Reads the report of kernel 7.3, from the line behind its title on. */
class ReportReader {
  /** The instruction of section "At". */
  insn: number | undefined;
  readonly #problem: string;
  #section: Section | undefined;
  #closed = false;
  readonly #text = { Reason: "", Suggestion: "" };
  readonly #path: { insn: number | undefined; text: string }[] = [];
  #eventInsn: number | undefined;

  constructor(problem: string) {
    this.#problem = problem;
  }

  /** Takes nothing in from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Takes a line, or gives false where it does not belong to a report. */
  line(line: string): boolean {
    const section = SECTION.exec(line)?.[1];
    if (section !== undefined) {
      this.#section = section as Section;
      return true;
    }
    if (!line.startsWith(" ")) return false;
    if (this.#closed) return true;
    switch (this.#section) {
      case "Reason":
      case "Suggestion":
        this.#text[this.#section] += ` ${line.trim()}`;
        break;
      case "At":
        this.insn ??= insnOf(line);
        break;
      case "Causal path":
        this.#event(line);
        break;
      case undefined:
        return false;
    }
    return true;
  }

  finish(): VerifierReport {
    return {
      problem: this.#problem,
      reason: this.#text.Reason.trim(),
      path: this.#path,
      suggestion: this.#text.Suggestion.trim(),
    };
  }

  // An instruction (beside its source, or `insn N`) with the annotation below it; where a line has no source text the
  // annotation comes first.
  #event(line: string): void {
    const last = this.#path.at(-1);
    const insn = insnOf(line);
    if (insn !== undefined) {
      if (last !== undefined && last.insn === undefined) last.insn = insn;
      else this.#eventInsn = insn;
      return;
    }
    const [, mark, text = ""] = REPORT_EVENT.exec(line) ?? [];
    if (mark !== undefined) {
      this.#path.push({ insn: this.#eventInsn, text });
      this.#eventInsn = undefined;
    } else if (text !== "" && last !== undefined) {
      last.text += ` ${text}`; // wrapped
    }
  }
}

function insnOf(line: string): number | undefined {
  const found = REPORT_INSN.exec(line) ?? REPORT_FOCUS.exec(line);
  return found === null ? undefined : Number(found[1]);
}

/**
 * Splits `R1_w=scalar(var_off=(0x0; 0xff)) fp-8=mmmm refs=1` into names, as the disassembly spells them and without the
 * marks of liveness, and values.
 */
function splitState(text: string): [name: string, value: string][] {
  const parts: [string, string][] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at <= text.length; at++) {
    const char = text[at];
    if (char === "(") depth++;
    else if (char === ")") depth--;
    if (char !== undefined && (char !== " " || depth > 0)) continue;
    const [, name, value] = /^([Rr]\d+|fp-\d+|refs)(?:_\w+)?=(.*)$/.exec(text.slice(start, at)) ?? [];
    if (name !== undefined && value !== undefined) parts.push([name.toLowerCase(), value]);
    start = at + 1;
  }
  return parts;
}
