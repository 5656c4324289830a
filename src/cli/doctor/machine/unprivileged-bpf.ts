import { readFileSync } from "node:fs";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";

/** Reads kernel.unprivileged_bpf_disabled. */
export function readUnprivilegedBpf(): Reading<number> {
  return read(() => Number(readFileSync("/proc/sys/kernel/unprivileged_bpf_disabled", "utf8")));
}

/** Says who may use bpf(2); no value is in the way of `up`. */
export function checkUnprivilegedBpf(setting: Reading<number>): readonly Finding[] {
  const check = "unprivileged-bpf";
  if ("unknown" in setting) return [notKnown(check, "kernel.unprivileged_bpf_disabled", setting.unknown)];
  const meaning = MEANING[setting.value] ?? "a value that this version does not know";
  return [{ level: "info", check, what: `kernel.unprivileged_bpf_disabled is ${setting.value}: ${meaning}` }];
}

const MEANING: readonly string[] = [
  "any user may load simple programs (none that the sample uses)",
  "only privileged processes may use bpf(), until the next boot",
  "only privileged processes may use bpf(); root can change that",
];
