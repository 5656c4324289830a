import { expect, test } from "vitest";
import { EXAMPLES, exampleArgs, run } from "../../examples/examples.ts";
import { describeKernel } from "../../support/privileges.ts";

describeKernel("examples without privileges", () => {
  test("each says which capability it lacks", async () => {
    const drop = ["--bounding-set=-all", "--inh-caps=-all", process.execPath];
    const runs = Object.entries(EXAMPLES).map(async ([name, args]) => {
      const { code, stdout, stderr } = await run("setpriv", [...drop, ...exampleArgs(name, args)]);
      return { name, code, stdout, stderr };
    });
    const lack = /^error: bpf\(BPF_MAP_CREATE\) failed: EPERM .*\n {2}This process lacks CAP_BPF: .*\n$/;
    for (const run of await Promise.all(runs)) {
      expect(run).toEqual({ name: run.name, code: 1, stdout: "", stderr: expect.stringMatching(lack) });
    }
  });
});
