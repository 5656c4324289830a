import { existsSync, readFileSync } from "node:fs";
import { mov32 } from "../../../asm/alu.ts";
import { exit } from "../../../asm/jump.ts";
import { xdp } from "../../../asm/program.ts";
import { r0 } from "../../../asm/register.ts";
import { BpfProgram } from "../../../kernel/program.ts";
import type { Syscalls } from "../../../syscall/syscalls.ts";
import { XDP_PASS } from "../../../uapi/bpf.ts";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";

/** Whether programs are compiled to machine code. */
export interface JitFacts {
  /** Whether a program that was loaded to see was compiled. */
  readonly compiled: Reading<boolean>;
  /** net.core.bpf_jit_enable; only the first network namespace shows it. */
  readonly setting: number | undefined;
}

const SETTING = "/proc/sys/net/core/bpf_jit_enable";

/** Loads the smallest XDP program and looks what became of it, and reads the setting. */
export function readJit(sys: Syscalls): JitFacts {
  return {
    compiled: read(() => {
      using program = BpfProgram.load(xdp("jit_probe", { entry: [mov32(r0, XDP_PASS), exit()] }), { sys });
      return program.info().jitedLength > 0;
    }),
    setting: existsSync(SETTING) ? Number(readFileSync(SETTING, "utf8")) : undefined,
  };
}

/** Judges the JIT. */
export function checkJit({ compiled, setting }: JitFacts): readonly Finding[] {
  const check = "jit";
  const value = setting === undefined ? "" : ` (net.core.bpf_jit_enable is ${setting})`;
  const on = "value" in compiled ? compiled.value : setting === undefined ? undefined : setting > 0;
  if (on === undefined)
    return [notKnown(check, "the JIT compiler", "unknown" in compiled ? compiled.unknown : "")];
  if (on) return [{ level: "ok", check, what: `programs are compiled to machine code${value}` }];
  return [
    {
      level: "warn",
      check,
      what: `programs are interpreted, several times slower than compiled${value}`,
      fix: "Turn the JIT compiler on: sysctl net.core.bpf_jit_enable=1",
    },
  ];
}
