/**
 * What the tests of the command line share: the CLI as a child process and its operations in this process, the kernel's
 * view of an interface as `ip`, `tc` and bpf(2) give it, and traffic that is followed packet by packet.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Context } from "../../../src/cli/context.ts";
import { type Correlation, correlate } from "../../../src/cli/demo/correlate.ts";
import { type Down, takeDown } from "../../../src/cli/sample/down.ts";
import { openSampleLog } from "../../../src/cli/sample/log.ts";
import { findDevice } from "../../../src/cli/sample/preflight.ts";
import { readStatus, type Status } from "../../../src/cli/sample/status.ts";
import { bringUp, type Up, type UpRequest } from "../../../src/cli/sample/up.ts";
import { kernelBefore } from "../../../src/kernel/privileges.ts";
import { listTcx } from "../../../src/kernel/tc/tcx.ts";
import type { TraceEvent, TraceLine } from "../../../src/kernel/trace-log.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { NetlinkSocket } from "../../../src/syscall/netlink.ts";
import { currentNetnsInode, openCurrentNetns, openNetns } from "../../../src/syscall/netns.ts";
import { listLinks } from "../../../src/syscall/rtnetlink.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { listBpfObjects } from "../../support/bpf-objects.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet, type TestNet, type TestNetOptions } from "../../support/netns.ts";
import { PRIVATE_BPFFS, removePinsOf } from "../../support/sweep.ts";

export const REPO: string = fileURLToPath(new URL("../../..", import.meta.url));

/** What a run of the CLI left. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run the CLI. */
export interface CliOptions {
  /** A command that runs it, such as `["ip", "netns", "exec", "blue"]`. */
  readonly via?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** The CLI's command line, in one process: tsx's own command starts a second one. */
export function cliArgs(args: readonly string[], via: readonly string[] = []): [string, ...string[]] {
  const [file = "", ...rest] = [...via, process.execPath, "--import", "tsx", "src/main.ts", ...args];
  return [file, ...rest];
}

/** Runs the CLI to its end; whatever its exit code is. */
export function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const [file, ...rest] = cliArgs(args, options.via);
  return new Promise((resolve, reject) => {
    execFile(
      file,
      rest,
      {
        cwd: REPO,
        encoding: "utf8",
        env: cliEnv(options.env),
        timeout: options.timeoutMs ?? 40_000,
        killSignal: "SIGKILL",
        maxBuffer: 64 << 20,
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === "number") resolve({ code, stdout, stderr });
        else reject(new Error(`${[file, ...rest].join(" ")}: ${error?.message}\n${stderr}${stdout}`));
      },
    );
  });
}

