/**
 * The same work on libbpf and on tsbpf, side by side: from a source file to a loaded program, loading in a process that runs
 * already, map entries one at a time and in batches, records of a ring buffer. The C is in `bench/libbpf/`.
 *
 * Both sides of a row take turns, and the medians of the rounds are printed. Rows of whole commands are wall time, the others
 * time that the process had a processor for. Needs root, clang, gcc and libbpf's headers (Debian: `clang gcc libbpf-dev`).
 *
 * Run with `npx tsx bench/libbpf.ts [rounds]`; 7 rounds by default.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { arch, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mapDef } from "../src/asm/index.ts";
import { u32, u64 } from "../src/btf/layout/index.ts";
import { lostCounter } from "../src/kernel/events/lost.ts";
import { RingBuffer } from "../src/kernel/events/ring-buffer.ts";
import { BpfMap } from "../src/kernel/map.ts";
import { BpfProgram } from "../src/kernel/program.ts";
import { cpuMapDef, xdpSameCpu } from "../src/programs/index.ts";
import { linuxSyscalls } from "../src/syscall/ffi.ts";
import { numbered, ringDef, ringProducer, run, sequenceDef } from "../test/kernel/events/support.ts";
import { findClang } from "../test/support/clang.ts";

const ROUNDS = Number(process.argv[2] ?? 7);
const ENTRIES = 1024;
const RING_BYTES = 16 * 1024 * 1024;
/** Records that fit into the ring buffer at once. */
const RING_ROUND = 200_000;

const root = fileURLToPath(new URL("..", import.meta.url));
const sources = join(root, "bench", "libbpf");
const directory = mkdtempSync(join(tmpdir(), "tsbpf-libbpf-"));
const object = join(directory, "sample.o");
const peer = join(directory, "peer");
process.once("exit", () => rmSync(directory, { recursive: true, force: true }));

interface Row {
  readonly name: string;
  readonly unit: "ns" | "µs" | "ms";
  readonly libbpf: () => number;
  readonly tsbpf: () => number;
}

const PER_UNIT = { ns: 1, µs: 1e3, ms: 1e6 } as const;

const clang = findClang() ?? fail("no clang on the PATH: install Debian's package clang");
compileC();
const { dist, build } = compileTypeScript();
console.log(
  `node ${process.version}, kernel ${release()}, clang ${clang.version}, medians of ${ROUNDS} rounds`,
);
console.log(`compiling libbpf's side takes ${seconds(median(times(3, compileC)))}, ${build}\n`);
console.log("| what | libbpf | tsbpf | ratio |");
console.log("| --- | ---: | ---: | ---: |");
for (const row of rows()) print(row);

function rows(): readonly Row[] {
  const start = () => command(peer, [object, "start", "1"]);
  const load = task("load", 100);
  return [
    {
      name: "a command that loads the sample and ends, from source (tsx)",
      unit: "ms",
      libbpf: () => compileC() + start(),
      tsbpf: () =>
        command(process.execPath, [
          "--import",
          "tsx",
          "--input-type=module",
          "-e",
          loadOnce(join(root, "src"), "ts"),
        ]),
    },
    {
      name: "the same, compiled before",
      unit: "ms",
      libbpf: start,
      tsbpf: () => command(process.execPath, ["--input-type=module", "-e", loadOnce(dist, "js")]),
    },
    { name: "load and close the sample", unit: "µs", libbpf: load, tsbpf: loadOften(100) },
    { name: "set an entry", unit: "ns", libbpf: task("map-set", 100_000), tsbpf: mapSet(100_000) },
    { name: "get an entry", unit: "ns", libbpf: task("map-get", 100_000), tsbpf: mapGet(100_000) },
    {
      name: `an entry of a batch of ${ENTRIES}`,
      unit: "ns",
      libbpf: task("map-batch", 200 * ENTRIES),
      tsbpf: mapBatch(200),
    },
    {
      name: "a ring buffer's record, in place",
      unit: "ns",
      libbpf: task("ring", 400_000),
      tsbpf: ring("raw", 400_000),
    },
    {
      name: "a ring buffer's record, as an object",
      unit: "ns",
      libbpf: task("ring", 400_000),
      tsbpf: ring("decoded", 400_000),
    },
  ];
}

function print({ name, unit, libbpf, tsbpf }: Row): void {
  tsbpf(); // once to warm up: what runs for long is compiled by then
  const pairs = Array.from({ length: ROUNDS }, () => [libbpf(), tsbpf()] as const);
  const [theirs, ours] = [median(pairs.map(([a]) => a)), median(pairs.map(([, b]) => b))];
  const show = (ns: number): string => {
    const value = ns / PER_UNIT[unit];
    return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
  };
  console.log(`| ${name} | ${show(theirs)} | ${show(ours)} | ${(ours / theirs).toPrecision(2)} |`);
}

// libbpf

