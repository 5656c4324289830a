import { describe, expect, test } from "vitest";
import { mov32 } from "../../src/asm/alu.ts";
import { assemble } from "../../src/asm/assemble.ts";
import { exit } from "../../src/asm/jump.ts";
import { xdp } from "../../src/asm/program.ts";
import { r0 } from "../../src/asm/register.ts";
import type { HintId } from "../../src/kernel/verifier/hint.ts";
import { hintFor } from "../../src/kernel/verifier/hints.ts";
import { parseVerifierLog } from "../../src/kernel/verifier/log.ts";

const assembled = assemble(xdp("bad", { entry: [mov32(r0, 2), exit()] }));

function hintOf(log: string): ReturnType<typeof hintFor> {
  return hintFor({
    assembled,
    log: parseVerifierLog(log),
    line: assembled.lines[0],
    place: (insn) => `<${insn}>`,
  });
}

// Reasons in the words of kernels that are not at hand, and of situations that the kernel tests do not make. Those of
// this kernel are in test/kernel/verifier-error.test.ts.
const REASONS: readonly (readonly [reason: string, id: HintId | undefined, kernel: string])[] = [
  ["R1 invalid mem access 'inv'", "not-a-pointer", "before 5.18"],
  ["R2 invalid mem access 'imm'", "not-a-pointer", "4.9"],
  ["R1 type=inv expected=fp", "argument-type", "before 5.18"],
  ["R1 type=map_value_or_null expected=fp, pkt, map_value", "null-check", "5.4"],
  ["R0 pointer arithmetic on PTR_TO_MAP_VALUE_OR_NULL prohibited, null-check it first", "null-check", "4.14"],
  ["R0 pointer arithmetic on map_value_or_null prohibited, null-check it first", "null-check", "5.4"],
  ["Possibly NULL pointer passed to trusted arg0", "null-check", "6.2"],
  ["R1 32-bit pointer arithmetic prohibited", "pointer-32-bit", "4.14"],
  ["R3 partial copy of pointer", "pointer-32-bit", "4.14"],
  ["R2 pointer arithmetic on PTR_TO_PACKET_END prohibited", "packet-end-arithmetic", "4.14"],
  ["R2 pointer arithmetic on pkt_end prohibited", "packet-end-arithmetic", "5.4"],
  ["R2 bitwise operator &= on pointer prohibited", "pointer-arithmetic", "4.14"],
  ["R2 tried to subtract pointer from scalar", "pointer-arithmetic", "4.14"],
  ["R1 pointer arithmetic on sock prohibited", "pointer-arithmetic", "4.20"],
  ["cannot access ptr member ops with moff 0 in struct bpf_map with off 0 size 8", "map-pointer", "5.8"],
  ["invalid stack off=-520 size=8", "stack-bounds", "before 5.13"],
  ["invalid stack type R2 off=-16 access_size=32", "stack-bounds", "before 5.13"],
  ["invalid indirect read from stack off -8+0 size 8", "stack-uninitialized", "before 5.13"],
  ["invalid indirect read from stack R2 off -4+0 size 4", "stack-uninitialized", "5.13"],
  ["invalid read from stack off -8+0 size 8", "stack-uninitialized", "before 5.13"],
  ["invalid read from stack R10 off -16+4 size 8", "stack-uninitialized", "5.13"],
  ["invalid read from stack R10 off=-520 size=8", "stack-bounds", "5.13"],
  ["variable stack access var_off=(0x0; 0xff) off=-16 size=1", "stack-variable-offset", "5.4"],
  [
    "R2 variable offset stack access prohibited for !root, var_off=(0x0; 0xff) off=-16",
    "stack-variable-offset",
    "6.1",
  ],
  ["misaligned packet access off 0+2+3 size 4", "misaligned", "4.14"],
  ["misaligned value access off (0x0; 0xffffffff)+4 size 8", "misaligned", "4.14"],
  [
    "dereference of modified ctx ptr R1 off=8+4, ctx+const is allowed, ctx+const+const is not",
    "context-modified",
    "4.19",
  ],
  ["variable ctx access var_off=(0x0; 0xff) off=0 size=4", "context-modified", "4.14"],
  [
    "R0 min value is negative, either use unsigned index or do a if (index >=0) check.",
    "variable-offset",
    "4.14",
  ],
  ["value 2147483648 makes map_value pointer be out of bounds", "variable-offset", "5.4"],
  ["R2 unbounded memory access, use 'var &= const' or 'if (var < const)'", "argument-length", "4.14"],
  ["R3 min value is negative, either use unsigned or 'var &= const'", "argument-length", "4.14"],
  ["cannot write into packet", "read-only-memory", "4.14"],
  ["R1 cannot write into rdonly_mem", "read-only-memory", "5.17"],
  ["read from map forbidden, value_size=4 off=0 size=4", "read-only-memory", "5.2"],
  ["BPF_XADD stores into R2 pkt is not allowed", "atomic-target", "4.16"],
  ["unknown func bpf_skb_load_bytes#26", "helper-not-for-type", "before 6.9"],
  ["invalid func unknown#300", "helper-unknown", "4.19"],
  ["calling kernel function bpf_cpumask_create is not allowed", "kfunc", "6.3"],
  ["metadata kfuncs require device-bound program", "kfunc-device", "6.3"],
  ["cannot call kernel function from non-GPL compatible program", "gpl-only", "5.13"],
  ["Unreleased reference id=1 alloc_insn=0", "reference-leak", "4.20"],
  ["function calls are not allowed while holding a lock", "lock-held", "5.1"],
  ["bpf_spin_unlock is missing", undefined, "no such message"],
  ["BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region", "lock-held", "6.13"],
  ["back-edge from insn 5 to 2", "unbounded-loop", "before 5.3"],
  ["infinite loop detected at insn 4", "unbounded-loop", "5.3"],
  ["BPF program is too large. Processed 131073 insn", "too-complex", "4.19"],
  ["The sequence of 1025 jumps is too complex.", "too-complex", "4.19"],
  ["jump out of range from insn 3 to 90", "jump-target", "4.19"],
  ["jump into the middle of ldimm64 insn 4", "jump-target", "6.6"],
  ["last insn is not an exit or jmp", "no-exit", "4.19"],
  [
    "At program exit the register R0 has value (0x5; 0x0) should have been in (0x0; 0x1)",
    "return-range",
    "before 6.8",
  ],
  ["unknown opcode db", "invalid-instruction", "4.19"],
  ["BPF_STX uses reserved fields", "invalid-instruction", "4.19"],
  ["invalid bpf_ld_imm64 insn", "invalid-instruction", "4.19"],
  ["number of funcs in func_info doesn't match number of subprogs", "invalid-instruction", "5.10"],
  ["R0 leaks addr as return value", "pointer-leak", "4.9"],
  ["R1 leaks addr into map", "pointer-leak", "4.9"],
  ["R1 pointer comparison prohibited", "pointer-leak", "4.9"],
  ["verifier bug. Misconfigured map", "verifier-bug", "5.4"],
  ["kernel subsystem misconfigured verifier", "verifier-bug", "4.9"],
  ["something that no kernel says", undefined, "none"],
];

