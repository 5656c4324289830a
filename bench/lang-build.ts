/**
 * What building a program of the structured language costs, by its size: recording, compiling and assembling, with and without
 * source positions.
 *
 * Run with `npx tsx bench/lang-build.ts`.
 */
import { assemble, setSourceCapture } from "../src/asm/index.ts";
import { u32 } from "../src/btf/layout/index.ts";
import { type Var, type XdpScope, xdp } from "../src/lang/index.ts";

type Statement = ($: XdpScope, sum: Var<"u32">, n: number) => void;

const kinds: Readonly<Record<string, Statement>> = {
  assignments: (_, sum, n) => sum.set(sum.mul(3).xor(n)),
  conditionals: ($, sum, n) => void $.if(sum.has(1 << (n % 30)), () => sum.set(sum.mul(3).xor(n))),
};

function build(statement: Statement, count: number): { readonly words: number; readonly ms: number } {
  const started = performance.now();
  const program = xdp(
    "built",
    ($) => {
      const sum = $.let(u32, $.bpf_get_prandom_u32());
      for (let n = 0; n < count; n++) statement($, sum, n);
      return $.return(sum);
    },
    { kernel: "6.6" },
  );
  const words = assemble(program).bytes.length / 8;
  return { words, ms: performance.now() - started };
}

build(kinds["conditionals"] as Statement, 500); // warms up
console.log("statements             instructions      ms   with source positions");
for (const [name, statement] of Object.entries(kinds)) {
  for (const count of [100, 1000, 10_000]) {
    const capturing = setSourceCapture(false);
    const { words, ms } = build(statement, count);
    setSourceCapture(capturing);
    const withSource = build(statement, count).ms;
    const label = `${count} ${name}`.padEnd(22);
    console.log(
      `${label} ${`${words}`.padStart(12)} ${ms.toFixed(0).padStart(7)} ${withSource.toFixed(0).padStart(23)}`,
    );
  }
}
