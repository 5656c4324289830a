/**
 * The differential fuzzer of the structured language: random programs run in the kernel and in an evaluator that knows
 * nothing of compilers, and must agree. The tests run a part of it.
 *
 * Run as root with `npx tsx bench/lang-fuzz.ts [first seed] [programs]`; 100,000 programs by default.
 */
import { compareSeeds } from "../test/lang/fuzz/run.ts";

const [first = "0", count = "100000"] = process.argv.slice(2);
const started = performance.now();
const found = compareSeeds(Number(first), Number(count));
for (const { seed, what } of found) console.log(`seed ${seed}: ${what}`);
const seconds = ((performance.now() - started) / 1000).toFixed(1);
const beyond = found.filter(({ beyondVerifier }) => beyondVerifier).length;
const wrong = found.length - beyond;
console.log(
  `${count} programs from seed ${first}: ${wrong === 0 ? "all agree" : `${wrong} disagree`}` +
    `${beyond === 0 ? "" : `, ${beyond} with longer loops are more than the verifier follows`} (${seconds} s)`,
);
process.exitCode = wrong === 0 ? 0 : 1;