describe("hintFor", () => {
  test.each(REASONS)("%s: %s (%s)", (reason, id) => {
    const hint = hintOf(`0: (b4) w0 = 2\n${reason}\nprocessed 1 insns (limit 1000000)\n`);
    expect(hint?.id).toBe(id);
    if (hint === undefined) return;
    expect(hint.text).toMatch(/^[A-Zr].*[.)]$/);
    expect(hint.text).not.toMatch(/undefined|NaN|null,|\[object/);
  });

  test("a register that no call took is not blamed on one", () => {
    expect(hintOf("0: R1=ctx() R10=fp0\n0: (bf) r0 = r2\nR2 !read_ok\n")?.id).toBe("uninitialized-register");
    expect(hintOf("0: (85) call bpf_ktime_get_ns#5\n1: (bf) r0 = r2\nR2 !read_ok\n")).toMatchObject({
      id: "lost-in-call",
      text: expect.stringContaining("the call of bpf_ktime_get_ns at <0> took r2"),
    });
    expect(hintOf("0: (85) call pc+3\n1: (b7) r2 = 1\n2: (bf) r0 = r3\nR3 !read_ok\n")?.id).toBe(
      "lost-in-call",
    );
  });

  test("a packet pointer that was lost otherwise is not blamed on a helper", () => {
    const moved = "0: R7=pkt(r=14)\n0: (85) call bpf_xdp_adjust_head#44\n";
    expect(hintOf(`${moved}1: (71) r0 = *(u8 *)(r7 +0)\nR7 invalid mem access 'scalar'\n`)?.id).toBe(
      "packet-moved",
    );
    const kept = "0: R7=pkt(r=14)\n0: (85) call bpf_ktime_get_ns#5\n";
    expect(hintOf(`${kept}1: (71) r0 = *(u8 *)(r7 +0)\nR7 invalid mem access 'scalar'\n`)?.id).toBe(
      "not-a-pointer",
    );
    const set = `${moved}1: (b7) r7 = 1   ; R7=1\n`;
    expect(hintOf(`${set}2: (71) r0 = *(u8 *)(r7 +0)\nR7 invalid mem access 'scalar'\n`)?.id).toBe(
      "not-a-pointer",
    );
  });
});
