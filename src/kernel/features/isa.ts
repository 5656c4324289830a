import { add, addrSpaceCast, bswap32, mov, mov32, movsx8, sdiv } from "../../asm/alu.ts";
import { assemble } from "../../asm/assemble.ts";
import { afadd64, cmpxchg64, ldacqdw, streldw } from "../../asm/atomic.ts";
import { call } from "../../asm/call.ts";
import { LDDW } from "../../asm/encode.ts";
import { type Insn, insn } from "../../asm/insn.ts";
import { exit, gotol, jeq, jeq32, jlt, jne, mayGoto } from "../../asm/jump.ts";
import { callback, lddw, ldxsb, ldxw, stdw } from "../../asm/load-store.ts";
import { type Blocks, program, subprogram } from "../../asm/program.ts";
import { r0, r1, r2, r3, r4, r10 } from "../../asm/register.ts";
import { LITTLE_ENDIAN } from "../../base/host.ts";
import { encodeFuncInfo, FUNC_INFO_SIZE } from "../../btf/ext.ts";
import {
  BPF_F_MMAPABLE,
  BPF_MAP_TYPE_ARENA,
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_PROG_ARRAY,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_VALUE,
} from "../../uapi/bpf.ts";
import { bpf_for_each_map_elem, bpf_tail_call } from "../../uapi/helpers.ts";
import type { Verdict } from "./answer.ts";
import type { Attempt, Attempts } from "./attempt.ts";

/** Something that the instruction set, or the verifier's idea of a program, came to allow. */
export type IsaFeature =
  | "jlt"
  | "function_calls"
  | "jmp32"
  | "large_programs"
  | "map_values"
  | "bounded_loops"
  | "global_functions"
  | "tail_calls_in_functions"
  | "atomics"
  | "callbacks"
  | "fd_array"
  | "gotol"
  | "sdiv"
  | "movsx"
  | "ldsx"
  | "bswap"
  | "may_goto"
  | "addr_space_cast"
  | "load_acquire";

/** How it is asked for. */
export interface IsaProbe {
  /** The kernel that brought it. */
  readonly since: string;
  /** What it is, for people. */
  readonly title: string;
  readonly try: (attempts: Attempts) => Attempt;
}

/** Whether the verifier takes it, found out by loading a socket filter that has it. */
export function probeIsa(attempts: Attempts, feature: IsaFeature): Verdict {
  return attempts.conclude(ISA_FEATURES[feature].try(attempts));
}

const END = [mov(r0, 0), exit()] as const;

/** Where an arena would be in user space: the verifier wants to know, although nothing is mapped there. */
const ARENA_ADDRESS = 1n << 32n;

