import fc from "fast-check";
import { expect, it } from "vitest";
import type { Program } from "../../../src/asm/program.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { compile } from "../../../src/lang/compile/compile.ts";
import { interpret } from "../../lang/compile/interpret.ts";
import { bodies, functionOf, PACKET_SIZE } from "../../lang/compile/random-function.ts";

const XDP: Omit<Program, "blocks"> = {
  kind: "program",
  type: "xdp",
  name: "random",
  license: "GPL",
  attachType: undefined,
  flags: 0,
};
const packet = fc.uint8Array({ minLength: PACKET_SIZE, maxLength: PACKET_SIZE });
// The same functions each time, unless somebody asks for others.
const seed = Number(process.env["TSBPF_FUZZ_SEED"] ?? 1);
const numRuns = Number(process.env["TSBPF_FUZZ_RUNS"] ?? 200);

for (const isa of [3, 4] as const) {
  it(`the verifier takes random functions compiled for ISA ${isa}, and they do what the interpreter does`, () => {
    const body = bodies({ signedDivision: isa === 4, length: 8 });
    fc.assert(
      fc.property(body, packet, (statements, bytes) => {
        const expected = interpret(functionOf(statements), bytes);
        const blocks = compile(functionOf(statements), { isa });
        using loaded = BpfProgram.load({ ...XDP, blocks });
        const { retval, data } = loaded.testRun({ data: bytes });
        expect({ result: BigInt(retval >>> 0), packet: data }).toEqual({
          result: expected.result,
          packet: Uint8Array.from(expected.packet),
        });
      }),
      { seed, numRuns },
    );
  });
}
