import fc from "fast-check";
import { expect, it } from "vitest";
import { compile } from "../../../src/lang/compile/compile.ts";
import { optimise } from "../../../src/lang/compile/optimise.ts";
import { toSingleAssignment } from "../../../src/lang/compile/ssa.ts";
import { execute } from "./execute.ts";
import { interpret } from "./interpret.ts";
import { bodies, functionOf, PACKET_SIZE } from "./random-function.ts";

const packet = fc.uint8Array({ minLength: PACKET_SIZE, maxLength: PACKET_SIZE });
// The same functions each time, unless somebody asks for others.
const seed = Number(process.env["TSBPF_FUZZ_SEED"] ?? 1);
const numRuns = Number(process.env["TSBPF_FUZZ_RUNS"] ?? 300);

for (const isa of [3, 4] as const) {
  it(`random functions do the same after each pass, and as instructions of ISA ${isa}`, () => {
    const body = bodies({ signedDivision: isa === 4, length: 12 });
    fc.assert(
      fc.property(body, packet, (statements, bytes) => {
        const expected = interpret(functionOf(statements), bytes);
        const fn = functionOf(statements);
        toSingleAssignment(fn);
        expect(interpret(fn, bytes)).toEqual(expected);
        optimise(fn, { isa });
        expect(interpret(fn, bytes)).toEqual(expected);
        expect(execute(compile(functionOf(statements), { isa }), bytes)).toEqual(expected);
      }),
      { seed, numRuns },
    );
  });
}
