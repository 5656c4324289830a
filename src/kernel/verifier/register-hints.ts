import type { Hint } from "./hint.ts";
import { packetCheck } from "./packet-check.ts";

/** What went wrong with the content of a register. */
export const REGISTER_HINTS: readonly Hint[] = [
  {
    id: "null-check",
    pattern:
      /R(\d+) (?:invalid mem access '\w*_or_null'|pointer arithmetic on (?:\w+_or_null|PTR_TO_MAP_VALUE_OR_NULL) prohibited|type=\w+_or_null expected=)|Possibly NULL pointer passed to \w+ arg(\d)/,
    explain: ([, register, argument]) => {
      const name = `r${register ?? Number(argument) + 1}`;
      return `${name} may be null here, as after a lookup that found nothing: check it first, as in jeq(${name}, 0, "out"). The check counts for ${name} and for copies made of it before the check.`;
    },
  },
  {
    id: "lost-in-call",
    pattern: /R([1-5]) !read_ok/,
    explain: ([, register], { log, place }) => {
      const lost = log.lost.get(`r${register}`);
      if (lost === undefined) return undefined;
      return `Every call takes r1 to r5 away, and ${callOf(lost.insnText)} at ${place(lost.insn)} took r${register}. Keep what is needed later in r6 to r9, as in mov(r6, r${register}) before the call.`;
    },
  },
  {
    id: "no-return-value",
    pattern: /R0 !read_ok/,
    explain: (_, { log }) =>
      log.insnText === "exit"
        ? "r0 is the result, and nothing set it on this path to exit(): set it, as in mov32(r0, XDP_PASS)."
        : undefined,
  },
  {
    id: "uninitialized-register",
    pattern: /R(\d+) !read_ok/,
    explain: ([, register], { assembled, line }) => {
      const start =
        line === undefined || line.function === assembled.program.name
          ? "A program starts with the context in r1, the frame pointer in r10, and nothing else."
          : "A subprogram starts with its arguments in r1 to r5 and a frame pointer of its own: it does not see the caller's r6 to r9.";
      return `Nothing wrote r${register} on this path. ${start} Set it on every path that leads to this line.`;
    },
  },
  {
    id: "packet-moved",
    pattern: /R(\d+) invalid mem access '(?:scalar|inv)'|R(\d+) !read_ok/,
    explain: ([, register, other], { log, place }) => {
      const name = `r${register ?? other}`;
      const lost = log.lost.get(name);
      if (lost?.was?.startsWith("pkt") !== true) return undefined;
      return `${name} pointed into the packet until ${callOf(lost.insnText)} at ${place(lost.insn)}, which may move the packet. Load data and data_end from the context again after the call, and check the bounds again.`;
    },
  },
  {
    id: "packet-end-access",
    pattern: /R(\d+) invalid mem access 'pkt_end'/,
    explain: ([, register]) =>
      `r${register} is data_end, the first byte behind the packet: it can only be compared with. Read through a pointer that was loaded from data.`,
  },
  {
    id: "not-a-pointer",
    pattern: /R(\d+) invalid mem access '(?:scalar|inv|imm)'/,
    explain: ([, register], { log }) => {
      const value = log.state.get(`r${register}`);
      const shown = value === undefined ? "" : ` (${value})`;
      return `r${register} holds a number${shown}, not a pointer that the verifier knows. A pointer gets lost when it is computed from numbers, goes through 32-bit or bitwise arithmetic, or is reloaded from a stack slot that was written over. Kernel memory is read with bpf_probe_read_kernel.`;
    },
  },
  {
    id: "map-pointer",
    pattern:
      /R(\d+) pointer arithmetic on (?:map_ptr|CONST_PTR_TO_MAP) prohibited|only read from \w+ is supported|cannot access ptr member|R(\d+) invalid mem access 'map_ptr'/,
    explain: () =>
      "What lddw(register, mapFd(map)) gives is the map, not its values. Call bpf_map_lookup_elem for a pointer to a value, or load mapValue(map) where the map is an array with one entry.",
  },
  {
    id: "packet-end-arithmetic",
    pattern: /R(\d+) pointer arithmetic on (?:pkt_end|PTR_TO_PACKET_END) prohibited/,
    explain: ([, register]) =>
      `r${register} is data_end, which may only be compared. Add to a copy of data instead: ${packetCheck(14, { end: `r${register}` })}.`,
  },
  {
    id: "pointer-32-bit",
    pattern: /R(\d+) (?:32-bit pointer arithmetic prohibited|partial copy of pointer)/,
    explain: ([, register]) =>
      `r${register} is a pointer, of 64 bits: use the 64-bit form of the instruction, as in add or mov instead of add32 or mov32.`,
  },
  {
    id: "pointer-arithmetic",
    pattern:
      /R(\d+) (?:pointer arithmetic with \S+ operator prohibited|bitwise operator \S+ on pointer prohibited|pointer \S+ pointer prohibited|tried to \w+ .*(?:pointer|scalar)|pointer arithmetic on (\w+) prohibited|arithmetic prohibited)/,
    explain: ([, register, kind]) =>
      kind === undefined
        ? `Of a pointer only add and sub of a number are allowed. Compute the offset in another register first, then add it: add(r${register}, offset).`
        : `A pointer of kind ${kind} must be used as it is: no offset can be added to it. Put the offset into the access, as in ldxdw(r0, [r${register}, 8]).`,
  },
  {
    id: "frame-pointer",
    pattern: /frame pointer is read only/,
    explain: () => "r10 cannot be written. Copy it and change the copy: mov(r2, r10), add(r2, -8).",
  },
  {
    id: "pointer-leak",
    pattern:
      /R(\d+) (?:leaks addr|pointer comparison prohibited|has pointer with unsupported alu)|leaks addr/,
    explain: () =>
      "The program would hand a kernel address to user space, or learn something about it, which only a process with CAP_PERFMON may do. Run as root, or keep the pointer out of maps, results and comparisons.",
  },
  {
    id: "division-by-zero",
    pattern: /div by zero/,
    explain: () =>
      "A constant divisor may not be 0. A register may: div gives 0 then, and mod leaves its register unchanged.",
  },
  {
    id: "shift-count",
    pattern: /invalid shift (-?\d+)/,
    explain: ([, count]) =>
      `A shift by ${count} is undefined: the count must be 0 to 63, or 0 to 31 for the 32-bit forms.`,
  },
];

/** `call bpf_ktime_get_ns#5` as people write it. */
function callOf(text: string): string {
  return `the call of ${text.replace(/^call /, "").replace(/#.*$/, "")}`;
}
