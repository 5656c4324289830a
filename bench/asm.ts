/**
 * What the assembler costs: building an instruction with and without its source position, working a position out,
 * assembling, encoding, decoding and disassembling. CPU time, the best of several rounds.
 *
 * Run with `npx tsx bench/asm.ts`.
 */
import {
  add,
  assemble,
  decode,
  disassemble,
  encode,
  exit,
  type Insn,
  jeq,
  lddw,
  mov,
  mov32,
  r0,
  r1,
  r2,
  setSourceCapture,
  stxdw,
  xdp,
} from "../src/asm/index.ts";

const COUNT = 5_000;
const ROUNDS = 30;

/** A function of the user that builds instructions, as a macro would. */
function build(): Insn<"entry", never>[] {
  const insns: Insn<"entry", never>[] = [];
  while (insns.length < COUNT) {
    insns.push(mov(r1, r2), add(r1, -8), stxdw([r2, -8], r1), mov32(r0, 1), jeq(r0, 1, "entry"));
  }
  return insns;
}

function measure(what: string, count: number, run: () => unknown): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, ((user + system) * 1_000) / count);
  }
  console.log(`${what.padEnd(52)} ${best.toFixed(0).padStart(6)} ns`);
}

console.log(`node ${process.version}, ${COUNT} instructions a round, best of ${ROUNDS} rounds`);

const before = setSourceCapture(false);
measure("build an instruction, no source position", COUNT, build);
measure("build a 64-bit immediate load, no source position", COUNT, () => {
  for (let n = 0; n < COUNT; n++) lddw(r1, 0x1122_3344_5566_7788n);
});
setSourceCapture(true);
measure("build an instruction, source position captured", COUNT, build);
setSourceCapture(before);

const insns = build();
const program = xdp("bench", { entry: insns, end: [mov32(r0, 2), exit()] });
const { bytes, lines } = assemble(program);
measure("assemble, an instruction", lines.length, () => assemble(program));
measure("encode, an instruction", COUNT, () => encode(insns));
const wide = Array.from({ length: COUNT }, () => lddw(r1, 0x1122_3344_5566_7788n));
measure("encode, a 64-bit immediate load", COUNT, () => encode(wide));
measure("decode, an instruction", lines.length, () => decode(bytes));
const decoded = decode(bytes);
measure("disassemble, an instruction", lines.length, () => disassemble(decoded));

// A position is worked out once, so this has a single round; the first one also sets source maps up.
build()[0]?.source?.position();
const fresh = build().slice(0, 1_000);
const start = process.cpuUsage();
for (const { source } of fresh) source?.position();
const { user, system } = process.cpuUsage(start);
console.log(`${"work a source position out".padEnd(52)} ${(user + system).toFixed(0).padStart(6)} ns`);
