import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { createProber, type FeatureReport, probeFeatures } from "../../../src/kernel/features/index.ts";
import { describeKernel } from "../../support/privileges.ts";

/** The part of `bpftool -j feature probe full` that is compared. */
interface Probed {
  readonly program_types: Readonly<Record<string, boolean>>;
  readonly map_types: Readonly<Record<string, boolean>>;
  readonly helpers: Readonly<Record<string, readonly string[]>>;
  readonly misc: Readonly<Record<string, boolean>>;
}

const installed = spawnSync("bpftool", ["version"]).status === 0;
const skipped = installed ? "" : " [skipped: bpftool is not installed]";

describeKernel(`what bpftool finds out, too${skipped}`, () => {
  const theirs = (): Probed =>
    JSON.parse(
      execFileSync("bpftool", ["-j", "feature", "probe", "full"], { encoding: "utf8", maxBuffer: 1 << 26 }),
    ) as Probed;
  const differences = (
    ours: NonNullable<FeatureReport["mapTypes" | "progTypes"]>,
    probed: Readonly<Record<string, boolean>>,
    key: (name: string) => string,
  ): string[] =>
    Object.entries(ours)
      .filter(([name]) => probed[key(name)] !== undefined) // bpftool 7.5 is older than some types
      .filter(([name, { answer }]) => (answer === "yes") !== probed[key(name)])
      .map(([name, { answer }]) => `${name}: ${answer} here, ${probed[key(name)]} there`);

  test.skipIf(!installed)("map types", () => {
    const { mapTypes } = probeFeatures(undefined, ["mapTypes"]);
    const probed = theirs().map_types;
    if (mapTypes === undefined) throw new Error("not asked");
    expect(Object.keys(probed).length).toBeGreaterThan(30);
    expect(differences(mapTypes, probed, (name) => `have_${name}_map_type`)).toEqual([]);
  });

  test.skipIf(!installed)("program types", () => {
    const { progTypes } = probeFeatures(undefined, ["progTypes"]);
    const probed = theirs().program_types;
    if (progTypes === undefined) throw new Error("not asked");
    expect(Object.keys(probed).length).toBeGreaterThan(30);
    const differing = differences(progTypes, probed, (name) => `have_${name}_prog_type`);
    // bpftool takes every refusal for a no, and tries `tracing` as fentry only. Where trampolines are refused, it misses
    // that tp_btf and iterators, of the same type, work.
    const fentry = createProber().haveAttachType("trace_fentry").answer;
    expect(differing).toEqual(fentry === "unknown" ? ["tracing: yes here, false there"] : []);
  });

  test.skipIf(!installed)("helpers", () => {
    const { helpers } = probeFeatures(undefined, ["helpers"]);
    if (helpers === undefined) throw new Error("not asked");
    const wider: string[] = [];
    for (const [key, names] of Object.entries(theirs().helpers)) {
      const type = key.replace("_available_helpers", "") as keyof typeof helpers;
      const answers = Object.entries(helpers[type]);
      const ours = answers.filter(([, { answer }]) => answer === "yes").map(([name]) => name);
      expect(
        names.filter((name) => !ours.includes(name)),
        type,
      ).toEqual([]); // all that they find, we find
      if (ours.length > names.length) wider.push(type);
    }
    // bpftool loads with one attach type: 0, which for these types is somebody else's, or the first of two; and tracing
    // programs for fentry.
    const explained = ["cgroup_device", "cgroup_sysctl", "cgroup_sockopt", "tracing"];
    expect(wider.filter((type) => !explained.includes(type))).toEqual([]);
    expect(helpers.cgroup_sockopt.bpf_setsockopt.answer).toBe("yes");
  });

  test.skipIf(!installed)("the instruction set", () => {
    const { isa } = probeFeatures(undefined, ["isa"]);
    const { have_large_insn_limit, have_bounded_loops, have_v2_isa_extension, have_v3_isa_extension } =
      theirs().misc;
    const said = (yes: boolean | undefined): string => (yes === true ? "yes" : "no");
    expect(isa?.large_programs.answer).toBe(said(have_large_insn_limit));
    expect(isa?.bounded_loops.answer).toBe(said(have_bounded_loops));
    expect(isa?.jlt.answer).toBe(said(have_v2_isa_extension));
    expect(isa?.jmp32.answer).toBe(said(have_v3_isa_extension));
  });
});
