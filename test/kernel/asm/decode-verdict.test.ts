import { expect, it } from "vitest";
import { DecodeError, decode, encode, exit, type Insn, mov, r0 } from "../../../src/asm/index.ts";
import { progLoad } from "../../../src/syscall/bpf-prog.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { BPF_PROG_TYPE_SOCKET_FILTER } from "../../../src/uapi/bpf.ts";
import { instructionVectors } from "../../asm/vectors.ts";
import { describeKernel } from "../../support/privileges.ts";

// The verifier is the other judge of what an instruction is: decode must refuse nothing that it knows, and must not take
// what it calls unknown or reserved.

const sys = linuxSyscalls();

function complaint(bytes: Uint8Array): { readonly accepted: boolean; readonly log: string } {
  const log = new Uint8Array(1 << 16);
  const { result } = progLoad(sys, {
    prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
    insns: bytes,
    license: "GPL",
    log_level: 1,
    log_buf: log,
  });
  if (result >= 0) sys.close(result);
  return { accepted: result >= 0, log: new TextDecoder().decode(log.subarray(0, log.indexOf(0))) };
}

const NO_INSTRUCTION =
  /uses reserved fields?|unknown opcode|unknown insn class|invalid BPF_|R1[1-5] is invalid|(unrecognized|invalid) bpf_ld_imm64|invalid may_goto/;

// What decode takes and this kernel, or any so far, does not: callx, gotox (6.19), address spaces beside 0 and 1.
function isAheadOfKernel({ code, off, imm }: Insn): boolean {
  return code === 0x8d || code === 0x0d || (code === 0xbf && off === 1 && imm !== 1 && imm !== 0x10000);
}

/** The same numbers in every run, spread like random ones. */
function* numbers(seed: number): Generator<number, never> {
  let state = seed >>> 0;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield (state ^ (state >>> 15)) >>> 0;
  }
}

describeKernel("decode and the verifier", () => {
  it("agree about what is an instruction", () => {
    const random = numbers(2024);
    const pick = (limit: number): number => random.next().value % limit;
    const tail = encode([mov(r0, 0), mov(r0, 0), exit()]);
    const tally = { both: 0, neither: 0 };
    for (let round = 0; round < 20_000; round++) {
      // Any code, with mostly empty fields; or a known instruction with a field changed.
      let word: Uint8Array;
      if (round % 2 === 0) {
        word = new Uint8Array(pick(8) === 0 ? 16 : 8);
        word[0] = pick(256);
        if (pick(2) === 0) word[1] = pick(256);
        if (pick(4) === 0) word[2] = [0, 1, 8, 16, 32][pick(5)] ?? 0;
        if (pick(2) === 0) word[4] = [0, 1, 16, 32, 64, 0x50, 0xe1, 0xf1][pick(8)] ?? 0;
        if (pick(8) === 0) word[5] = 1;
      } else {
        word = (instructionVectors[pick(instructionVectors.length)]?.little ?? tail).slice();
        word[pick(8)] = pick(4) === 0 ? pick(256) : pick(3);
      }
      if (((word[0] ?? 0) & 0x07) === 5 || ((word[0] ?? 0) & 0x07) === 6) {
        // A jump that leaves the program is refused before its fields are looked at.
        if (word[2] !== 0 || word[3] !== 0) word.fill(0, 2, 4);
        if (word[0] === 6) word.fill(0, 4, 8);
      }
      const bytes = new Uint8Array([...word, ...tail]);
      const { accepted, log } = complaint(bytes);
      let insns: readonly Insn[] | undefined;
      let reason = "";
      try {
        insns = decode(bytes);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        reason = error.message;
      }
      const hex = Array.from(word, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
      if (insns === undefined) {
        expect(accepted, `${hex} is accepted by the kernel, but: ${reason}`).toBe(false);
        tally.neither++;
      } else if (!insns.some(isAheadOfKernel)) {
        expect(NO_INSTRUCTION.exec(log)?.[0], `${hex} is decoded, but: ${log}`).toBeUndefined();
        tally.both++;
      }
    }
    expect(tally.both).toBeGreaterThan(2_000);
    expect(tally.neither).toBeGreaterThan(2_000);
  });
});
