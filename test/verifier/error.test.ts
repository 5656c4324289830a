import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { add, mov, mov32 } from "../../src/asm/alu.ts";
import { type Assembled, assemble } from "../../src/asm/assemble.ts";
import { call } from "../../src/asm/call.ts";
import { exit, ja, jeq } from "../../src/asm/jump.ts";
import { lddw, ldxdw, stw } from "../../src/asm/load-store.ts";
import { type Program, xdp } from "../../src/asm/program.ts";
import { r0, r1, r2, r6, r10 } from "../../src/asm/register.ts";
import { setSourceCapture } from "../../src/asm/source-position.ts";
import { createSourceText } from "../../src/kernel/source-text.ts";
import { VerifierError } from "../../src/kernel/verifier-error.ts";
import { E2BIG, EACCES, EINVAL, EPERM } from "../../src/uapi/errno.ts";
import { bpf_map_lookup_elem } from "../../src/uapi/helpers.ts";

const FILE = fileURLToPath(import.meta.url);
const SOURCE = readFileSync(FILE, "utf8").split("\n");
const NAME = "test/verifier/error.test.ts";

function lineOf(mark: string): number {
  return SOURCE.findIndex((text) => text.endsWith(`// <- ${mark}`)) + 1;
}

function recorded(name: string): string {
  return readFileSync(
    fileURLToPath(new URL(`../vectors/verifier-logs/${name}.log`, import.meta.url)),
    "utf8",
  );
}

function errorOf(assembled: Assembled, log: string, errno = EACCES): VerifierError {
  return new VerifierError(assembled, errno, log, createSourceText());
}

/** The program that `7.3-null.log` is about. */
function nullProgram(): Program {
  return xdp("count", {
    entry: [
      stw([r10, -4], 0),
      lddw(r1, 0),
      mov(r2, r10),
      add(r2, -4),
      call(bpf_map_lookup_elem), // <- lookup
      jeq(r6, 0, "read"), // <- branch
      ja("out"),
    ],
    read: [
      ldxdw(r1, [r0, 0]), // <- read
    ],
    out: [mov32(r0, 2), exit()],
  });
}

describe("VerifierError", () => {
  test("the report of 7.3, with its path in lines of TypeScript", () => {
    const error = errorOf(assemble(nullProgram()), recorded("7.3-null"));
    const at = (mark: string): string => `${NAME}:${lineOf(mark)}:7`;
    const read = lineOf("read");
    expect(error.message.split("\n")).toEqual([
      "the verifier refused program 'count': R0 invalid mem access 'map_value_or_null'",
      `  ${at("read")} (block 'read', instruction 8: r1 = *(u64 *)(r0 +0))`,
      `    ${read - 2} | ],`,
      `    ${read - 1} | read: [`,
      `  > ${read} |   ldxdw(r1, [r0, 0]), // <- read`,
      "       |   ^",
      "  registers: r0=map_value_or_null(id=1,map=flows,ks=4,vs=8)",
      "  R0 may be NULL here (map_value_or_null). The program could dereference NULL on this path, so the verifier cannot prove this access is safe.",
      `  - ${at("lookup")} update: R0 changed from uninitialized value to nullable map value from flows at offset 0`,
      `  - ${at("branch")} branch: explored as false, goto not followed`,
      "  The verifier's whole log, 43 lines, is in the error's property log.",
      '  r0 may be null here, as after a lookup that found nothing: check it first, as in jeq(r0, 0, "out"). The check counts for r0 and for copies made of it before the check.',
    ]);
    expect(error).toMatchObject({
      name: "VerifierError",
      program: "count",
      code: "EACCES",
      insn: 8,
      source: { file: FILE, line: read, column: 7 },
      sourceText: "ldxdw(r1, [r0, 0]), // <- read",
      hintId: "null-check",
      report: { problem: "Register Type Safety: Invalid dereference" },
      log: recorded("7.3-null"),
    });
  });

  test("a cause that we do not know: the suggestion of 7.3 is the hint", () => {
    const error = errorOf(assemble(nullProgram()), recorded("7.3-new-cause"), EINVAL);
    expect(error).toMatchObject({
      hintId: undefined,
      hint: "Ask the administrator.",
      insn: 0,
      code: "EINVAL",
    });
    expect(error.message).toContain("  The policy of this kernel keeps the call to itself.\n");
    expect(error.message.endsWith("\n  Ask the administrator.")).toBe(true);
  });

  test("the second word of an lddw belongs to it", () => {
    const error = errorOf(assemble(nullProgram()), "invalid destination at insn 2\n");
    expect(error).toMatchObject({ insn: 2, sourceText: "lddw(r1, 0)," });
    expect(error.message).toContain("(block 'entry', instruction 1)");
  });

  test("an instruction that the program does not have", () => {
    const error = errorOf(assemble(nullProgram()), "unreachable insn 99\n");
    expect(error).toMatchObject({ insn: 99, source: undefined, sourceText: "", hintId: "unreachable" });
    expect(error.message).not.toContain("block");
  });

  test("without source positions it still names block and instruction", () => {
    const before = setSourceCapture(false);
    try {
      const error = errorOf(assemble(nullProgram()), recorded("7.3-null"));
      expect(error.source).toBeUndefined();
      expect(error.message).toContain(
        "\n  instruction 8 (block 'read', instruction 8: r1 = *(u64 *)(r0 +0))\n",
      );
      expect(error.message).toContain("\n  - instruction 6 branch: explored as false, goto not followed\n");
    } finally {
      setSourceCapture(before);
    }
  });

  test("without the source file it still names the line", () => {
    const assembled = assemble(nullProgram());
    const source = { position: () => ({ file: "/nowhere/gone.ts", line: 7, column: 3 }) };
    const lines = assembled.lines.map((line) => ({ ...line, insn: { ...line.insn, source } }));
    const error = errorOf({ ...assembled, lines }, recorded("7.3-null"));
    expect(error.message).toContain("\n  /nowhere/gone.ts:7:3 (block 'read', instruction 8: ");
    expect(error.message).not.toContain(" | ");
    expect(error.sourceText).toBe("");
  });

  test.each([
    ["no words at all", "processed 0 insns (limit 1000000) max_states_per_insn 0\n"],
    ["nothing", ""],
  ])("a log with %s: the errno is the reason", (_name, log) => {
    const error = errorOf(assemble(nullProgram()), log, E2BIG);
    expect(error.message.split("\n")[0]).toBe(
      "the verifier refused program 'count': E2BIG (Argument list too long)",
    );
    expect(error.message.split("\n")[1]).toBe(
      "  The verifier's whole log is in the error's property log, and gives no reason.",
    );
    expect(error).toMatchObject({
      ...{ code: "E2BIG", log, insn: undefined, hint: undefined },
      ...{ reason: "E2BIG (Argument list too long)", unexplained: true },
    });
  });

  test("EPERM without a reason: the hint is about this process", () => {
    const error = errorOf(assemble(nullProgram()), "processed 0 insns (limit 1000000)\n", EPERM);
    expect(error.hint).toMatch(/^This process /);
    expect(error.unexplained).toBe(true);
    expect(errorOf(assemble(nullProgram()), recorded("7.3-null"), EPERM).unexplained).toBe(false);
  });

  test("a message stays short, and the log whole, whatever the log", () => {
    for (const log of ["x".repeat(3_000_000), "reason\n".repeat(500_000), "\0\u{ffff}\r\n".repeat(1000)]) {
      const error = errorOf(assemble(nullProgram()), log);
      expect(error.log).toBe(log);
      expect(error.message.length).toBeLessThan(3000);
    }
  });
});
