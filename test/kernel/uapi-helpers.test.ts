import { release } from "node:os";
import { describe, expect, it } from "vitest";
import { readFacts } from "../../scripts/generate-uapi.ts";
import { probeHelpers } from "../../scripts/uapi/probe-helpers.ts";
import { baseHelperIds, type HelperProgType, helperProgTypes, helpers } from "../../src/uapi/helpers.ts";

const { facts, probed } = readFacts();

describe("the helper table, as this kernel's verifier sees it", () => {
  const types: readonly HelperProgType[] = ["xdp", "sched_cls", "cgroup_skb", "tracepoint", "syscall"];

  it("refuses no helper that the verifier accepts, nor a licence", (context) => {
    if (isNewer(release(), probed.kernel)) {
      return context.skip(`the table was probed on Linux ${probed.kernel}; newer kernels may accept more`);
    }
    const now = probeHelpers(facts.helpers, types);
    expect(Object.keys(now.callable)).toContain("xdp");
    for (const [type, ids] of Object.entries(now.callable)) {
      const extra = helperProgTypes[type as HelperProgType];
      const listed = extra === "all" ? ids : [...baseHelperIds, ...extra];
      expect(names(ids.filter((id) => !listed.includes(id))), type).toEqual([]);
    }
    expect(names(now.gplOnly.filter((id) => helpers[id]?.gplOnly !== true))).toEqual([]);
  });
});

const names = (ids: readonly number[]): string[] => ids.map((id) => helpers[id]?.name ?? `helper ${id}`);

/** Compares the major and minor numbers of two releases. */
function isNewer(one: string, other: string): boolean {
  const [major = 0, minor = 0] = one.split(".").map(Number);
  const [otherMajor = 0, otherMinor = 0] = other.split(".").map(Number);
  return major > otherMajor || (major === otherMajor && minor > otherMinor);
}
