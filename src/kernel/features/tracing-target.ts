import { mov32 } from "../../asm/alu.ts";
import { exit } from "../../asm/jump.ts";
import type { ProgTypeName } from "../../asm/program.ts";
import { r0 } from "../../asm/register.ts";
import { TsbpfError } from "../../base/error.ts";
import { vmlinuxBtf } from "../vmlinux.ts";
import { no, type Verdict, yes } from "./answer.ts";
import { type Attempts, verdictLine } from "./attempt.ts";

/** Something in the kernel's BTF that a program attaches to. */
export interface TracingTarget {
  readonly kind: "func" | "typedef" | "struct";
  readonly name: string;
}

/** The BTF id of a target in the running kernel, or why it has none. */
export function targetId({ kind, name }: TracingTarget): number | Verdict {
  try {
    return vmlinuxBtf().ids(name, kind)[0] ?? no(`the kernel's BTF has no ${kind} '${name}'`);
  } catch (error) {
    if (error instanceof TsbpfError) return no(error.message.split("\n")[0]);
    throw error;
  }
}

/**
 * Whether the kernel takes programs for targets of this attach type, found out without a target: type 1 of its BTF is a
 * plain integer or pointer. A kernel that knows the attach type says what is wrong with that, another one does not get so
 * far.
 */
export function probeTracingTarget(
  attempts: Attempts,
  attachType: number,
  type: ProgTypeName = "tracing",
): Verdict {
  const attempt = attempts.load({ type, attachType, more: { attach_btf_id: 1 } });
  return verdictLine(attempt.log) === undefined ? attempts.conclude(attempt) : yes();
}

/** Whether the kernel takes tracing programs that are loaded for no target, as those are that attach to many at once. */
export function probeWithoutTarget(attempts: Attempts, attachType: number): Verdict {
  return attempts.conclude(attempts.load({ type: "tracing", attachType, code: [mov32(r0, 0), exit()] }));
}
