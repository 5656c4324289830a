/** Run by verifier-error.test.ts without CAP_PERFMON: prints what the verifier says to programs that need it. */
import { mov, mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { ldxdw, stb, stxdw } from "../../src/asm/load-store.ts";
import { program, schedCls } from "../../src/asm/program.ts";
import { r0, r1, r6, r10 } from "../../src/asm/register.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { VerifierError } from "../../src/kernel/verifier-error.ts";

const programs = [
  schedCls("bad", {
    entry: [
      ldxdw(r6, [r10, -8]), // uninitialized
      mov32(r0, 0),
      exit(),
    ],
  }),
  schedCls("bad", {
    entry: [
      stxdw([r10, -8], r1),
      stb([r10, -8], 0), // corrupted
      mov32(r0, 0),
      exit(),
    ],
  }),
  program("socket_filter", "bad", {
    entry: [
      mov(r0, r1),
      exit(), // leak
    ],
  }),
];

const refusals = programs.map((bad) => {
  try {
    BpfProgram.load(bad).close();
    return "taken";
  } catch (error) {
    if (!(error instanceof VerifierError)) throw error;
    const { hintId, sourceText, reason } = error;
    return { hintId, sourceText, reason };
  }
});
process.stdout.write(JSON.stringify(refusals));
