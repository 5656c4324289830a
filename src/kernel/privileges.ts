import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { SyscallError } from "../syscall/errno.ts";

/** A capability that BPF needs, by its name in capabilities(7). */
export type Capability = keyof typeof CAPABILITY_BIT;

/** Why the kernel said EPERM or EACCES, as far as this machine tells. */
export interface PermissionDiagnosis {
  /**
   * What stands in the way. `unexplained`: the process holds all that the kernel asks for, and nothing that is known to
   * forbid BPF is in force.
   */
  readonly cause: "user namespace" | "capability" | "memlock" | "seccomp" | "lockdown" | "unexplained";
  /** The capabilities that are needed and not held. */
  readonly missing: readonly Capability[];
  /** All of it in a sentence or a few: what is wrong, and what to do. */
  readonly text: string;
}

/** What a process may do, and what this machine forbids: what {@link diagnosePermission} judges by. */
export interface PermissionFacts {
  /** Effective capabilities of this process. */
  readonly held: ReadonlySet<Capability>;
  /** Whether it is in a user namespace of its own, whose root has no power over BPF. */
  readonly userNamespace: boolean;
  /** `kernel.unprivileged_bpf_disabled`; `undefined` where it cannot be read. */
  readonly unprivilegedBpfDisabled: number | undefined;
  /** kernel_lockdown(7); `undefined` where securityfs is not in sight. */
  readonly lockdown: "none" | "integrity" | "confidentiality" | undefined;
  /** `Seccomp:` of /proc/self/status: 0 none, 1 strict, 2 a filter. */
  readonly seccomp: number;
  /** The security modules that are active; `undefined` where securityfs is not in sight. */
  readonly lsms: readonly string[] | undefined;
  /** `uname -r`. */
  readonly release: string;
}

/** The effective capabilities of this process that BPF needs. */
export function heldCapabilities(): ReadonlySet<Capability> {
  return capabilitiesIn(readText("/proc/self/status"));
}

/** Reads what {@link diagnosePermission} judges by. It reads files only, and changes nothing. */
export function readPermissionFacts(): PermissionFacts {
  const status = readText("/proc/self/status");
  // `ip netns exec` hides securityfs behind a fresh /sys; process 1 still sees it.
  const security = ["", "/proc/1/root"].find((root) => existsSync(`${root}/sys/kernel/security/lsm`));
  const secured = (name: string): string | undefined =>
    security === undefined ? undefined : readText(`${security}/sys/kernel/security/${name}`);
  const lockdown = secured("lockdown");
  const disabled = readText("/proc/sys/kernel/unprivileged_bpf_disabled").trim();
  return {
    held: capabilitiesIn(status),
    userNamespace: !WHOLE_MAP.test(readText("/proc/self/uid_map")),
    unprivilegedBpfDisabled: disabled === "" ? undefined : Number(disabled),
    lockdown:
      lockdown === undefined
        ? undefined
        : ((/\[(\w+)\]/.exec(lockdown)?.[1] ?? "none") as "none" | "integrity"),
    seccomp: Number(/^Seccomp:\s*(\d)/m.exec(status)?.[1] ?? 0),
    lsms: secured("lsm")?.trim().split(","),
    release: release(),
  };
}

/**
 * Finds out why the kernel said EPERM to a call of bpf(2) that needs these capabilities. CAP_SYS_ADMIN stands for each of
 * them. It concludes from what is there to see: what this process lacks comes first, then what the machine forbids.
 *
 * @param needed - see `capabilitiesToLoad` and `capabilitiesToCreate`.
 * @example
 * ```ts
 * diagnosePermission(capabilitiesToLoad("xdp")).text;
 * // "This process lacks CAP_NET_ADMIN: run it as root, or grant the capability."
 * ```
 */
