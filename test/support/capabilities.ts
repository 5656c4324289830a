/** Which privileges kernel tests need, and whether this process has them. */
import { readFileSync } from "node:fs";

/** Bit numbers of the capabilities kernel tests need (include/uapi/linux/capability.h). */
const NEEDED = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_PERFMON: 38, CAP_BPF: 39 } as const;

/** Why kernel tests cannot run here, as the rest of a sentence, or `undefined` if they can. */
export function missingPrivilege(
  status: string = readFileSync("/proc/self/status", "utf8"),
): string | undefined {
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  const hex = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1];
  if (hex === undefined) return "no CapEff line in /proc/self/status";
  const effective = BigInt(`0x${hex}`);
  const absent = Object.entries(NEEDED)
    .filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 0n)
    .map(([name]) => name);
  if (uid !== "0") return `needs root (effective uid is ${uid})`;
  if (absent.length > 0) return `needs ${absent.join(", ")}`;
  return undefined;
}
