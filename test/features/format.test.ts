import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { formatFeatures } from "../../src/cli/features/format.ts";
import type { Answer, FeatureReport } from "../../src/kernel/features/index.ts";

const yes: Answer = { answer: "yes", since: "5.8" };
const no: Answer = { answer: "no", since: "6.7", reason: "the kernel says EINVAL" };
const unknown: Answer = { answer: "unknown", since: "5.5", reason: "this process lacks CAP_BPF" };
const other: Answer = { answer: "unknown", since: "5.5", reason: "out of memory" };

const text = (report: object): string =>
  stripVTControlCharacters(formatFeatures(report as FeatureReport).join("\n"));

test("groups, versions, answers; reasons that are shared come once, at the end", () => {
  const report = {
    kernel: "6.18.0",
    abilities: { ring_buffer: yes, netkit: no, trampolines: unknown },
    progTypes: { lsm: unknown, ext: other },
  };
  expect(text(report)).toBe(
    `abilities
 ✔  ring buffer                     5.8  yes
 ✖  netkit                          6.7  no       the kernel says EINVAL
 ?  fentry and fexit (trampolines)  5.5  unknown  [1]

program types
 ?  lsm  5.5  unknown  [1]
 ?  ext  5.5  unknown  [2]

[1] this process lacks CAP_BPF

[2] out of memory

Linux 6.18.0 has 1 of 5, 3 could not be found out`,
  );
});

test("helpers: those that may be called, and how many are open", () => {
  const names = Object.fromEntries(
    Array.from({ length: 12 }, (_, index) => [`bpf_helper_number_${index}`, yes]),
  );
  const report = {
    kernel: "6.18.0",
    helpers: { xdp: { ...names, bpf_last: no }, lsm: { bpf_any: unknown } },
  };
  const lines = text(report).split("\n");
  expect(lines.slice(0, 4)).toEqual([
    "helpers, by program type",
    "  xdp: 12 yes",
    "    helper_number_0 helper_number_1 helper_number_2 helper_number_3 helper_number_4 helper_number_5",
    "    helper_number_6 helper_number_7 helper_number_8 helper_number_9 helper_number_10 helper_number_11",
  ]);
  expect(lines).toContain("  lsm: 0 yes, 1 unknown [1]");
  expect(lines.at(-1)).toBe("Linux 6.18.0");
});
