import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { runHere } from "./run-here.ts";

const MODULE = "test/cli/fixtures/programs.ts";

/** Source lines in a dump, as file, number and text. */
function sourceLines(stdout: string): { file: string; line: number; text: string }[] {
  return [...stdout.matchAll(/^ {2}; (\S+):(\d+) {2}(.*)$/gm)].map(([, file = "", line, text = ""]) => ({
    file,
    line: Number(line),
    text,
  }));
}

describe("dump", () => {
  test("each line of a program of the language, with the instructions that it became", async () => {
    const { code, stdout, stderr } = await runHere(["dump", "--from", MODULE, "queues"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout.trimEnd().split("\n")).toEqual([
      "queues:",
      "  entry:",
      `  ; ${MODULE}:7  const queue = $.let(u32, $.ctx.rx_queue_index);`,
      "     0  61 11 10 00 00 00 00 00  r1 = *(u32 *)(r1 +16)",
      `  ; ${MODULE}:8  $.if(queue.gt(3), () => $.return(XDP_DROP));`,
      "     1  25 01 02 00 03 00 00 00  if r1 > 0x3 goto pc+2 <then>",
      "  else:",
      `  ; ${MODULE}:9  return $.return(XDP_PASS);`,
      "     2  b4 00 00 00 02 00 00 00  w0 = 2",
      "     3  95 00 00 00 00 00 00 00  exit",
      "  then:",
      `  ; ${MODULE}:8  $.if(queue.gt(3), () => $.return(XDP_DROP));`,
      "     4  b4 00 00 00 01 00 00 00  w0 = 1",
      "     5  95 00 00 00 00 00 00 00  exit",
    ]);
  });

  test.each([
    { flags: [], folder: "src/programs/" },
    { flags: ["--lang"], folder: "src/programs/lang/" },
  ])("the sample, with its own lines: dump $flags", async ({ flags, folder }) => {
    const { code, stdout } = await runHere(["dump", ...flags]);
    expect(code).toBe(0);
    const names = [...stdout.matchAll(/^(\w+):$/gm)].map(([, name]) => name);
    expect(names).toEqual(["xdp_same_cpu", "tc_ingress", "tc_egress", "xdp_target_cpu"]);
    const lines = sourceLines(stdout);
    expect(lines.length).toBeGreaterThan(8);
    for (const { file, line, text } of lines) {
      expect(file.startsWith(folder)).toBe(true);
      expect(readFileSync(file, "utf8").split("\n")[line - 1]?.trim()).toBe(text);
    }
  });

  test("all that a module exports, in arrays too", async () => {
    const { stdout } = await runHere(["dump", "--from", MODULE, "--json"]);
    expect(JSON.parse(stdout).map(({ program }: { program: string }) => program)).toEqual([
      "pass_all",
      "queues",
    ]);
  });

  test.each([
    { args: ["nope"], says: "error: there is no program 'nope'\n  There is xdp_same_cpu, tc_ingress," },
    { args: ["--from", "test/cli/run-here.ts"], says: "error: test/cli/run-here.ts exports no program\n" },
    { args: ["--from", "none.ts"], says: "error: cannot read programs from none.ts: " },
    { args: ["--from", MODULE, "--lang"], says: "cannot be used with option '--lang'" },
  ])("what cannot be dumped: $args", async ({ args, says }) => {
    const { code, stdout, stderr } = await runHere(["dump", ...args]);
    expect(stderr).toContain(says);
    expect([code === 0, stdout]).toEqual([false, ""]);
  });
});
