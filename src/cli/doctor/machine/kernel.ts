import { release } from "node:os";
import { heldCapabilities, kernelBefore } from "../../../kernel/privileges.ts";
import { kernelHasTcx } from "../../../kernel/tc/tcx.ts";
import { mapCreate } from "../../../syscall/bpf-map.ts";
import { progBindMap } from "../../../syscall/bpf-prog.ts";
import { SyscallError } from "../../../syscall/errno.ts";
import type { Syscalls } from "../../../syscall/syscalls.ts";
import { BPF_MAP_TYPE_CPUMAP } from "../../../uapi/bpf.ts";
import type { Finding } from "../finding.ts";

/** What the kernel has of what `up` uses. */
export interface KernelFacts {
  readonly release: string;
  /** What the features are like: tried where that is possible, else told from the release, since distributions backport. */
  readonly features: Readonly<Record<KernelFeature, FeatureFact>>;
  /** The kernel's refusal of a CPU map although the process holds the capabilities for it. */
  readonly refused: string | undefined;
}

/** Whether the kernel has a feature, and how that is known. */
export interface FeatureFact {
  readonly has: boolean;
  readonly source: "tried" | "release";
}

/** A feature of the kernel that the sample uses. */
export type KernelFeature = keyof typeof FEATURES;

/** Release that brought each feature, what it is called, and what it means when it is not there. */
const FEATURES = {
  cpuMap: { since: [4, 15], name: "CPU map", without: "fail", means: "The sample cannot run without it." },
  xdpReplace: {
    since: [5, 7],
    name: "atomic XDP replace",
    without: "fail",
    means: "Programs are attached with it, so that nobody else's is replaced by accident.",
  },
  cpuMapProgram: {
    since: [5, 9],
    name: "program on the target core",
    without: "fail",
    means: "The entries of the CPU map have the size that came with it.",
  },
  metadata: {
    since: [5, 10],
    name: "program metadata",
    without: "fail",
    means: "What is attached is found again by it.",
  },
  tcx: { since: [6, 6], name: "TCX", without: "info", means: "`up` attaches TC with clsact instead." },
} as const;

/** Tries what can be tried without a trace, and tells the rest from the release. */
export function readKernel(sys: Syscalls): KernelFacts {
  const attempts: Readonly<Record<KernelFeature, Attempt>> = {
    cpuMap: attempt(() => createCpuMap(sys, QSIZE_ONLY)),
    xdpReplace: "unclear", // could only be tried on somebody's interface
    cpuMapProgram: attempt(() => createCpuMap(sys, WITH_PROGRAM)),
    metadata: attempt(() => bindNothing(sys)),
    tcx: attempt(() => kernelHasTcx(sys)),
  };
  const features = Object.fromEntries(
    Object.entries(attempts).map(([feature, result]) => [
      feature,
      conclude(feature as KernelFeature, result),
    ]),
  ) as KernelFacts["features"];
  return { release: release(), features, refused: refusal(attempts.cpuMap) };
}

/** Judges the kernel. */
export function checkKernel({ release, features, refused }: KernelFacts): readonly Finding[] {
  const entries = Object.entries(FEATURES) as [KernelFeature, (typeof FEATURES)[KernelFeature]][];
  const present = (source: FeatureFact["source"], introduction: string): string => {
    const names = entries
      .filter(([feature]) => features[feature].has && features[feature].source === source)
      .map(([, { name }]) => name);
    return names.length === 0 ? "" : `${introduction}${names.join(", ")}`;
  };
  const has = `${present("tried", "; has ")}${present("release", "; by its release has ")}`;
  const findings: Finding[] = [{ level: "ok", check: "kernel", what: `Linux ${release}${has}` }];
  for (const [feature, { name, since, without, means }] of entries) {
    if (features[feature].has) continue;
    const upgrade = without === "fail" ? ` Use a kernel from ${since.join(".")} on.` : "";
    findings.push({
      level: without,
      check: `kernel.${feature}`,
      what: `this kernel lacks ${name}, which came with Linux ${since.join(".")}`,
      fix: `${means}${upgrade}`,
    });
  }
  if (refused !== undefined) {
    findings.push({
      level: "fail",
      check: "kernel.bpf",
      what: `the kernel refuses BPF although this process holds the capabilities: ${refused}`,
      fix: "A container or a seccomp filter may forbid bpf(2), and a user namespace has no power over it: run on the host.",
    });
  }
  return findings;
}

/** What came of an attempt: an answer, or the error that stood in its way. */
type Attempt = boolean | "unclear" | SyscallError;

function attempt(feature: () => boolean): Attempt {
  try {
    return feature();
  } catch (error) {
    return error instanceof SyscallError ? error : "unclear";
  }
}

function conclude(feature: KernelFeature, result: Attempt): FeatureFact {
  if (typeof result === "boolean") return { has: result, source: "tried" };
  const [major, minor] = FEATURES[feature].since;
  return { has: !kernelBefore(major, minor), source: "release" };
}

/** Sizes of a CPU map's value. */
const QSIZE_ONLY = 4;
const WITH_PROGRAM = 8;

function createCpuMap(sys: Syscalls, value_size: number): boolean {
  try {
    sys.close(mapCreate(sys, { map_type: BPF_MAP_TYPE_CPUMAP, key_size: 4, value_size, max_entries: 1 }));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EINVAL") return false;
    throw error;
  }
}

/** A kernel that knows the command complains about the descriptor; one that does not, about the command. */
function bindNothing(sys: Syscalls): boolean {
  try {
    progBindMap(sys, { prog_fd: NO_FD, map_fd: NO_FD });
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code === "EPERM") throw error;
    return error.code === "EBADF";
  }
}

/** A descriptor that no process has open. */
const NO_FD = 0x7fff_ffff;

function refusal(result: Attempt): string | undefined {
  const denied = result instanceof SyscallError && (result.code === "EPERM" || result.code === "ENOSYS");
  const held = heldCapabilities();
  const capable = held.has("CAP_SYS_ADMIN") || held.has("CAP_BPF");
  return denied && capable ? result.message.split("\n")[0] : undefined;
}
