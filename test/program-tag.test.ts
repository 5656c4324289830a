import { expect, test } from "vitest";
import { exit, mov, r0, xdp } from "../src/asm/index.ts";
import { programTags } from "../src/kernel/program-tag.ts";

// What kernels before 6.18 print for programs as small as these: bpftool shows these tags on many a machine.
test.each([
  [0, "a04f5eef06a7f555"],
  [2, "3b185187f1855c4c"],
])("the SHA-1 tag of `return %i`", (value, tag) => {
  expect(programTags(xdp("small", { entry: [mov(r0, value), exit()] })).sha1).toBe(tag);
});