export function diagnosePermission(
  needed: readonly Capability[],
  facts: PermissionFacts = readPermissionFacts(),
): PermissionDiagnosis {
  const missing = missingOf(needed, facts);
  if (facts.userNamespace) {
    const text =
      "This process is in a user namespace, whose root has no power over BPF: run it outside, or have a BPF token delegated " +
      "to it (kernel 6.9).";
    return { cause: "user namespace", missing, text };
  }
  if (missing.length > 0) return { cause: "capability", missing, text: lackText(missing, facts) };
  if (kernelBefore(5, 11, facts.release)) {
    const text =
      "Before kernel 5.11 maps and programs count against RLIMIT_MEMLOCK, and EPERM is what the kernel says when it is used " +
      "up: raise it (ulimit -l unlimited).";
    return { cause: "memlock", missing, text };
  }
  if (facts.seccomp !== 0) {
    const text =
      `This process holds ${listOf(needed)}, and a seccomp filter is in force (Seccomp: ${facts.seccomp} in /proc/self/status). ` +
      "Container runtimes forbid bpf(2) with one: run it with a profile that allows it.";
    return { cause: "seccomp", missing, text };
  }
  if (facts.lockdown === "confidentiality") {
    const text =
      "The kernel is locked down (confidentiality), which forbids programs that read kernel memory, to root as well: it is " +
      "set at boot (lockdown=, or secure boot).";
    return { cause: "lockdown", missing, text };
  }
  return { cause: "unexplained", missing, text: unexplainedText(needed, facts) };
}

/**
 * Runs a system call wrapper; where it fails for lack of permission, throws the same error with the cause found out, see
 * {@link diagnosePermission}.
 *
 * @param needed - the capabilities that the call needs. CAP_SYS_ADMIN stands for any of them.
 */
export function explainPermission<Result>(needed: readonly Capability[], call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof SyscallError) || !isPermission(error.code)) throw error;
    const hint = permissionHint(needed);
    throw new SyscallError(error.call, error.errno, error.args, { hint, cause: error });
  }
}

/** Why the kernel said EPERM to a call that needs these capabilities, in words; see {@link diagnosePermission}. */
export function permissionHint(needed: readonly Capability[]): string {
  return diagnosePermission(needed).text;
}

/**
 * Whether the running kernel is older than `major.minor`. Distributions backport: use it to explain, not to decide.
 *
 * @param kernel - `uname -r` of another one.
 */
export function kernelBefore(major: number, minor: number, kernel: string = release()): boolean {
  const [, runningMajor = "0", runningMinor = "0"] = /^(\d+)\.(\d+)/.exec(kernel) ?? [];
  return Number(runningMajor) < major || (Number(runningMajor) === major && Number(runningMinor) < minor);
}

// Bits of capabilities(7) (linux/capability.h).
const CAPABILITY_BIT = {
  CAP_NET_ADMIN: 12,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

/** /proc/self/uid_map of the first user namespace, which maps every user to itself. */
const WHOLE_MAP = /^\s*0\s+0\s+4294967295\s*$/;

function capabilitiesIn(status: string): ReadonlySet<Capability> {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const held = Object.entries(CAPABILITY_BIT).filter(([, bit]) => (mask >> BigInt(bit)) & 1n);
  return new Set(held.map(([name]) => name as Capability));
}

/** Before 5.8 there were no CAP_BPF and CAP_PERFMON, and CAP_SYS_ADMIN it was. */
function missingOf(needed: readonly Capability[], { held, release: kernel }: PermissionFacts): Capability[] {
  if (held.has("CAP_SYS_ADMIN")) return [];
  const old = kernelBefore(5, 8, kernel);
  const real = needed.map((name) => (old && name !== "CAP_NET_ADMIN" ? "CAP_SYS_ADMIN" : name));
  return [...new Set(real)].filter((name) => !held.has(name));
}

function lackText(
  missing: readonly Capability[],
  { unprivilegedBpfDisabled: disabled }: PermissionFacts,
): string {
  const them = missing.length === 1 ? "the capability" : "the capabilities";
  const lack = `This process lacks ${listOf(missing)}: run it as root, or grant ${them}.`;
  return missing.includes("CAP_BPF") && (disabled ?? 0) > 0
    ? `${lack} (kernel.unprivileged_bpf_disabled is ${disabled}: every map and program takes CAP_BPF.)`
    : lack;
}

function unexplainedText(needed: readonly Capability[], { lsms, lockdown }: PermissionFacts): string {
  const modules =
    lsms === undefined
      ? "which security modules are active cannot be seen (securityfs is not mounted)"
      : `the security modules ${lsms.join(", ")} are active${lockdown === "integrity" ? ", with lockdown at integrity" : ""}`;
  const held = needed.length === 0 ? "" : `holds ${listOf(needed)}, `;
  return (
    `This process ${held}is in no user namespace and has no seccomp filter; ${modules}. What remains is a security module ` +
    "(a policy, or a BPF LSM program), or a kernel that was built to refuse it."
  );
}

function listOf(names: readonly string[]): string {
  return names.join(" and ");
}

function isPermission(code: string): boolean {
  return code === "EPERM" || code === "EACCES";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not there: nothing to conclude
  }
}
