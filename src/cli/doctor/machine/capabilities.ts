import { readFileSync } from "node:fs";
import { type Capability, heldCapabilities } from "../../../kernel/privileges.ts";
import type { Finding } from "../finding.ts";

/** What this process may do. */
export interface CapabilityFacts {
  readonly held: ReadonlySet<Capability>;
  /** Whether it lives in a user namespace, whose root has no power over BPF and real interfaces. */
  readonly userNamespace: boolean;
}

/** Reads the effective capabilities. */
export function readCapabilities(): CapabilityFacts {
  // The first user namespace maps every user to itself.
  const wholeMap = /^\s*0\s+0\s+4294967295\s*$/;
  return {
    held: heldCapabilities(),
    userNamespace: !wholeMap.test(readFileSync("/proc/self/uid_map", "utf8")),
  };
}

/** Judges the capabilities. */
export function checkCapabilities({ held, userNamespace }: CapabilityFacts): readonly Finding[] {
  const check = "capabilities";
  const missing = NEEDED.filter((name) => !isHeld(held, name));
  const findings: Finding[] = [];
  if (missing.length === 0) {
    findings.push({ level: "ok", check, what: `the process holds ${NEEDED.join(", ")}` });
  } else {
    findings.push({
      level: "fail",
      check,
      what: `the process lacks ${missing.join(", ")}`,
      fix: "Run `up` as root (sudo).",
    });
  }
  if (userNamespace) {
    findings.push({
      level: "warn",
      check: "capabilities.userNamespace",
      what: "the process is in a user namespace, where root's capabilities do not count for BPF",
      fix: "Run it outside: on the host, or in a container with the host's user namespace.",
    });
  }
  return findings;
}

/** Attaching takes CAP_NET_ADMIN, walking ids CAP_SYS_ADMIN, loading CAP_BPF, and printing from a program CAP_PERFMON. */
const NEEDED = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"] as const;

/** Before Linux 5.8 CAP_SYS_ADMIN was these two as well, and it still includes them. */
function isHeld(held: ReadonlySet<Capability>, name: Capability): boolean {
  const included = name === "CAP_BPF" || name === "CAP_PERFMON";
  return held.has(name) || (included && held.has("CAP_SYS_ADMIN"));
}
