import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseVerifierLog, type VerifierLog } from "../../src/kernel/verifier/log.ts";

function recorded(name: string): string {
  return readFileSync(
    fileURLToPath(new URL(`../vectors/verifier-logs/${name}.log`, import.meta.url)),
    "utf8",
  );
}

function parse(name: string): VerifierLog {
  return parseVerifierLog(recorded(name));
}

describe("parseVerifierLog", () => {
  test.each([
    ["4.9-misaligned", 7, "*(u64 *)(r0 +4) = 0", "misaligned value access off 4 size 8"],
    [
      "5.10-packet",
      8,
      "r3 = *(u8 *)(r6 +23)",
      "invalid access to packet, off=23 size=1, R6(id=0,off=23,r=14); R6 offset is outside of the packet",
    ],
    ["5.4-branches", 4, "r0 = *(u32 *)(r1 +2)", "invalid bpf_context access off=2 size=4"],
    ["6.1-moved", 4, "r6 = *(u8 *)(r7 +0)", "R7 invalid mem access 'scalar'"],
    ["6.1-subprogram", 5, "r0 = r6", "R6 !read_ok"],
    ["7.3-unreadable-register", 0, "exit", "R0 !read_ok"],
    ["7.3-null", 8, "r1 = *(u64 *)(r0 +0)", "R0 invalid mem access 'map_value_or_null'"],
    [
      "7.3-two-leaks",
      6,
      "exit",
      "Unreleased reference id=2 alloc_insn=4; Unreleased reference id=3 alloc_insn=5; BPF_EXIT instruction in main prog would lead to reference leak",
    ],
    ["7.3-limit", 4, undefined, "combined stack size of 2 calls is 800. Too large"],
    ["7.3-new-cause", 0, "call bpf_frobnicate#77001", "frobnicating is not for everyone"],
  ])("%s: instruction and reason", (name, insn, insnText, reason) => {
    expect(parse(name)).toMatchObject({ insn, reason });
    expect(parse(name).insnText).toBe(insnText);
  });

  test.each([
    // Before 5.18 states are printed at branches: what is written since is not known any more.
    ["4.9-misaligned", { r0: "map_value(ks=4,vs=8)", r10: "fp" }],
    [
      "5.10-packet",
      {
        r1: "ctx(id=0,off=0,imm=0)",
        r2: "pkt(id=0,off=14,r=14,imm=0)",
        r6: "pkt(id=0,off=0,r=14,imm=0)",
        r7: "pkt_end(id=0,off=0,imm=0)",
        r10: "fp0",
      },
    ],
    ["5.4-branches", { r0: "inv0", r1: "ctx(id=0,off=0,imm=0)", r10: "fp0" }],
    ["6.1-moved", { r0: "scalar()", r10: "fp0" }],
    ["6.1-subprogram", { r1: "ctx(off=0,imm=0)", r7: "ctx(off=0,imm=0)", r10: "fp0" }],
    ["7.3-two-leaks", { r0: "2", r10: "fp0", refs: "2" }],
    ["7.3-limit", {}],
  ])("%s: state", (name, state) => {
    expect(Object.fromEntries(parse(name).state)).toEqual(state);
  });

  test("what calls took away", () => {
    const moved = { insn: 3, insnText: "call bpf_xdp_adjust_head#44" };
    const { lost } = parse("6.1-moved");
    expect(lost.get("r1")).toMatchObject({ ...moved, was: "ctx(off=0,imm=0)" });
    expect(lost.get("r2")).toMatchObject({ ...moved, was: "-4" });
    expect(lost.get("r5")).toMatchObject({ ...moved, was: undefined });
    expect(lost.get("r7")).toMatchObject({ ...moved, was: "pkt(off=0,r=0,imm=0)" });
    expect(lost.get("fp-8")).toMatchObject({ ...moved, was: "pkt" });
    expect(lost.get("r6")).toBeUndefined();
  });

  test("what a call took away on another path does not count", () => {
    const { lost } = parse("5.4-branches");
    // The call of instruction 2 is on the path that was left; that of instruction 0 is on both, and r1 is known again.
    expect(lost.get("r1")).toBeUndefined();
    expect(lost.get("r2")).toMatchObject({ insn: 0, insnText: "call bpf_get_prandom_u32#7" });
  });

  test("the report of 7.3: its sections, paragraphs joined", () => {
    expect(parse("7.3-null").report).toEqual({
      problem: "Register Type Safety: Invalid dereference",
      reason:
        "R0 may be NULL here (map_value_or_null). The program could dereference NULL on this path, so the verifier cannot prove this access is safe.",
      path: [
        {
          insn: 5,
          text: "update: R0 changed from uninitialized value to nullable map value from flows at offset 0",
        },
        { insn: 6, text: "branch: explored as false, goto not followed" },
      ],
      suggestion: "Add a NULL check before the access and dereference the pointer only on the non-NULL path.",
    });
    expect(parse("7.3-unreadable-register").report).toEqual({
      problem: "Register Type Safety: Unreadable register",
      reason: "R0 has never been initialized on this path, so the verifier cannot use it as an input.",
      path: [],
      suggestion: "Initialize R0 on every path before this instruction.",
    });
  });

  test("the first of two reports", () => {
    const { report } = parse("7.3-two-leaks");
    expect(report?.reason).toBe(
      "Owned resource (id=2) was acquired at instruction 4 and still needs to be released before this exit path.",
    );
    expect(report?.path).toEqual([{ insn: 4, text: "acquired: owned resource (id=2)" }]);
  });

  test("a report without a reason of the old form", () => {
    const log = "Verification failed: Policy: No\n\nReason:\n  Because.\n\nAt:\n  insn 3\n";
    expect(parseVerifierLog(log)).toMatchObject({ reason: "Policy: No", insn: 3 });
  });

  test.each([
    ["unreachable insn 5", 5],
    ["jump out of range from insn 3 to 20", 3],
    ["back-edge from insn 7 to 2", 7],
    ["jump into the middle of ldimm64 insn 4", 4],
    ["infinite loop detected at insn 9", 9],
    ["Unreleased reference id=1 alloc_insn=4", undefined],
    ["unknown opcode 8d", undefined],
  ])("a log of the reason alone: %s", (reason, insn) => {
    expect(parseVerifierLog(`${reason}\nprocessed 0 insns (limit 1000000) total_states 0\n`)).toMatchObject({
      reason,
      insn,
      insnText: undefined,
    });
  });

  test("statistics behind a reason that lacks its newline", () => {
    const log =
      "3: (85) call bpf_tail_call#12\nexpected prog array map for tail callprocessed 3 insns (limit 1000000) x\n";
    expect(parseVerifierLog(log).reason).toBe("expected prog array map for tail call");
  });

  test("state that stands behind its instruction", () => {
    const log =
      "2: (55) if r6 != 0x0 goto pc+5 8: R6=ptr_bpf_cpumask(id=2) R10=fp0 refs=2\n8: (bf) r1 = r6\nR6 !read_ok\n";
    expect(parseVerifierLog(log)).toMatchObject({ insn: 8 });
    expect(Object.fromEntries(parseVerifierLog(log).state)).toEqual({
      r6: "ptr_bpf_cpumask(id=2)",
      r10: "fp0",
      refs: "2",
    });
  });

  test("a value with spaces in its brackets", () => {
    const log = "0: R1=ctx() R2=scalar(umax=255,var_off=(0x0; 0xff)) fp-8_w=mmmm????\n0: (95) exit\nno\n";
    expect(Object.fromEntries(parseVerifierLog(log).state)).toEqual({
      r1: "ctx()",
      r2: "scalar(umax=255,var_off=(0x0; 0xff))",
      "fp-8": "mmmm????",
    });
  });

  test("source text that looks like a log is source text", () => {
    const log = "3: (95) exit\n; 7: (71) r1 = *(u8 *)(r2 +0)\n; Verification failed: ha\nR0 !read_ok\n";
    expect(parseVerifierLog(log)).toMatchObject({ insn: 3, reason: "R0 !read_ok", report: undefined });
  });

  test("an empty log", () => {
    expect(parseVerifierLog("")).toEqual({
      reason: "",
      insn: undefined,
      insnText: undefined,
      state: new Map(),
      lost: new Map(),
      report: undefined,
    });
  });

  test("text that is no log: its last lines are the reason, cut", () => {
    const log = Array.from({ length: 50 }, (_, index) => `${index} ${"x".repeat(1000)}`).join("\n");
    const { reason } = parseVerifierLog(log);
    expect(reason.length).toBeLessThan(4 * 310);
    expect(reason).toMatch(/^46 x+\.\.\.; 47 x+\.\.\.; 48 x+\.\.\.; 49 x+\.\.\.$/);
  });

  // Work that grew with the square of these lengths would take hours: the tests' time limit tells.
  describe("takes no longer than it should", () => {
    const line =
      "7: (bf) r2 = r1                       ; R1=scalar(umax=255,var_off=(0x0; 0xff)) R2=scalar()\n";
    test.each([
      ["a hundred megabytes of instructions", line.repeat(1_100_000)],
      ["no newline", "R1=(".repeat(2_000_000)],
      ["digits", "1".repeat(10_000_000)],
      ["digits and spaces", "1 ".repeat(2_000_000)],
      ["newlines", "\n".repeat(5_000_000)],
      ["opened brackets", `0: ${"R1=((((".repeat(500)}\n`.repeat(1000)],
      ["frames", " frame1: frame1: ".repeat(200_000)],
      ["one path after another", "from 1 to 2: R1=ctx()\n2: (85) call x#1\n".repeat(100_000)],
      [
        "reports",
        "Verification failed: x\nReason:\n  y\nAt:\n  insn 1\nCausal path:\n  | ^-- z\n".repeat(50_000),
      ],
    ])("%s", (_name, log) => {
      expect(() => parseVerifierLog(log)).not.toThrow();
    });
  });

  test("never throws, whatever the text", () => {
    const pieces = fc.constantFrom(
      "0: (95) exit",
      "1: (85) call bpf_xdp_adjust_head#44 ; R1=pkt(r=1)",
      "from 3 to 5: frame1: R1=ctx() fp-8=m",
      " R0=inv(id=0",
      "Verification failed: x",
      "Reason:",
      "At:",
      "Causal path:",
      "Suggestion:",
      "  >>> 12 | (95) exit",
      "  | ^-- branch: y",
      "  insn 99999999999999999999",
      "frame9:",
      "",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string(), fc.string({ unit: "binary" }))), (lines) => {
        const { reason, state, lost } = parseVerifierLog(lines.join("\n"));
        expect(typeof reason).toBe("string");
        expect([...state.keys(), ...lost.keys()].every((name) => /^(?:r\d+|fp-\d+|refs)$/.test(name))).toBe(
          true,
        );
      }),
      { numRuns: 2000 },
    );
  });
});
