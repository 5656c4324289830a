import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { describeKernel } from "../../support/privileges.ts";
import { interrupt, startExample } from "./harness.ts";

const CALLS = 400_000;
/** Makes so many system calls, and some more to start and end. */
const busy = `for (1..${CALLS}) { getppid }`;

describeKernel("examples/count-syscalls.ts", () => {
  test("counts what a process does, and puts the busiest first", async () => {
    const example = await startExample("count-syscalls", [], "counting until Ctrl-C\n");
    const { pid, status } = spawnSync("perl", ["-e", busy]);
    expect(status).toBe(0);
    const [, head, ...rows] = (await interrupt(example)).trimEnd().split("\n");
    expect(head).toMatch(/PID +CALLS COMM/);
    const counts = rows.map((row) => {
      const [, id, count, comm] = /^ *(\d+) +(\d+) (.*)$/.exec(row) ?? [];
      return { id: Number(id), count: Number(count), comm };
    });
    expect(counts.length).toBeGreaterThan(1);
    expect(counts.length).toBeLessThanOrEqual(10);
    expect(counts).toEqual([...counts].sort((a, b) => b.count - a.count));
    const own = counts.find(({ id }) => id === pid);
    expect(own?.comm).toBe("perl");
    expect(own?.count).toBeGreaterThanOrEqual(CALLS);
    expect(own?.count).toBeLessThan(CALLS + 20_000);
  });

  test("ends by itself after so many seconds", async () => {
    const example = await startExample("count-syscalls", ["0.5"], "counting for 0.5 s\n");
    const { code, stderr, stdout } = await example.ended();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").length).toBeGreaterThan(3);
  });
});
