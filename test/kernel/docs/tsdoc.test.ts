import { mkdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Ability, createProber } from "tsbpf/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TsdocExample, tsdocExamples, writeExamples } from "../../docs/tsdoc.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms } from "../examples/harness.ts";
import type { ExampleResult, ExampleRun } from "./run-examples.ts";

const RUNNER = fileURLToPath(new URL("./run-examples.ts", import.meta.url));
const VALUES = "../../test/kernel/docs/example-values.ts";
const pins = `/sys/fs/bpf/tsbpf-test-tsdoc-${process.pid}`;
const cgroups =
  /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";
const cgroup = `${cgroups}/tsbpf-test-tsdoc-${process.pid}`;

describeKernel("@example", () => {
  beforeAll(() => {
    mkdirSync(pins);
    mkdirSync(cgroup);
  });
  afterAll(() => {
    rmSync(pins, { recursive: true, force: true });
    rmdirSync(cgroup);
  });

  test("each that needs a kernel runs, in a network of its own", async () => {
    await using net = await createTestNet();
    const examples = tsdocExamples();
    using written = writeExamples(examples, { grant, change });
    const run: ExampleRun = {
      pins,
      timeoutMs: 10_000,
      examples: examples
        .filter(({ place }) => !written.pure.includes(place))
        .map(({ place, code }) => ({
          place,
          path: written.files.get(place) ?? "",
          endless: /^for await/m.test(code),
        })),
    };
    const { stdout, stderr } = await net.exec("inside", process.execPath, ["--import", "tsx", RUNNER], {
      input: JSON.stringify(run),
      timeoutMs: 50_000,
    });
    const results = stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as ExampleResult);
    expect({ stderr, ran: results.map(({ place }) => place) }).toEqual({
      stderr: "",
      ran: run.examples.map(({ place }) => place),
    });
    const named = results.map((result) => ({ ...result, name: nameAt(examples, result.place) }));
    expect(named.filter((result) => !endedWell(result))).toEqual([]);
    for (const [name, text] of Object.entries(PRINTS)) {
      const printed = named.filter((result) => result.name === name).map((result) => result.printed);
      expect(printed, name).toContainEqual(expect.stringMatching(text));
    }
    await expectNoPrograms(net);
  });
});

/** Names of examples that take what not every kernel has. Where it lacks that, they end in the error that explains it. */
const TAKES: Readonly<Record<string, Ability>> = {
  attachTracing: "trampolines",
  attachUprobe: "uprobes",
  requireFeature: "netkit",
};

/** What an example prints, where it says so. */
const PRINTS: Readonly<Record<string, RegExp>> = {
  BpfMap: /^0 192$/,
  BpfProgram: /^2 1n$/,
  GlobalData: /^10 0$/,
  PerfBuffer: /^7 sh$/,
  RingBuffer: /^7 sh$/,
  TraceLog: /^.+$/, // the trace is the whole machine's: somebody else's line may come first
  attachIterator: /^(\.\n){10,}$/,
  compareWithBtf: /^udphdr\.dest: .*\nudphdr\.length: .*$/,
  disassemble: /^0: w0 = 2\n1: exit$/,
  getBatch: /^(\d+ \d+\n){1199}\d+ \d+$/,
  listAttachments: /eth0.* example link \d+/,
  lostCounter: /^0$/,
  measureRuns: /^1000n? \d+n?$/,
  mergeEvents: /^sh$/,
  probeFeatures: /^\{ answer: '(yes|no)', .*since: '6\.9' \}$/,
};

function nameAt(examples: readonly TsdocExample[], place: string): string {
  return examples.find((example) => example.place === place)?.name ?? "";
}

function endedWell({ name, error, leaks }: ExampleResult & { readonly name: string }): boolean {
  const ability = TAKES[name];
  const lacks = ability !== undefined && createProber().have(ability).answer !== "yes";
  if (!lacks) return error === undefined && leaks.length === 0;
  return (
    error?.name === "UnsupportedError" && error.message.includes("It came with kernel") && leaks.length === 0
  );
}

/** Gives an example its values, until it has ended. */
function grant({ source }: TsdocExample, names: readonly string[]): string {
  return [
    `import { exampleValues } from "${VALUES}";`,
    `using granted = exampleValues("${source}", "${pins}");`,
    `const { ${names.join(", ")} } = granted;`,
  ].join("\n");
}

/** Names of this run, for what is the machine's. */
function change(code: string): string {
  return code
    .replaceAll('"/sys/fs/bpf/', `"${pins}/`)
    .replace("/sys/fs/cgroup/web", cgroup)
    .replace('name: "mine"', `name: "tsb_d${process.pid}"`);
}
