import { readCpus } from "../../kernel/cpus.ts";
import { findBpftool } from "../../kernel/tc/bpftool.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { type Finding, guard } from "./finding.ts";
import { checkBpftool } from "./machine/bpftool.ts";
import { checkCapabilities, readCapabilities } from "./machine/capabilities.ts";
import { checkCpus } from "./machine/cpus.ts";
import { checkJit, readJit } from "./machine/jit.ts";
import { checkKernel, readKernel } from "./machine/kernel.ts";
import { checkKernelBtf, readKernelBtf } from "./machine/kernel-btf.ts";
import { checkLockdown, readLockdown } from "./machine/lockdown.ts";
import { checkMount, readMount } from "./machine/mounts.ts";
import { checkNode } from "./machine/node.ts";
import { checkUnprivilegedBpf, readUnprivilegedBpf } from "./machine/unprivileged-bpf.ts";

/** Looks at everything that `up` needs whatever the interface. Changes nothing; a check that fails is a finding. */
export function examineMachine(sys: Syscalls): readonly Finding[] {
  return CHECKS.flatMap(([what, examine]) => guard(what, () => examine(sys)));
}

const CHECKS: readonly (readonly [string, (sys: Syscalls) => readonly Finding[]])[] = [
  ["kernel", examineKernel],
  ["capabilities", () => checkCapabilities(readCapabilities())],
  ["jit", (sys) => checkJit(readJit(sys))],
  ["cpus", () => checkCpus(readCpus())],
  ["bpffs", () => checkMount(readMount("bpf"))],
  ["tracefs", () => checkMount(readMount("tracefs"))],
  ["kernel-btf", () => checkKernelBtf(readKernelBtf())],
  ["unprivileged-bpf", () => checkUnprivilegedBpf(readUnprivilegedBpf())],
  ["lockdown", () => checkLockdown(readLockdown())],
  ["node", () => checkNode(process.versions.node, `${process.platform}-${process.arch}`)],
];

/** What bpftool is good for depends on the kernel, so the two are looked at together. */
function examineKernel(sys: Syscalls): readonly Finding[] {
  const kernel = readKernel(sys);
  return [...checkKernel(kernel), ...checkBpftool(findBpftool(), kernel.features.tcx.has)];
}
