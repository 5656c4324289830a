/**
 * The twenty programs that exist in the structured language and in C, side by side: instructions, and nanoseconds for a packet
 * in the running kernel. The C is compiled with the newest clang on the PATH, -O2.
 *
 * A program runs some thousand times with one BPF_PROG_TEST_RUN, and the kernel tells the time of a run, the loop around it
 * included, in whole nanoseconds. The two builds of a program take turns, round by round; medians over the rounds. The tables are
 * Markdown.
 *
 * Run as root with `npx tsx bench/lang.ts [rounds]`; 101 rounds by default. A machine that does something else meanwhile shows
 * in the times, even so.
 */
import { release } from "node:os";
import { assemble } from "../src/asm/assemble.ts";
import type { Program } from "../src/asm/program.ts";
import { RingBuffer } from "../src/kernel/events/ring-buffer.ts";
import type { BpfMap } from "../src/kernel/map.ts";
import { TC_ACT_OK, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX } from "../src/uapi/bpf.ts";
import { __sk_buff } from "../src/uapi/structs.ts";
import { compileCase, cpusOf } from "../test/lang/c-programs.ts";
import { type Case, cases } from "../test/lang/cases.ts";
import * as maps from "../test/lang/maps.ts";
import { ethernet, icmp, ipv4, packets, payload } from "../test/lang/packets.ts";
import { inLanguage, KERNELS } from "../test/lang/programs/index.ts";
import { type LoadedCase, loadCase } from "../test/lang/run-case.ts";
import { findClang } from "../test/support/clang.ts";

const ROUNDS = Number(process.argv[2] ?? 101);
/** Runs of a program in a round. */
const RUNS = 20_000;

/** What a program is timed on, again and again: the packet is not renewed between runs. */
interface Timing {
  /** One of the corpus, or another one and its name. */
  readonly packet: string | readonly [name: string, packet: Uint8Array];
  /** What the program returns for it. */
  readonly verdict: number;
  /** Where so many runs at once are too many: until its packet or its maps are used up. */
  readonly runs?: number;
  /** What must be done before. */
  readonly prepare?: (loaded: LoadedCase) => void;
  /** What a reader should know. */
  readonly note?: string;
}

const timings: Readonly<Record<string, Timing>> = {
  count_packets: { packet: "udp to 53", verdict: XDP_PASS },
  port_filter: { packet: "udp, long", verdict: XDP_PASS },
  vlan_types: { packet: "two vlans", verdict: XDP_PASS },
  flow_cpu: { packet: "udp to 53", verdict: XDP_REDIRECT },
  ttl_router: {
    packet: ["ping, TTL 255", ethernet(0x0800, ipv4(1, icmp(8, 0, payload(56)), { ttl: 255 }))],
    verdict: XDP_TX,
    runs: 200,
  },
  icmp_echo: { packet: "ping", verdict: XDP_PASS, note: "answers in the first run, then passes the answer" },
  lpm_block: { packet: "tcp to a watched network", verdict: XDP_PASS },
  ipv6_walk: { packet: "ipv6 chain", verdict: XDP_PASS, note: "four extension headers" },
  syn_bucket: { packet: "tcp syn", verdict: XDP_DROP, note: "its bucket is empty after the first runs" },
  dscp_mark: { packet: "expedited forwarding", verdict: TC_ACT_OK },
  protocol_bytes: { packet: "udp, long", verdict: TC_ACT_OK },
  nat_rewrite: {
    packet: "udp that nat rewrites",
    verdict: TC_ACT_OK,
    note: "once by its rule, then to itself",
    prepare: ({ map }) => {
      const same = { addr: 0x0a01_0203, port: 80, reserved: 0 };
      map(maps.nat).set(same, same);
    },
  },
  dns_socket: { packet: "udp to 53", verdict: 128 },
  egress_bytes: { packet: "udp to 53", verdict: 0, note: "beyond its quota after the first runs" },
  flow_event: {
    packet: "tcp syn",
    verdict: XDP_PASS,
    runs: 200,
    note: "the ring is emptied in between",
    prepare: ({ map }) => {
      using ring = RingBuffer.open(map(maps.events) as BpfMap<"ringbuf">);
      ring.drain(() => undefined);
    },
  },
  dispatch: { packet: "tcp ack", verdict: XDP_TX },
  hash_words: { packet: "udp, long", verdict: XDP_PASS },
  tunnel_inner: { packet: "vxlan, not blocked", verdict: XDP_PASS },
  payload_sum: { packet: "udp, long", verdict: XDP_PASS, note: "512 bytes are summed" },
};

/** One program of a table. */
interface Row {
  readonly name: string;
  /** clang's, the language's. */
  readonly insns: readonly [number, number];
  readonly ns: readonly [number, number] | undefined;
}

