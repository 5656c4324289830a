/**
 * Runs tsbpf on other kernels than this machine's: Debian's cloud kernels in virtual machines, one after the other. See
 * docs/kernels.md.
 *
 *     npx tsx scripts/kernels/run.ts                                     doctor, demo and kernel tests on KERNELS
 *     npx tsx scripts/kernels/run.ts 5.10 6.18                           on these
 *     npx tsx scripts/kernels/run.ts 7.2 --tests test/kernel/cli,test/kernel/tc.test.ts     with these tests
 *     npx tsx scripts/kernels/run.ts 5.10 --run 'node dist/main.js up eth0; dmesg'          this command only
 */
import { mkdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildInitramfs, buildUserland, requireCommands } from "./image.ts";
import { fetchKernel, findReleases, type Kernel } from "./packages.ts";
import { formatReports, type KernelReport, reportOf } from "./report.ts";
import { STEPS, TESTS, testStep } from "./steps.ts";
import { parseTranscript, type Step } from "./transcript.ts";
import { runVm } from "./vm.ts";

/** The oldest that tsbpf supports, those of Debian's releases, and the newest. */
const KERNELS = ["5.10", "6.1", "6.12", "7.2", "7.3"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tests: { type: "string" },
    run: { type: "string" },
    seconds: { type: "string", default: "2400" },
  },
});
const versions = positionals.length === 0 ? KERNELS : positionals;
const seconds = Number(values.seconds);
const steps: readonly Step[] =
  values.run === undefined
    ? [...STEPS, testStep(values.tests?.split(",") ?? TESTS, seconds)]
    : [{ name: "run", seconds, script: values.run }];

const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "tsbpf/kernels");
mkdirSync(cache, { recursive: true });
requireCommands();
const userland = join(cache, `userland-${process.pid}.cpio`);
try {
  const kernels = findReleases(versions, cache).map((release) => fetchKernel(release, cache));
  buildUserland(userland);
  const reports: KernelReport[] = [];
  for (const kernel of kernels) reports.push(await runOn(kernel));
  if (values.run === undefined) console.log(formatReports(reports));
  process.exitCode = reports.every(({ ok }) => ok) ? 0 : 1;
} finally {
  rmSync(userland, { force: true });
}

async function runOn({ release, image, modules }: Kernel): Promise<KernelReport> {
  const file = (suffix: string): string => join(cache, `${release}.${suffix}`);
  console.log(`== ${release} (${file("console.log")})`);
  const initramfs = file(`${process.pid}.initramfs`);
  try {
    buildInitramfs(initramfs, userland, { release, image, modules }, steps);
    const { output, killed } = await runVm({
      image,
      initramfs,
      consoleLog: file("console.log"),
      resultLog: file("results.log"),
      seconds: seconds + 600,
      onOutput: (text) => process.stdout.write(text),
    });
    return reportOf(release, parseTranscript(output), killed);
  } finally {
    rmSync(initramfs, { force: true });
  }
}
