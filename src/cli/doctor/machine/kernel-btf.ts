import { existsSync } from "node:fs";
import type { Finding } from "../finding.ts";

const PATH = "/sys/kernel/btf/vmlinux";

/** Whether the kernel tells its types. */
export function readKernelBtf(): boolean {
  return existsSync(PATH);
}

/** Judges it: the sample does without. */
export function checkKernelBtf(present: boolean): readonly Finding[] {
  const check = "kernel-btf";
  if (present) return [{ level: "ok", check, what: `the kernel tells its types (BTF) in ${PATH}` }];
  return [
    {
      level: "info",
      check,
      what: `the kernel does not tell its types: no ${PATH}`,
      fix: "The sample does without; programs that call kernel functions need a kernel with CONFIG_DEBUG_INFO_BTF.",
    },
  ];
}
