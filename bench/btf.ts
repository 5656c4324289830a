/**
 * How long it takes to read the running kernel's BTF: `tsx bench/btf.ts`. cilium/ebpf publishes 46 ms for parsing
 * vmlinux. The first round is what a program that starts pays; the best of many is what compiled code costs.
 */
import { readFileSync } from "node:fs";
import { createBtfBuilder } from "../src/btf/builder.ts";
import { createTypeCopier } from "../src/btf/copy.ts";
import { type Btf, decodeBtf } from "../src/btf/decode.ts";
import { getType, kernelStruct } from "../src/btf/lookup.ts";

const ROUNDS = 15;
const bytes = readFileSync(process.argv[2] ?? "/sys/kernel/btf/vmlinux");

let btf: Btf | undefined;
const kernel = (): Btf => {
  btf ??= decodeBtf(bytes);
  return btf;
};
const steps: readonly (readonly [what: string, step: () => void])[] = [
  [
    "index (find every type)",
    () => {
      btf = decodeBtf(bytes);
    },
  ],
  ["first lookup by name (index names)", () => void kernel().ids("task_struct")],
  [
    "task_struct.pid (decode what is asked for)",
    () => void kernelStruct(kernel(), "task_struct").field("pid"),
  ],
  ["another lookup by name", () => void kernel().ids("sk_buff")],
  [
    "decode every type",
    () => {
      const all = kernel();
      for (let id = 0; id < all.typeCount; id++) all.type(id);
    },
  ],
  [
    "copy sk_buff and all that it needs",
    () => void createTypeCopier(kernel(), createBtfBuilder())(getType(kernel(), "struct", "sk_buff").id),
  ],
];

const times = steps.map((): number[] => []);
for (let round = 0; round < ROUNDS; round++) {
  for (const [index, [, step]] of steps.entries()) {
    const start = performance.now();
    step();
    times[index]?.push(performance.now() - start);
  }
}

console.log(
  `${(bytes.length / 1e6).toFixed(1)} MB, ${kernel().typeCount} types, ${ROUNDS} rounds; milliseconds\n`,
);
console.log(`${"".padEnd(46)}${"first".padStart(10)}${"best".padStart(10)}`);
for (const [index, [what]] of steps.entries()) {
  const [first = 0, ...rest] = times[index] ?? [];
  console.log(
    `${what.padEnd(46)}${first.toFixed(3).padStart(10)}${Math.min(first, ...rest)
      .toFixed(3)
      .padStart(10)}`,
  );
}