/** The CLI while it runs. */
export interface RunningCli {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  output(): string;
  /** Resolves when it has printed this. */
  printed(text: string | RegExp): Promise<void>;
  /** Resolves with its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** Starts the CLI. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const [file, ...rest] = cliArgs(args, options.via);
  const child = spawn(file, rest, { cwd: REPO, env: cliEnv(options.env), stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on("close", (code, signal) => resolve(code ?? signal ?? -1));
  });
  return {
    child,
    output: () => output,
    ended,
    printed: (text) =>
      until(`the CLI prints ${text}`, () =>
        typeof text === "string" ? output.includes(text) : text.test(output),
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}; it printed:\n${output}`);
      }),
  };
}

/** A process that runs one command line after the other, see cli-server.ts. */
export interface CliServer extends Disposable {
  readonly pid: number;
  run(...args: readonly string[]): Promise<CliResult>;
}

/** Starts a {@link CliServer}, by way of a command such as `["ip", "netns", "exec", "blue"]`. */
export async function cliServer(via: readonly string[] = []): Promise<CliServer> {
  const [file = "", ...rest] = [...via, process.execPath, "--import", "tsx", "test/kernel/cli/cli-server.ts"];
  const child = spawn(file, rest, { cwd: REPO, env: cliEnv({}), stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${file} ended`);
    return value;
  };
  await next();
  return {
    pid: child.pid as number,
    async run(...args) {
      child.stdin.write(`${JSON.stringify(args)}\n`);
      return JSON.parse(await next()) as CliResult;
    },
    [Symbol.dispose]: () => void child.kill("SIGKILL"),
  };
}

function cliEnv(env: CliOptions["env"]): NodeJS.ProcessEnv {
  return { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0", ...env };
}

/** A test network whose pins go with it, also when a test fails or its process is ended by a signal. */
export function sampleNet(options: TestNetOptions = {}): Promise<TestNet> {
  return createTestNet({ ...options, onDispose: ({ inside }) => void removePinsOf(inside.inode) });
}

/** Runs work in this process with its thread in the inner namespace; nothing else may go on meanwhile. */
export async function inside<Result>(
  net: TestNet,
  work: (context: Context) => Promise<Result> | Result,
  sys: Syscalls = linuxSyscalls(),
): Promise<Result> {
  const real = linuxSyscalls();
  using home = openCurrentNetns(real);
  using target = openNetns(real, { path: net.inside.path });
  real.setns(target.number, 0);
  try {
    using route = NetlinkSocket.route(sys);
    return await work({ sys, route, netns: currentNetnsInode(), [Symbol.dispose]: () => {} });
  } finally {
    real.setns(home.number, 0);
  }
}

/** What tests say about an `up`. */
export type UpOverrides = Partial<Omit<UpRequest, "devices" | "redirectTo">> & {
  readonly interfaces?: readonly string[];
  readonly redirect?: string;
};

/** An `up` of eth0 by TCX (by clsact where the kernel has none), quiet unless asked for. */
export function upRequest({ route }: Context, overrides: UpOverrides = {}): UpRequest {
  const { interfaces = ["eth0"], redirect, ...rest } = overrides;
  const find = (name: string) => findDevice(route, name, () => listLinks(route));
  return {
    devices: () => interfaces.map(find),
    cpus: [0, 1],
    qsize: 192,
    xdpMode: "auto",
    tc: kernelBefore(6, 6) ? "clsact" : "tcx",
    trace: true,
    missing: "pass",
    targetProgram: false,
    redirectTo: redirect === undefined ? undefined : find(redirect),
    force: false,
    bpffs: undefined,
    signal: new AbortController().signal,
    ...rest,
  };
}

/** `up`, in this process. */
export function up(net: TestNet, overrides: UpOverrides = {}): Promise<Up> {
  return inside(net, (context) => bringUp(context, upRequest(context, overrides)));
}

/** `down`, in this process. */
export function down(
  net: TestNet,
  interfaces: readonly string[] | "all" = ["eth0"],
  bpffs?: string,
): Promise<readonly Down[]> {
  const names = interfaces === "all" ? undefined : interfaces;
  return inside(net, (context) => takeDown(context, { interfaces: names, bpffs }));
}

/** `status`, in this process. */
export function status(net: TestNet, bpffs?: string): Promise<Status> {
  return inside(net, (context) => readStatus(context, bpffs));
}

/** What is attached to an interface, and pinned for it, as other tools than ours tell it. */
export interface KernelView {
  readonly xdp: { readonly mode: "native" | "generic"; readonly id: number } | undefined;
  /** Ids of the TCX programs in their order. */
  readonly tcx: { readonly ingress: readonly number[]; readonly egress: readonly number[] };
  /** Kinds of the qdiscs that are not the device's default. */
  readonly qdiscs: readonly string[];
  /** Ids of the programs of cls_bpf filters in their order. */
  readonly filters: { readonly ingress: readonly number[]; readonly egress: readonly number[] };
  /** Names of the pins of this interface. */
  readonly pins: readonly string[];
}

/** Nothing is attached. */
export const NOTHING: KernelView = {
  xdp: undefined,
  tcx: { ingress: [], egress: [] },
  qdiscs: [],
  filters: { ingress: [], egress: [] },
  pins: [],
};

/** Looks at an interface of the inner namespace. */
export function kernelView(net: TestNet, device = "eth0", bpffs = "/sys/fs/bpf"): KernelView {
  const name = net.inside.name;
  const [link] = json("ip", ["-n", name, "-j", "-d", "link", "show", "dev", device]) as [IpLink];
  const qdiscs = json("tc", ["-n", name, "-j", "qdisc", "show", "dev", device]) as readonly {
    kind: string;
  }[];
  const clsact = qdiscs.some(({ kind }) => kind === "clsact");
  const tcx = (hook: "ingress" | "egress"): number[] =>
    inNetns(net.inside.path, () => listTcx(linuxSyscalls(), link.ifindex, hook).map(({ progId }) => progId));
  const filters = (hook: "ingress" | "egress"): number[] =>
    !clsact
      ? []
      : (json("tc", ["-n", name, "-j", "filter", "show", "dev", device, hook]) as readonly TcFilterJson[])
          .map(({ options }) => options?.prog?.id)
          .filter((id) => id !== undefined);
  const pins = `${bpffs}/tsbpf/${net.inside.inode}-${link.ifindex}`;
  return {
    xdp: link.xdp && {
      mode: link.xdp.mode === 1 ? "native" : "generic",
      id: link.xdp.prog?.id ?? link.xdp.attached?.[0]?.prog.id ?? -1,
    },
    tcx: { ingress: tcx("ingress"), egress: tcx("egress") },
    qdiscs: qdiscs.map(({ kind }) => kind).filter((kind) => kind !== "noqueue" && kind !== "mq"),
    filters: { ingress: filters("ingress"), egress: filters("egress") },
    pins: [pins, `${pins}-new`, `${pins}-old`].flatMap((path) =>
      existsSync(path) ? readdirSync(path).map((pin) => (path === pins ? pin : `${path}/${pin}`)) : [],
    ),
  };
}

interface IpLink {
  readonly ifindex: number;
  readonly xdp?: {
    readonly mode: number;
    readonly prog?: { readonly id: number };
    readonly attached?: readonly { readonly prog: { readonly id: number } }[];
  };
}

interface TcFilterJson {
  readonly options?: { readonly prog?: { readonly id: number } };
}

function json(command: string, args: readonly string[]): unknown {
  const text = execFileSync(command, args, { encoding: "utf8", timeout: 10_000 });
  return text.trim() === "" ? [] : JSON.parse(text);
}

/** The kernel objects of a session, to see that they go. */
export interface SessionObjects {
  readonly programs: readonly number[];
  readonly maps: readonly number[];
}

/** Ids of the programs of a status, and of the maps that they hold. */
export function objectsOf({ interfaces }: Status): SessionObjects {
  const programs = interfaces.flatMap(({ xdp, tc }) => [...(xdp === undefined ? [] : [xdp]), ...tc]);
  return {
    programs: [...new Set(programs.map(({ id }) => id))],
    maps: [...new Set(programs.flatMap(({ mapIds }) => mapIds))],
  };
}

/** Waits until these objects and their CPU map's threads have gone: the kernel frees them in the background. */
export async function expectGone({ programs, maps }: SessionObjects): Promise<void> {
  expect(programs.length).toBeGreaterThan(0);
  const left = (): readonly string[] => [
    ...listBpfObjects()
      .filter(({ kind, id }) => (kind === "prog" ? programs : kind === "map" ? maps : []).includes(id))
      .map(({ kind, id, name }) => `${kind} ${id} ${name}`),
    ...cpuMapThreads().filter((name) => maps.some((id) => name.endsWith(`/map:${id}`))),
  ];
  for (let wait = 0; wait < 100 && left().length > 0; wait++) await sleep(50);
  expect(left()).toEqual([]);
}

/** Names of all `cpumap/CPU/map:ID` threads of the machine. */
export function cpuMapThreads(): readonly string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => readText(`/proc/${pid}/comm`).trim())
    .filter((name) => name.startsWith("cpumap/"));
}

/** A bpffs of its own, so that pins of other tests are out of sight. */
export function privateBpffs(): { readonly path: string } & Disposable {
  const path = mkdtempSync(`${PRIVATE_BPFFS}${process.pid}-`);
  execFileSync("mount", ["-t", "bpf", "bpf", path]);
  return {
    path,
    [Symbol.dispose]: () => {
      execFileSync("umount", [path]);
      rmdirSync(path);
    },
  };
}

/** What {@link follow} sends. */
export interface FollowOptions {
  /** Core that sends, receives and answers. */
  readonly cpu: number;
  /** What to send: 3 pings, 3 datagrams, a TCP connection, 3 datagrams without a listener. */
  readonly kinds: readonly ("ping" | "udp" | "tcp" | "one way")[];
  /** Tracepoints to record besides. */
  readonly record?: readonly TraceEvent[];
  /** How many packets have been all the way, where that is not the way through the CPU map to TC ingress. */
  readonly arrived?: (found: Correlation, trace: readonly TraceLine[]) => number;
}

/** {@link FollowOptions.arrived} for packets whose way ends in this event of the trace, one by one. */
export const inEvent =
  (name: string) =>
  (_: Correlation, trace: readonly TraceLine[]): number =>
    trace.filter(({ event }) => event === name).length;

/** {@link FollowOptions.arrived} for packets that are sent on. */
export const atEgress = ({ packets }: Correlation): number =>
  packets.filter(({ egress }) => egress.length > 0).length;

const atIngress = ({ packets }: Correlation): number =>
  packets.filter(({ ingress }) => ingress !== undefined).length;

/** What became of the packets. */
export interface Followed extends Correlation {
  readonly sent: number;
  readonly answered: number;
  readonly trace: readonly TraceLine[];
}

/** Sends from one core of the neighbour, answers on the same core, and follows the packets through the trace. */
export async function follow(net: TestNet, options: FollowOptions): Promise<Followed> {
  const { cpu, kinds, record = [], arrived = atIngress } = options;
  const [session] = (await status(net)).interfaces;
  const map = session?.cpuMap;
  if (map === undefined) throw new Error("nothing is up");
  const threads = new Map(
    map.entries.flatMap(({ cpu, thread }) => (thread === undefined ? [] : [[thread.pid, cpu] as const])),
  );
  using log = openSampleLog(linuxSyscalls());
  log.record({ name: "xdp/xdp_cpumap_enqueue", filter: `map_id == ${map.id}` });
  for (const event of record) log.record(event);
  const servers = new Set<number>();
  const packetsSent = async (): Promise<number> => (await net.stats("outside", "peer0")).tx_packets;
  const before = await packetsSent();
  let sent = 0;
  let answered = 0;
  for (const kind of kinds) {
    if (kind === "ping") {
      const { sent: requests, received } = await net.ping({ cpu, count: 3 });
      sent += requests;
      answered += received;
      continue;
    }
    if (kind === "one way") {
      sent += (await net.sendUdp({ cpu, count: 3 })).sent;
      continue;
    }
    const host = net.inside.links[0]?.ipv4;
    const server = net.spawn(
      "inside",
      process.execPath,
      [TRAFFIC, `${kind}-listen`, JSON.stringify({ ...SERVER[kind], host, port: 0, timeoutMs: 15_000 })],
      { cpu },
    );
    servers.add(server.child.pid as number);
    const port = Number(/ready (\d+)/.exec(await server.waitFor(/ready (\d+)\n/))?.[1]);
    const { stdout } = await net.exec(
      "outside",
      process.execPath,
      [TRAFFIC, `${kind}-echo`, JSON.stringify({ ...CLIENT[kind], host, port })],
      { cpu },
    );
    const result = JSON.parse(stdout) as { replies?: number; intact?: number };
    sent += kind === "udp" ? CLIENT.udp.count : CLIENT.tcp.connections;
    answered += result.replies ?? result.intact ?? 0;
    await server.stop("SIGKILL");
  }
  // Nobody tells when the last packet is through: an answer may be on its way, or there may be none.
  const packets = (await packetsSent()) - before;
  const trace: TraceLine[] = [];
  const deadline = Date.now() + 5_000;
  for (;;) {
    trace.push(...log.drain());
    const found = correlate(trace, { mapId: map.id, threads, servers });
    if (arrived(found, trace) >= packets || Date.now() > deadline) return { ...found, sent, answered, trace };
    await sleep(5);
  }
}

const TRAFFIC = fileURLToPath(new URL("../../support/traffic.mjs", import.meta.url));
const SERVER = { udp: { count: 3, echo: true }, tcp: { connections: 1 } } as const;
const CLIENT = {
  udp: { count: 3, size: 32, replyMs: 1000 },
  tcp: { connections: 1, bytes: 2000, timeoutMs: 5000 },
} as const;

/** Waits until a condition holds. */
export async function until(what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(5);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs a table of tests, without those for which there is no usable bpftool, or no TCX: says so once on stderr. */
export function withoutMissingBpftool<Row extends { readonly tc: string }>(rows: readonly Row[]): Row[] {
  if (kernelBefore(6, 6)) {
    process.stderr.write("tests of TCX are left out: it came with kernel 6.6\n");
    return rows.filter(({ tc }) => tc === "clsact");
  }
  if (usableBpftool() !== undefined || !rows.some(({ tc }) => tc === "bpftool")) return [...rows];
  process.stderr.write("tests of --tc bpftool are left out: there is no bpftool 7.5 or newer\n");
  return rows.filter(({ tc }) => tc !== "bpftool");
}

/** Version of the bpftool that the `bpftool` backend would use; `undefined` where it cannot. */
export function usableBpftool(): string | undefined {
  try {
    const [, version = "", major, minor] =
      /v((\d+)\.(\d+)\.\d+)/.exec(
        execFileSync("bpftool", ["version"], { encoding: "utf8", stdio: "pipe" }),
      ) ?? [];
    return Number(major) > 7 || (Number(major) === 7 && Number(minor) >= 5) ? version : undefined;
  } catch {
    return undefined;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