function compileC(): number {
  const include = arch() === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  const bpf = ["-O2", "-g", "--target=bpf", `-I/usr/include/${include}`, "-c", join(sources, "sample.bpf.c")];
  return (
    command(clang.path, [...bpf, "-o", object]) +
    command("gcc", ["-O2", "-Wall", "-Wextra", join(sources, "peer.c"), "-o", peer, "-lbpf"])
  );
}

/** What the peer says that one piece of the work costs it. */
function task(name: string, count: number): () => number {
  return () => {
    const { status, stdout, stderr } = spawnSync(peer, [object, name, String(count)], { encoding: "utf8" });
    if (status !== 0) fail(`peer ${name}: ${stderr}`);
    return Number(stdout);
  };
}

// tsbpf

/** `tsc` into a folder of its own, beside which the dependencies are found. */
function compileTypeScript(): { readonly dist: string; readonly build: string } {
  const out = mkdtempSync(join(root, ".docs-bench-"));
  process.once("exit", () => rmSync(out, { recursive: true, force: true }));
  const ns = command(process.execPath, [
    join(root, "node_modules", "typescript", "bin", "tsc"),
    ...["-p", join(root, "tsconfig.build.json"), "--outDir", out],
  ]);
  return { dist: out, build: `of tsbpf's TypeScript ${seconds(ns)}` };
}

/** A module that creates the map, loads the program and ends. */
function loadOnce(folder: string, extension: "ts" | "js"): string {
  const url = (module: string) => JSON.stringify(join(folder, `${module}.${extension}`));
  return `
    import { BpfMap, BpfProgram } from ${url("kernel/index")};
    import { cpuMapDef, xdpSameCpu } from ${url("programs/index")};
    const def = cpuMapDef(2);
    const cpus = BpfMap.create(def);
    BpfProgram.load(xdpSameCpu(def), { maps: [cpus] }).close();
    cpus.close();
  `;
}

function loadOften(count: number): () => number {
  return () =>
    perCall(count, () => {
      const def = cpuMapDef(2);
      const cpus = BpfMap.create(def);
      BpfProgram.load(xdpSameCpu(def), { maps: [cpus] }).close();
      cpus.close();
    });
}

function benchMap(): BpfMap<"hash", number, number> {
  const map = BpfMap.create(
    mapDef({ name: "bench", type: "hash", key: u32, value: u64.asNumber, maxEntries: ENTRIES }),
  );
  map.setBatch(Array.from({ length: ENTRIES }, (_, key) => [key, key] as const));
  return map;
}

function mapSet(count: number): () => number {
  const map = benchMap();
  let i = 0;
  return () => perCall(count, () => map.set(i % ENTRIES, i++));
}

function mapGet(count: number): () => number {
  const map = benchMap();
  let i = 0;
  return () => perCall(count, () => map.get(i++ % ENTRIES));
}

function mapBatch(count: number): () => number {
  const map = benchMap();
  return () =>
    perCall(count, () => {
      if (map.getBatch({ count: ENTRIES }).entries.length !== ENTRIES) fail("a batch is short");
    }) / ENTRIES;
}

function ring(how: "raw" | "decoded", count: number): () => number {
  const sys = linuxSyscalls();
  const defs = { ring: ringDef(RING_BYTES), seq: sequenceDef(), lost: lostCounter("lost") };
  const maps = [BpfMap.create(defs.ring), BpfMap.create(defs.seq), BpfMap.create(defs.lost)] as const;
  const program = BpfProgram.load(ringProducer(defs.ring, defs.seq, defs.lost), { maps: [...maps] });
  const reader = RingBuffer.open(maps[0], numbered);
  const { seq } = numbered.fields;
  let expected = 0;
  const see = (number: number): void => {
    if (number !== expected++) fail(`record ${number} came where ${expected - 1} was due`);
  };
  return () => {
    let spent = 0;
    for (let done = 0; done < count; done += RING_ROUND) {
      run(sys, program, RING_ROUND);
      const start = cpuNs();
      if (how === "raw") reader.drainRaw((view, offset) => see(seq.read(view, offset)));
      else reader.drain((record) => see(record.seq));
      spent += cpuNs() - start;
    }
    return spent / count;
  };
}

// Time

function perCall(count: number, call: () => void): number {
  const start = cpuNs();
  for (let i = 0; i < count; i++) call();
  return (cpuNs() - start) / count;
}

function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** Runs a command to its end: nanoseconds. */
function command(path: string, args: readonly string[]): number {
  const start = process.hrtime.bigint();
  const { status, error, stderr } = spawnSync(path, args, { cwd: root, encoding: "utf8" });
  if (status !== 0) fail(`${path} ${args.join(" ")}: ${error?.message ?? stderr}`);
  return Number(process.hrtime.bigint() - start);
}

function times(count: number, measure: () => number): readonly number[] {
  return Array.from({ length: count }, measure);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function seconds(ns: number): string {
  return `${(ns / 1e9).toFixed(2)} s`;
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
