import { expect, test } from "vitest";
import { missingPrivilege } from "./capabilities.ts";

const status = (uid: number, capEff: string): string =>
  `Name:\tnode\nUid:\t1\t${uid}\t1\t1\nCapEff:\t${capEff}\n`;

test.each([
  [status(0, "000001ffffffffff"), undefined],
  [status(0, "000000c000201000"), undefined],
  [status(0, "0000000000000000"), "needs CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF"],
  [status(0, "0000004000201000"), "needs CAP_BPF"],
  [status(0, "000000c000200000"), "needs CAP_NET_ADMIN"],
  [status(1000, "000001ffffffffff"), "needs root (effective uid is 1000)"],
  ["Uid:\t0\t0\t0\t0\n", "no CapEff line in /proc/self/status"],
])("%j", (text, expected) => {
  expect(missingPrivilege(text)).toBe(expected);
});