function sizeOf(program: Program): number {
  return assemble(program).bytes.length / 8;
}

function packetOf({ packet }: Timing): { readonly name: string; readonly data: Uint8Array } {
  if (typeof packet !== "string") return { name: packet[0], data: packet[1] };
  const data = packets[packet];
  if (data === undefined) throw new Error(`there is no packet '${packet}'`);
  return { name: packet, data };
}

/** Nanoseconds of a run, in each build. */
function time(spec: Case, programs: readonly [Program, Program]): readonly [number, number] | undefined {
  const timing = timings[spec.name];
  if (timing === undefined) return undefined;
  const { runs = RUNS, prepare, verdict } = timing;
  const { data } = packetOf(timing);
  const ctx = spec.type === "sched_cls" ? new Uint8Array(__sk_buff.size) : undefined;
  const input = { data, room: 64, ...(ctx && { ctx }) };
  using c = loadCase(spec, programs[0]);
  using language = loadCase(spec, programs[1]);
  const round = (loaded: LoadedCase): number => {
    prepare?.(loaded);
    const { retval, duration } = loaded.program.testRun({ ...input, repeat: runs });
    if (retval !== verdict) throw new Error(`${spec.name} returned ${retval}, not ${verdict}`);
    return duration;
  };
  const taken: [number[], number[]] = [[], []];
  for (const loaded of [c, language]) round(loaded); // warms up
  for (let n = 0; n < ROUNDS; n++) {
    // Whoever comes second does so every other time.
    if (n % 2 === 0) taken[0].push(round(c));
    taken[1].push(round(language));
    if (n % 2 === 1) taken[0].push(round(c));
  }
  return [median(taken[0]), median(taken[1])];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function ratio([c, language]: readonly [number, number]): number {
  return language / c;
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ name, insns, ns }) => {
    const timing = timings[name];
    const what = timing === undefined ? "no repeat count for raw tracepoints" : packetOf(timing).name;
    const cells = [
      name,
      ...insns.map(String),
      ratio(insns).toFixed(2),
      ...(ns?.map(String) ?? ["", ""]),
      ns === undefined ? "" : ratio(ns).toFixed(2),
      timing?.note === undefined ? what : `${what}: ${timing.note}`,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| program | clang | tsbpf | ratio | clang ns | tsbpf ns | ratio | packet |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ...lines,
  ].join("\n");
}

function summary(rows: readonly Row[]): string {
  const times = rows.flatMap(({ name, ns }) => (ns === undefined ? [] : [{ name, ratio: ratio(ns) }]));
  const sizes = rows.map(({ name, insns }) => ({ name, ratio: ratio(insns) }));
  const mean = (of: readonly { readonly name: string; readonly ratio: number }[]): string => {
    const all = geometricMean(of.map((one) => one.ratio));
    // clang unrolls its loop: one program would flatter the mean of all.
    const rest = geometricMean(of.filter(({ name }) => name !== "ipv6_walk").map((one) => one.ratio));
    return `${all.toFixed(3)} (${rest.toFixed(3)} without ipv6_walk)`;
  };
  const worse = (of: readonly { readonly name: string; readonly ratio: number }[], limit: number): string =>
    of
      .filter((one) => one.ratio > limit)
      .toSorted((a, b) => b.ratio - a.ratio)
      .map((one) => `${one.name} ${one.ratio.toFixed(2)}`)
      .join(", ") || "none";
  return [
    `Geometric mean of the ratios: instructions ${mean(sizes)}, time ${mean(times)}.`,
    `More instructions than clang: ${worse(sizes, 1)}.`,
    `Slower than clang by more than 3 %: ${worse(times, 1.03)}.`,
  ].join("\n\n");
}

const clang = findClang();
if (clang === undefined) {
  console.error("No clang that compiles for BPF is on the PATH: there is nothing to compare with.");
  process.exitCode = 1;
} else {
  const date = new Date().toISOString().slice(0, 10);
  console.log(`${date}, kernel ${release()}, clang ${clang.version}, ${ROUNDS} rounds of ${RUNS} runs\n`);
  for (const isa of cpusOf(clang)) {
    const rows = cases.map((spec): Row => {
      const programs = [compileCase(clang, spec, isa), inLanguage(spec, isa)] as const;
      return {
        name: spec.name,
        insns: [sizeOf(programs[0]), sizeOf(programs[1])],
        ns: time(spec, programs),
      };
    });
    console.log(
      `clang -mcpu=${isa}, tsbpf for kernel ${KERNELS[isa]}\n\n${table(rows)}\n\n${summary(rows)}\n`,
    );
  }
}
