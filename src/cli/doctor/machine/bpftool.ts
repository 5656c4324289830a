import type { Bpftool } from "../../../kernel/tc/bpftool.ts";
import type { Finding } from "../finding.ts";

/** Judges the bpftool of this machine. @param tcx - whether the kernel has TCX. */
export function checkBpftool({ version, tcx }: Bpftool, kernelTcx: boolean): readonly Finding[] {
  const check = "bpftool";
  if (tcx) return [{ level: "ok", check, what: `bpftool ${version} can attach to TCX` }];
  return [
    {
      level: "info",
      check,
      what:
        version === undefined
          ? "there is no bpftool"
          : `bpftool ${version} cannot attach to TCX (version 7.5 and newer can)`,
      fix: kernelTcx
        ? "`up` makes the system call itself (--tc tcx); for --tc bpftool run scripts/setup.sh, which installs one."
        : "`up` does without it here: this kernel has no TCX, so it attaches with clsact.",
    },
  ];
}
