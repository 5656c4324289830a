import type { Members } from "../../btf/layout/member.ts";
import type { Placed } from "../../btf/layout/place.ts";
import { u64 } from "../../btf/layout/scalar.ts";
import { type StructLayout, structAt } from "../../btf/layout/struct.ts";
import { LangError } from "../error.ts";
import { here } from "../recorder.ts";

// What programs at functions are given, `struct pt_regs`, is another one on each architecture. What every one of them has is
// named here by what it is for; the registers of one architecture are there under their own names beside it.

/** What the registers hold at a function's start or end, on every architecture: its first six arguments, counted from 0. */
export type Registers = Readonly<
  Record<"arg0" | "arg1" | "arg2" | "arg3" | "arg4" | "arg5" | "result" | "ip" | "sp" | "fp", typeof u64>
>;

type Words<Names extends string> = Readonly<Record<Names, typeof u64>>;

/** The registers of x86-64 by their own names. `arg3` is that of functions; system calls have it in `r10`. */
export type X64Registers = Registers &
  Words<
    | "r15"
    | "r14"
    | "r13"
    | "r12"
    | "bp"
    | "bx"
    | "r11"
    | "r10"
    | "r9"
    | "r8"
    | "ax"
    | "cx"
    | "dx"
    | "si"
    | "di"
    | "orig_ax"
    | "cs"
    | "flags"
    | "ss"
  >;

/** The registers of arm64 by their own names. */
export type Arm64Registers = Registers &
  Words<"arg6" | "arg7" | "lr" | "pc" | "pstate" | `x${GeneralNumber}`>;

type GeneralNumber =
  | 0
  | 1
  | 2
  | 3
  | 4
  | 5
  | 6
  | 7
  | 8
  | 9
  | Teens
  | 20
  | 21
  | 22
  | 23
  | 24
  | 25
  | 26
  | 27
  | 28
  | 29
  | 30;
type Teens = 10 | 11 | 12 | 13 | 14 | 15 | 16 | 17 | 18 | 19;

const X64 = [
  ..."r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss".split(" ").map(word),
  ...([
    ["arg0", 14],
    ["arg1", 13],
    ["arg2", 12],
    ["arg3", 11],
    ["arg4", 9],
    ["arg5", 8],
    ["result", 10],
    ["fp", 4],
  ] as const),
] as const;

const ARM64 = [
  ...Array.from({ length: 31 }, (_, index) => [`x${index}`, index] as const),
  ...([
    ["sp", 31],
    ["pc", 32],
    ["ip", 32],
    ["pstate", 33],
    ["fp", 29],
    ["lr", 30],
    ["result", 0],
  ] as const),
  ...Array.from({ length: 8 }, (_, index) => [`arg${index}`, index] as const),
] as const;

/** Words of `struct pt_regs`, as programs see it. */
const WORDS = { x64: 21, arm64: 34 } as const;

/** `struct pt_regs` of x86-64. */
export const x64Registers: StructLayout<"pt_regs", X64Registers> = words("pt_regs", X64, WORDS.x64);

/** `struct pt_regs` of arm64 (`struct user_pt_regs`). */
export const arm64Registers: StructLayout<"pt_regs", Arm64Registers> = words("pt_regs", ARM64, WORDS.arm64);

/**
 * The registers of an architecture, by what they are for: the context of `kprobe`.
 *
 * @param arch - as Node.js calls it in `process.arch`.
 * @throws LangError for other architectures than x64 and arm64.
 * @example
 * ```ts
 * const connects = kprobe("connects", registers(process.arch), ($) => {
 *   $.printk`tcp_connect(${hex($.ctx.arg0)})`;
 *   return $.return(0);
 * });
 * ```
 */
export function registers(arch: "x64"): StructLayout<"pt_regs", X64Registers>;
export function registers(arch: "arm64"): StructLayout<"pt_regs", Arm64Registers>;
export function registers(arch: string): StructLayout<"pt_regs", Registers>;
export function registers(arch: string): StructLayout<"pt_regs", Registers> {
  if (arch === "x64") return x64Registers;
  if (arch === "arm64") return arm64Registers;
  throw new LangError(
    `the registers of '${arch}' are not known`,
    here(),
    "Those of x64 and arm64 are. For others declare struct pt_regs as a layout, or use a raw tracepoint.",
  );
}

/** The context of a `perfEvent` program. */
export type PerfEventContext = Registers & Words<"sample_period" | "addr">;

/**
 * `struct bpf_perf_event_data` of an architecture: the registers at the moment of the sample, `sample_period`, and `addr`, an
 * address for the events that have one. For `perfEvent`.
 *
 * @param arch - as Node.js calls it in `process.arch`.
 * @throws LangError for other architectures than x64 and arm64.
 */
export function perfEventContext(arch: string): StructLayout<"bpf_perf_event_data", PerfEventContext> {
  const { placement, size } = registers(arch);
  const behind = placement.placed.map(({ name, bitOffset }): [string, number] => [name, bitOffset / 64]);
  const end = size / 8;
  return words("bpf_perf_event_data", [...behind, ["sample_period", end], ["addr", end + 1]], end + 2);
}

function word(name: string, index: number): readonly [name: string, index: number] {
  return [name, index];
}

/** A struct of 64-bit words by name; several names may stand for one word. */
function words<const Name extends string, M extends Members>(
  name: Name,
  names: readonly (readonly [name: string, index: number])[],
  length: number,
): StructLayout<Name, M> {
  const placed = names.map(
    ([word, index]): Placed => ({ name: word, member: u64, bitOffset: index * 64, bitSize: 64 }),
  );
  const members = Object.fromEntries(names.map(([word]) => [word, u64])) as unknown as M;
  return structAt(name, members, { size: length * 8, align: 8, placed });
}
