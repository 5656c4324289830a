import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { Answer, FeatureReport } from "../../../src/kernel/features/index.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";

const cwd = fileURLToPath(new URL("../../..", import.meta.url));

describeKernel("tsbpf features", () => {
  test("as JSON, with helpers", async () => {
    await using net = await createTestNet();
    const report = JSON.parse(features(net.inside.path, [], "--json", "--helpers")) as FeatureReport;
    expect(Object.keys(report)).toEqual([
      ...[
        "kernel",
        "abilities",
        "isa",
        "mapTypes",
        "progTypes",
        "attachTypes",
        "linkTypes",
        "btf",
        "helpers",
      ],
    ]);
    expect(report.mapTypes?.cpumap).toEqual({ answer: "yes", since: "4.15" });
    expect(report.helpers?.xdp.bpf_redirect_map).toEqual({ answer: "yes", since: "4.14" });
    expect(report.helpers?.xdp.bpf_skb_load_bytes).toEqual({ answer: "no", since: "4.5" });
  });

  test("without privileges: unknown, or what root is told; nothing is taken for a no", async () => {
    await using net = await createTestNet();
    const privileged = flat(features(net.inside.path, [], "--json"));
    const answers = flat(
      features(net.inside.path, ["setpriv", "--bounding-set=-all", "--inh-caps=-all"], "--json"),
    );
    expect(answers.map(([name]) => name)).toEqual(privileged.map(([name]) => name));
    const told = new Map(privileged);
    expect(answers.filter(([name, answer]) => answer !== "unknown" && answer !== told.get(name))).toEqual([]);
    expect(answers.filter(([, answer]) => answer === "unknown").length).toBeGreaterThan(190);
  });

  test("as tables, with the reasons below", async () => {
    await using net = await createTestNet();
    const drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    const text = features(net.inside.path, drop);
    expect(text).toMatch(/^map types\n \? {2}hash +3\.19 +unknown +\[\d+\]$/m);
    expect(text).toMatch(
      /^\[1\] bpf\(BPF_PROG_LOAD\) says EPERM \(Operation not permitted\)\. This process lacks CAP_BPF/m,
    );
  });
});

/** Group and name of what was asked, and the answer. */
function flat(json: string): [name: string, answer: string][] {
  const { kernel: _, ...groups } = JSON.parse(json) as FeatureReport;
  return Object.entries(groups).flatMap(([group, answers]) =>
    Object.entries(answers as Readonly<Record<string, Answer>>).map(
      ([name, { answer }]): [string, string] => [`${group}.${name}`, answer],
    ),
  );
}

/** Runs the command in a network namespace, below a command that takes something from it. */
function features(netns: string, below: readonly string[], ...flags: readonly string[]): string {
  const command = [...below, process.execPath, "--import", "tsx", "src/main.ts", "features", ...flags];
  return execFileSync("nsenter", [`--net=${netns}`, ...command], {
    encoding: "utf8",
    cwd,
    maxBuffer: 1 << 26,
  });
}
