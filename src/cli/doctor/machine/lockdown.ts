import { existsSync, readFileSync } from "node:fs";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";

/** How far the kernel is locked down (kernel_lockdown(7)). */
export type Lockdown = "none" | "integrity" | "confidentiality";

/** Reads it from securityfs, as this process or, where `ip netns exec` hides it, process 1 sees it. */
export function readLockdown(): Reading<Lockdown> {
  return read(() => {
    const directory = DIRECTORIES.find((candidate) => existsSync(`${candidate}/lsm`));
    if (directory === undefined) throw new Error("securityfs is not in sight");
    const file = `${directory}/lockdown`;
    if (!existsSync(file)) return "none"; // a kernel without it
    return (/\[(\w+)\]/.exec(readFileSync(file, "utf8"))?.[1] ?? "none") as Lockdown;
  });
}

const DIRECTORIES = ["/sys/kernel/security", "/proc/1/root/sys/kernel/security"];

/** Judges the lockdown. */
export function checkLockdown(lockdown: Reading<Lockdown>): readonly Finding[] {
  const check = "lockdown";
  if ("unknown" in lockdown) return [notKnown(check, "kernel lockdown", lockdown.unknown)];
  switch (lockdown.value) {
    case "none":
      return [{ level: "ok", check, what: "the kernel is not locked down" }];
    case "integrity":
      return [
        { level: "ok", check, what: "the kernel is locked down (integrity), which does not concern BPF" },
      ];
    case "confidentiality":
      return [
        {
          level: "warn",
          check,
          what: "the kernel is locked down (confidentiality): nobody can read the trace, so `logs` and trace_pipe show nothing",
          fix: "Boot with lockdown=integrity to see the log, or do without: up --no-trace",
        },
      ];
  }
}