/** Everything of the instruction set that can be asked for, in the order in which it came. */
export const ISA_FEATURES: Readonly<Record<IsaFeature, IsaProbe>> = {
  jlt: {
    since: "4.14",
    title: "jlt, jle, jslt, jsle (cpu=v2)",
    try: filter({ entry: [mov(r0, 0), jlt(r0, 1, "end")], end: [exit()] }),
  },
  function_calls: {
    since: "4.16",
    title: "calls of functions of the program",
    try: filter({ entry: [call(subprogram("callee", { entry: END })), exit()] }),
  },
  jmp32: {
    since: "5.1",
    title: "32-bit jumps (cpu=v3)",
    try: filter({ entry: [mov(r0, 0), jeq32(r0, 0, "end")], end: [exit()] }),
  },
  large_programs: {
    since: "5.2",
    title: "more than 4096 instructions, up to a million",
    try: (attempts) =>
      filter({ entry: [...Array.from({ length: 4200 }, () => mov32(r0, 1)), exit()] })(attempts),
  },
  map_values: {
    since: "5.2",
    title: "global data: the address of a map's value",
    try: withMap(BPF_MAP_TYPE_ARRAY, (attempts, fd) =>
      attempts.load({
        type: "socket_filter",
        code: [lddwRaw(1, BPF_PSEUDO_MAP_VALUE, fd), ldxw(r0, [r1, 0]), exit()],
      }),
    ),
  },
  bounded_loops: {
    since: "5.3",
    title: "bounded loops",
    try: filter({ entry: [mov(r0, 0)], loop: [add(r0, 1), jne(r0, 4, "loop")], end: [exit()] }),
  },
  global_functions: {
    since: "5.6",
    title: "global functions, verified on their own",
    try: tryGlobalFunction,
  },
  tail_calls_in_functions: {
    since: "5.10",
    title: "tail calls from functions of the program (by architecture)",
    try: withMap(BPF_MAP_TYPE_PROG_ARRAY, (attempts, fd) => {
      const callee = subprogram("callee", {
        entry: [lddwRaw(2, BPF_PSEUDO_MAP_FD, fd), mov32(r3, 0), call(bpf_tail_call), ...END],
      });
      return loadWithFunctions(attempts, { entry: [call(callee), exit()] }, "static");
    }),
  },
  atomics: {
    since: "5.12",
    title: "atomics that fetch, xchg, cmpxchg",
    try: filter({
      entry: [
        stdw([r10, -8], 1),
        mov(r0, 1),
        mov(r2, 1),
        afadd64([r10, -8], r2),
        cmpxchg64([r10, -8], r2),
        ...END,
      ],
    }),
  },
  callbacks: {
    since: "5.13",
    title: "callbacks: the address of a function of the program",
    try: tryCallback,
  },
  fd_array: {
    since: "5.14",
    title: "maps by their index in fd_array",
    try: withMap(BPF_MAP_TYPE_ARRAY, (attempts, fd) =>
      attempts.load({
        type: "socket_filter",
        code: [lddwRaw(1, BPF_PSEUDO_MAP_IDX, 0), ...END],
        more: { fd_array: Int32Array.of(fd) },
      }),
    ),
  },
  gotol: {
    since: "6.6",
    title: "gotol, jumps over 32 bits (cpu=v4)",
    try: filter({
      entry: [mov(r0, 0), jeq(r0, 1, "other"), gotol("end")],
      other: [mov(r0, 1)],
      end: [exit()],
    }),
  },
  sdiv: {
    since: "6.6",
    title: "signed division and modulo (cpu=v4)",
    try: filter({ entry: [mov(r0, 4), sdiv(r0, 2), exit()] }),
  },
  movsx: {
    since: "6.6",
    title: "sign-extending moves (cpu=v4)",
    try: filter({ entry: [mov(r0, 1), movsx8(r0, r0), exit()] }),
  },
  ldsx: {
    since: "6.6",
    title: "sign-extending loads (cpu=v4)",
    try: filter({ entry: [stdw([r10, -8], 1), ldxsb(r0, [r10, -8]), exit()] }),
  },
  bswap: {
    since: "6.6",
    title: "unconditional byte swap (cpu=v4)",
    try: filter({ entry: [mov(r0, 1), bswap32(r0), exit()] }),
  },
  may_goto: {
    since: "6.9",
    title: "may_goto, loops that the kernel ends",
    // The first kernels with it refuse one that leads to the next instruction.
    try: filter({ entry: [mov(r0, 0), mayGoto("end")], body: [mov(r0, 1)], end: [exit()] }),
  },
  addr_space_cast: {
    since: "6.9",
    title: "addr_space_cast, pointers into an arena (by architecture)",
    try: (attempts) =>
      attempts.map(
        {
          map_type: BPF_MAP_TYPE_ARENA,
          key_size: 0,
          value_size: 0,
          max_entries: 1,
          map_flags: BPF_F_MMAPABLE,
          map_extra: ARENA_ADDRESS,
        },
        (fd) =>
          attempts.load({
            type: "socket_filter",
            code: [lddwRaw(1, BPF_PSEUDO_MAP_FD, fd), mov(r2, 0), addrSpaceCast(r2, r2, 0, 1), ...END],
          }),
      ),
  },
  load_acquire: {
    since: "6.15",
    title: "load-acquire and store-release (by architecture)",
    try: filter({ entry: [stdw([r10, -8], 1), ldacqdw(r0, [r10, -8]), streldw([r10, -8], r0), ...END] }),
  },
};

function filter(code: Blocks): IsaProbe["try"] {
  return (attempts) => attempts.load({ type: "socket_filter", code });
}

function withMap(map_type: number, use: (attempts: Attempts, fd: number) => Attempt): IsaProbe["try"] {
  return (attempts) =>
    attempts.map({ map_type, key_size: 4, value_size: 4, max_entries: 1 }, (fd) => use(attempts, fd));
}

function lddwRaw(dst_reg: number, src_reg: number, imm: number): Insn<never, never> {
  return insn<never, never>({ code: LDDW, dst_reg, src_reg, imm, next_imm: 0 });
}

/** `return f()`, where BTF says that f is global. */
function tryGlobalFunction(attempts: Attempts): Attempt {
  const callee = subprogram("callee", { entry: END });
  return loadWithFunctions(attempts, { entry: [call(callee), exit()] }, "global");
}

/** Gives a function to a helper, to call it for each entry of a map. */
function tryCallback(attempts: Attempts): Attempt {
  const callee = subprogram("callee", { entry: END });
  const load = (_: Attempts, fd: number): Attempt =>
    loadWithFunctions(
      attempts,
      {
        entry: [
          lddwRaw(1, BPF_PSEUDO_MAP_FD, fd),
          lddw(r2, callback(callee)),
          mov(r3, 0),
          mov(r4, 0),
          call(bpf_for_each_map_elem),
          ...END,
        ],
      },
      "static",
    );
  return withMap(BPF_MAP_TYPE_ARRAY, load)(attempts);
}

/** Loads a socket filter with BTF that tells the kernel where its functions are. */
function loadWithFunctions(attempts: Attempts, blocks: Blocks, linkage: "static" | "global"): Attempt {
  const endian = LITTLE_ENDIAN ? "little" : "big";
  const { lines, functions } = assemble(program("socket_filter", "probe", blocks as never), { endian });
  const ids: number[] = [];
  return attempts.btf(
    (builder) => {
      const int = builder.int("int", 4, "signed");
      for (const { name } of functions) ids.push(builder.func(name, builder.funcProto(int), linkage));
    },
    (prog_btf_fd) => {
      const records = functions.map(({ offset }, index) => ({ insn_off: offset, type_id: ids[index] ?? 0 }));
      const func_info = { bytes: encodeFuncInfo(records, endian), rec_size: FUNC_INFO_SIZE };
      const code = lines.map(({ insn }) => insn);
      return attempts.load({ type: "socket_filter", code, more: { prog_btf_fd, func_info } });
    },
  );
}
