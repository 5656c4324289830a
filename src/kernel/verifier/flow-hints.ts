import type { Hint } from "./hint.ts";

/** What went wrong with the path through a program, its end, and its instructions as such. */
export const FLOW_HINTS: readonly Hint[] = [
  {
    id: "unbounded-loop",
    pattern: /infinite loop detected at insn|back-edge from insn/,
    explain: ([reason]) =>
      reason.startsWith("back-edge")
        ? "This kernel takes no loops (5.3 and newer ones do, where they end for sure). Write the rounds out one after another."
        : 'The loop comes round with nothing changed, so that the verifier sees no end. Count in a register against a constant, as in add(r6, 1), jlt(r6, 16, "loop"), or use bpf_loop (5.17) or mayGoto (6.9).',
  },
  {
    id: "too-complex",
    pattern: /BPF program is too large\. Processed (\d+) insn|sequence of (\d+) jumps is too complex/,
    explain: () =>
      'The verifier follows every path through the program and every round of a loop, and gave up. Make loops shorter or hand them to bpf_loop (5.17; the structured language does so in programs for { kernel: "5.17" } and newer) or mayGoto (6.9), test conditions in fewer places, and move parts into global functions or behind bpf_tail_call.',
  },
  {
    id: "unreachable",
    pattern: /unreachable insn (\d+)/,
    explain: () =>
      "Nothing leads to this instruction, and the verifier takes no dead code: remove it, or jump to it.",
  },
  {
    id: "jump-target",
    pattern:
      /jump out of range from insn|jump to reserved code|jump into the middle of ldimm64|goto out of range/,
    explain: () =>
      "The jump leads out of its function or into the middle of an lddw, which counts two instruction words. Jump to a block by its name instead of giving a distance.",
  },
  {
    id: "no-exit",
    pattern: /last insn is not an exit or jmp/,
    explain: () =>
      "A function must end in exit() or a jump: the last one would run on into what stands behind it.",
  },
  {
    id: "return-range",
    pattern:
      /register R0 has (?:smin=(-?\d+) smax=(-?\d+)|.*?) should have been in (.*?)(?:; |$)|R0 has value/i,
    explain: ([, smin, smax, range], { assembled: { program } }) => {
      const attach = program.attachType === undefined ? "" : ` (${program.attachType})`;
      const given = smin !== undefined && smin === smax ? `, and this one returns ${smin}` : "";
      return `A program of type ${program.type}${attach} must return a number ${range === undefined ? "of a certain range" : `in ${range}`}${given}. Set r0 to such a constant before exit(), or compare it first.`;
    },
  },
  {
    id: "invalid-instruction",
    pattern:
      /unknown opcode (\w+)|unknown insn|uses reserved fields|invalid (?:BPF_\w+|bpf_ld_imm64) insn|unrecognized bpf_ld_imm64|number of funcs in func_info doesn't match/,
    explain: ([, opcode]) =>
      `This kernel does not know the instruction${opcode === undefined ? " in this form" : ` (code 0x${opcode})`}: it may have come with a later kernel (atomics that fetch 5.12, callbacks 5.13, sign-extending loads and moves, bswap and gotol 6.6, load-acquire 6.15), or was built by hand with a field that must be 0.`,
  },
  {
    id: "verifier-bug",
    pattern: /verifier bug|kernel subsystem misconfigured|verifier internal error/i,
    explain: () =>
      "This is a fault of the kernel's verifier, not of the program. A small change of the program may avoid it; newer kernels may have it mended.",
  },
];
