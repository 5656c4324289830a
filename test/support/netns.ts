/**
 * Private networks for kernel tests: two namespaces joined by one or two veth pairs. Names are unique per process
 * and call, nothing ever appears in the root namespace, packets flow only between the two, every command has a
 * timeout, and everything goes away on dispose, on exit and on a signal.
 *
 * ```
 *   inside (the machine under test)            outside (the sender)
 *     eth0 10.77.0.1  fd77:0::1   <------->      peer0 10.77.0.2  fd77:0::2
 *     eth1 10.77.1.1  fd77:1::1   <------->      peer1 10.77.1.2  fd77:1::2     (secondPair)
 * ```
 */
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setOffload } from "./in-netns.ts";
import { isAlive, testRunPid } from "./test-run.ts";

/** Options of {@link createTestNet}. */
export interface TestNetOptions {
  /** MTU of both ends of each pair. Default 1500. Native XDP on veth needs the *peer's* MTU below about 3500. */
  readonly mtu?: number;
  /** Receive and transmit queues of every veth end. Default 1. */
  readonly queues?: number;
  /** Adds the pair eth1 / peer1. Default false. */
  readonly secondPair?: boolean;
  /**
   * Leaves transmit checksum offload on at the senders. Default false: on veth a native XDP program with a CPU map
   * loses every UDP and TCP packet whose checksum was left to the NIC, so the safe setting is off.
   */
  readonly txChecksumOffload?: boolean;
  /** Gives both ends an IPv6 address. Default false: IPv6 is disabled, so no packet flows that no test sent. */
  readonly ipv6?: boolean;
  /** Called with the finished network right before its namespaces are removed, also on exit and on a signal. */
  readonly onDispose?: (net: Pick<TestNet, Side>) => void;
}

/** One veth end. */
export interface TestLink {
  /** `eth0`, `eth1`, `peer0` or `peer1`. */
  readonly name: string;
  /** Interface index inside its namespace. */
  readonly ifindex: number;
  readonly mac: string;
  readonly ipv4: string;
  /** Set even when IPv6 is off (then it is simply not configured). */
  readonly ipv6: string;
}

/** One of the two namespaces. */
export interface TestNamespace {
  /** As in `ip netns list`. */
  readonly name: string;
  /** `/run/netns/NAME`, for `nsenter --net=` and setns(2). */
  readonly path: string;
  /** Inode number of the namespace, the kernel's identity for it. */
  readonly inode: number;
  readonly links: readonly TestLink[];
}

/** Which of the two namespaces. */
export type Side = "inside" | "outside";

/** Options of {@link TestNet.exec}. */
export interface ExecOptions {
  /** Pins the command to one CPU with taskset: its packets are received on that core (veth). */
  readonly cpu?: number;
  /** Default 20,000. The command is killed then, and the promise rejects. */
  readonly timeoutMs?: number;
  /** Resolve whatever the exit code is. Default false: a non-zero code rejects with stdout and stderr in the text. */
  readonly allowFailure?: boolean;
  /** `nsenter` (default) keeps the caller's mounts; `ip-netns` gives a fresh /sys, hiding bpffs and tracefs. */
  readonly via?: "nsenter" | "ip-netns";
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory. Default: this process's. */
  readonly cwd?: string;
  /** Written to the command's standard input, which is then closed. */
  readonly input?: string;
}

/** What a command left. */
export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code; 128 + n when signal n ended it. */
  readonly code: number;
}

/** Common to all senders. */
export interface TrafficOptions {
  /** Where the sender runs. Default `outside`; the receiver is the other side. */
  readonly from?: Side;
  /** 0: eth0 / peer0 (default); 1: the second pair. */
  readonly pair?: 0 | 1;
  /** Core that sends, and on veth the core whose softirq receives. */
  readonly cpu?: number;
  /** Default 4. */
  readonly family?: 4 | 6;
  /** Upper bound for the whole exchange. Default 15,000. */
  readonly timeoutMs?: number;
}

/** Options of {@link TestNet.ping}. */
export interface PingOptions extends TrafficOptions {
  /** Echo requests. Default 3. */
  readonly count?: number;
  /** Seconds between requests. Default 0.02. */
  readonly interval?: number;
  /** Payload bytes. Default 56. */
  readonly size?: number;
}

/** Result of {@link TestNet.ping}. */
export interface PingResult {
  readonly sent: number;
  readonly received: number;
  readonly output: string;
}

/** Options of {@link TestNet.sendUdp} and the other UDP senders. */
export interface UdpOptions extends TrafficOptions {
  /** Datagrams. Default 10; at most 1,000,000. */
  readonly count?: number;
  /** Payload bytes. Default 32. */
  readonly size?: number;
  /** Destination port. Default 9 (discard) for `sendUdp`, else whatever the kernel gives the listener. */
  readonly port?: number;
  /** Source port. Default: the kernel's choice. */
  readonly sport?: number;
  /** Datagrams sent back to back before pausing for `intervalMs`. Default 64 and 1 ms: no receive buffer overflows. */
  readonly burst?: number;
  readonly intervalMs?: number;
}

/** Options of {@link TestNet.tcpEcho}. */
export interface TcpOptions extends TrafficOptions {
  /** Bytes per connection, sent and echoed. Default 65,536. */
  readonly bytes?: number;
  /** Connections, one after the other. Default 1. */
  readonly connections?: number;
}

/** Result of {@link TestNet.tcpEcho}. */
export interface TcpResult {
  readonly connections: number;
  /** Connections whose bytes all came back unchanged. */
  readonly intact: number;
  readonly bytesSent: number;
  readonly bytesEchoed: number;
  /** Why the first failed connection failed (`timeout`, `ECONNREFUSED`), else null. */
  readonly error: string | null;
}

/** Interface counters, as in /sys/class/net/DEV/statistics. */
export type LinkStats = Readonly<
  Record<"rx_packets" | "tx_packets" | "rx_bytes" | "tx_bytes" | "rx_dropped" | "tx_dropped", number>
>;

/** A command that keeps running until it is stopped or the network is disposed. */
export interface TestProcess {
  readonly child: ChildProcess;
  /** Resolves when the command's output (both streams) contains `text`; rejects at the timeout or if it ends first. */
  waitFor(text: string | RegExp, timeoutMs?: number): Promise<string>;
  /** Everything printed so far. */
  output(): string;
  /** Sends the signal (default SIGTERM; SIGKILL follows after 5 s) and resolves with the result. */
  stop(signal?: NodeJS.Signals): Promise<ExecResult>;
  /** Resolves when the command has ended by itself. */
  ended(): Promise<ExecResult>;
}

/** Two joined namespaces, see the file header for the addresses. */
export interface TestNet extends Disposable, AsyncDisposable {
  readonly inside: TestNamespace;
  readonly outside: TestNamespace;
  /** Runs a command to its end in a namespace, without a shell. */
  exec(side: Side, command: string, args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Starts a command in a namespace; it is stopped at dispose at the latest. */
  spawn(side: Side, command: string, args: readonly string[], options?: ExecOptions): TestProcess;
  /** Ping the other side. Loss is not an error. */
  ping(options?: PingOptions): Promise<PingResult>;
  /** Sends datagrams that nobody has to receive; resolves with how many the sender's kernel took. */
  sendUdp(options?: UdpOptions): Promise<{ readonly sent: number }>;
  /** Sends datagrams to a listener on the other side and counts what arrives. */
  udpOneWay(
    options?: UdpOptions,
  ): Promise<{ readonly sent: number; readonly received: number; readonly distinct: number }>;
  /** Sends datagrams one at a time to an echo server and counts the correct answers. */
  udpEcho(options?: UdpOptions): Promise<{ readonly sent: number; readonly replies: number }>;
  /** Sends bytes over TCP to an echo server and compares what comes back. Failure is in the result, not thrown. */
  tcpEcho(options?: TcpOptions): Promise<TcpResult>;
  /** Counters of an interface. */
  stats(side: Side, dev: string): Promise<LinkStats>;
  /** Stops every process started here and removes both namespaces. Twice is fine. */
  dispose(): void;
}

/**
 * Creates the namespaces, configures addresses and permanent neighbours (no ARP), brings everything up and waits
 * until packets pass.
 *
 * @example
 * ```ts
 * await using net = await createTestNet({ queues: 2 });
 * const { received } = await net.ping({ cpu: 1 });
 * await net.exec("inside", "tc", ["qdisc", "show"]);
 * ```
 * @throws Error with the failing command and its output; nothing is left behind then.
 */
export async function createTestNet(options: TestNetOptions = {}): Promise<TestNet> {
  const stem = `${PREFIX}${testRunPid()}-${process.pid}-${counter++}-${randomBytes(2).toString("hex")}`;
  const names: Readonly<Record<Side, string>> = { inside: `${stem}-a`, outside: `${stem}-b` };
  const processes = new Set<ChildProcess>();
  let disposed = false;
  let finished: Pick<TestNet, Side> | undefined;
  const dispose = (): void => {
    if (disposed) return;
    disposed = true;
    try {
      for (const child of processes) child.kill("SIGKILL");
      if (finished !== undefined) options.onDispose?.(finished);
    } finally {
      for (const name of Object.values(names)) deleteNamespace(name);
      registered.delete(dispose);
      if (registered.size === 0) uninstallExitHooks();
    }
  };
  if (registered.size === 0) installExitHooks();
  registered.add(dispose);
  try {
    await configure(names, options);
    const net = {
      inside: describeNamespace(names, "inside", options),
      outside: describeNamespace(names, "outside", options),
    };
    finished = net;
    if (options.txChecksumOffload !== true) {
      for (const side of [net.inside, net.outside]) {
        for (const link of side.links) setOffload(side.path, link.name, "txChecksum", false);
      }
    }
    return {
      ...net,
      ...operations(net, processes),
      dispose,
      [Symbol.dispose]: dispose,
      [Symbol.asyncDispose]: async () => dispose(),
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

/**
 * Removes the namespaces of test processes that no longer exist (a worker ended by SIGKILL cannot clean up after
 * itself) and ends the processes in them. Returns which: their inodes lead to what was pinned for them.
 *
 * @param ofRun - only the namespaces of this run.
 */
export function sweepDeadNamespaces(
  ofRun?: number,
): readonly { readonly name: string; readonly inode: number }[] {
  return listNamespaces().flatMap((name) => {
    const [, run, pid] = NAME.exec(name) ?? DEMO.exec(name) ?? [];
    if (pid === undefined || isAlive(Number(pid))) return [];
    if (ofRun !== undefined && ofRun !== Number(run)) return [];
    const inode = inodeOf(`/run/netns/${name}`);
    deleteNamespace(name);
    return inode === undefined ? [] : [{ name, inode }];
  });
}

/** Namespaces that tests of the run with this id (see `testRunPid`) created and that still exist. */
export function namespacesOfRun(runPid: number): readonly string[] {
  return listNamespaces().filter((name) => NAME.exec(name)?.[1] === String(runPid));
}

/** Names of all named network namespaces of this machine. */
export function listNamespaces(): readonly string[] {
  try {
    return readdirSync("/run/netns").sort();
  } catch {
    return [];
  }
}

/** Names are `tsbpf-t-RUN-PID-N-RANDOM-a` and `-b`: whose run and whose process it was, for sweep.ts. */
const PREFIX = "tsbpf-t-";
const NAME = /^tsbpf-t-(\d+)-(\d+)-/;
/** Those of the product's demo, which belongs to no run that could be told. */
const DEMO = /^tsbpf-demo(-)(\d+)(?:-peer)?$/;

const TRAFFIC = fileURLToPath(new URL("traffic.mjs", import.meta.url));
const MAX_OUTPUT = 64 << 20;
const registered = new Set<() => void>();
let counter = 0;

async function configure(names: Readonly<Record<Side, string>>, options: TestNetOptions): Promise<void> {
  const { mtu = 1500, queues = 1, secondPair = false, ipv6 = false } = options;
  await Promise.all(Object.values(names).map((name) => run("ip", ["netns", "add", name])));
  // Before any link is up, so that not even a neighbour solicitation is sent.
  const settings = `for c in all default; do
      echo ${ipv6 ? 0 : 1} > /proc/sys/net/ipv6/conf/$c/disable_ipv6
      echo 0 > /proc/sys/net/ipv6/conf/$c/accept_dad
      echo 0 > /proc/sys/net/ipv6/conf/$c/router_solicitations
      echo 0 > /proc/sys/net/ipv4/conf/$c/rp_filter
    done 2>/dev/null; :`;
  await Promise.all(
    Object.values(names).map((name) => run("nsenter", [`--net=/run/netns/${name}`, "sh", "-c", settings])),
  );
  // Both ends are born in their namespaces: an interface of the root namespace never exists, not even for a moment.
  const count = ["numtxqueues", String(queues), "numrxqueues", String(queues)];
  for (const pair of secondPair ? [0, 1] : [0]) {
    const a = link("inside", pair);
    const b = link("outside", pair);
    await run("ip", [
      ...["link", "add", a.name, "netns", names.inside, "address", a.mac, "mtu", String(mtu), ...count],
      ...["type", "veth"],
      ...["peer", "name", b.name, "netns", names.outside, "address", b.mac, "mtu", String(mtu), ...count],
    ]);
  }
  const batch = (side: Side): string => {
    const other: Side = side === "inside" ? "outside" : "inside";
    const lines = ["link set lo up"];
    for (const pair of secondPair ? [0, 1] : [0]) {
      const own = link(side, pair);
      const peer = link(other, pair);
      lines.push(`addr add ${own.ipv4}/24 dev ${own.name}`);
      if (ipv6) lines.push(`addr add ${own.ipv6}/64 dev ${own.name} nodad`);
      lines.push(`link set ${own.name} up`);
      lines.push(`neigh replace ${peer.ipv4} lladdr ${peer.mac} dev ${own.name} nud permanent`);
      if (ipv6) lines.push(`neigh replace ${peer.ipv6} lladdr ${peer.mac} dev ${own.name} nud permanent`);
    }
    return `${lines.join("\n")}\n`;
  };
  await run("ip", ["-n", names.inside, "-batch", "-"], { input: batch("inside") });
  await run("ip", ["-n", names.outside, "-batch", "-"], { input: batch("outside") });
  // An end opened before its peer has no carrier and drops what it sends until link watch (urgent for it: milliseconds)
  // has seen the peer. The end opened last sends at once, but its operational state follows up to a second later; only
  // IPv6 cares, which keeps its addresses tentative until then.
  await waitUntilUp(names.inside);
  if (ipv6) await waitUntilUp(names.outside);
}

/** Polls until every veth of the namespace is operational. */
async function waitUntilUp(name: string): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const { stdout } = await run("ip", ["-n", name, "-o", "link", "show", "type", "veth"]);
    const lines = stdout.trim().split("\n");
    if (lines.every((line) => line.includes(" state UP "))) return;
    if (Date.now() > deadline) throw new Error(`links of ${name} did not come up:\n${stdout}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What the header's picture says about one end. The index is filled in once the kernel has given it. */
function link(side: Side, pair: number): Omit<TestLink, "ifindex"> {
  const host = side === "inside" ? 1 : 2;
  return {
    name: `${side === "inside" ? "eth" : "peer"}${pair}`,
    mac: `02:00:00:00:0${pair}:0${host}`,
    ipv4: `10.77.${pair}.${host}`,
    ipv6: `fd77:${pair}::${host}`,
  };
}

/** Inode of the namespace that a path leads to; `undefined` when it went meanwhile. */
function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}

function describeNamespace(
  names: Readonly<Record<Side, string>>,
  side: Side,
  options: TestNetOptions,
): TestNamespace {
  const name = names[side];
  const path = `/run/netns/${name}`;
  const listing: unknown = JSON.parse(
    execFileSync("ip", ["-n", name, "-j", "link", "show"], { encoding: "utf8" }),
  );
  const found = listing as readonly { readonly ifindex: number; readonly ifname: string }[];
  const links = (options.secondPair === true ? [0, 1] : [0]).map((pair) => {
    const own = link(side, pair);
    const ifindex = found.find((candidate) => candidate.ifname === own.name)?.ifindex;
    if (ifindex === undefined) throw new Error(`${own.name} is missing in ${name}`);
    return { ...own, ifindex };
  });
  return { name, path, inode: statSync(path).ino, links };
}

type Operations = Pick<
  TestNet,
  "exec" | "spawn" | "ping" | "sendUdp" | "udpOneWay" | "udpEcho" | "tcpEcho" | "stats"
>;

function operations(net: Readonly<Record<Side, TestNamespace>>, processes: Set<ChildProcess>): Operations {
  const inNamespace = (
    side: Side,
    command: string,
    args: readonly string[],
    options: ExecOptions,
  ): string[] => [
    ...(options.via === "ip-netns"
      ? ["ip", "netns", "exec", net[side].name]
      : ["nsenter", `--net=${net[side].path}`, "--"]),
    ...(options.cpu === undefined ? [] : ["taskset", "-c", String(options.cpu)]),
    command,
    ...args,
  ];

  const exec: Operations["exec"] = (side, command, args, options = {}) => {
    const [file = "", ...rest] = inNamespace(side, command, args, options);
    return run(file, rest, options, processes);
  };

  const start: Operations["spawn"] = (side, command, args, options = {}) => {
    const [file = "", ...rest] = inNamespace(side, command, args, options);
    return startProcess(file, rest, options, processes);
  };

  /** Address to send to: the other side's end of the pair. */
  const target = (options: TrafficOptions): { from: Side; to: Side; host: string } => {
    const from = options.from ?? "outside";
    const to: Side = from === "inside" ? "outside" : "inside";
    const end = net[to].links[options.pair ?? 0];
    if (end === undefined) throw new Error("this network has no second pair");
    return { from, to, host: options.family === 6 ? end.ipv6 : end.ipv4 };
  };

  const traffic = async (
    side: Side,
    mode: string,
    settings: object,
    options: TrafficOptions,
  ): Promise<unknown> => {
    const { stdout } = await exec(side, process.execPath, [TRAFFIC, mode, JSON.stringify(settings)], {
      ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
      timeoutMs: (options.timeoutMs ?? 15_000) + 5_000,
    });
    return lastJson(stdout);
  };

  /** Runs `fn` against a listener of traffic.mjs on the receiving side and returns both results. */
  const withListener = async <T>(
    to: Side,
    mode: string,
    settings: object,
    fn: (port: number) => Promise<T>,
  ): Promise<{ readonly result: T; readonly heard: unknown }> => {
    const listener = start(to, process.execPath, [TRAFFIC, mode, JSON.stringify(settings)]);
    try {
      const ready = await listener.waitFor(/ready (\d+)/, 10_000);
      const result = await fn(Number(/ready (\d+)/.exec(ready)?.[1]));
      listener.child.stdin?.end();
      if (mode === "tcp-listen") return { result, heard: undefined };
      return { result, heard: lastJson((await listener.ended()).stdout) };
    } finally {
      await listener.stop("SIGKILL");
    }
  };

  const udp = (
    options: UdpOptions,
  ): { count: number; size: number; burst: number; intervalMs: number; sport?: number } => {
    const { count = 10, size = 32, burst = 64, intervalMs = 1, sport } = options;
    if (!(count >= 0 && count <= 1_000_000))
      throw new Error(`count ${count}: tests send at most 1,000,000 datagrams`);
    return { count, size, burst, intervalMs, ...(sport === undefined ? {} : { sport }) };
  };

  return {
    exec,
    spawn: start,

    ping: async (options = {}) => {
      const { count = 3, interval = 0.02, size = 56 } = options;
      const { from, host } = target(options);
      const deadline = Math.ceil((options.timeoutMs ?? 15_000) / 1000);
      const { stdout, stderr } = await exec(
        from,
        "ping",
        ["-n", "-c", `${count}`, "-i", `${interval}`, "-s", `${size}`, "-W", "1", "-w", `${deadline}`, host],
        {
          ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
          timeoutMs: deadline * 1000 + 5_000,
          allowFailure: true,
        },
      );
      const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
      if (counts === null) throw new Error(`ping ${host} failed: ${stderr}${stdout}`);
      return { sent: Number(counts[1]), received: Number(counts[2]), output: stdout };
    },

    sendUdp: async (options = {}) => {
      const { from, host } = target(options);
      const settings = { ...udp(options), host, port: options.port ?? 9 };
      return (await traffic(from, "udp-send", settings, options)) as { sent: number };
    },

    udpOneWay: async (options = {}) => {
      const { from, to, host } = target(options);
      const settings = udp(options);
      const timeoutMs = options.timeoutMs ?? 15_000;
      const { result, heard } = await withListener(
        to,
        "udp-listen",
        { host, port: options.port ?? 0, count: settings.count, echo: false, timeoutMs },
        (port) => traffic(from, "udp-send", { ...settings, host, port }, options),
      );
      return { ...(result as { sent: number }), ...(heard as { received: number; distinct: number }) };
    },

    udpEcho: async (options = {}) => {
      const { from, to, host } = target(options);
      const settings = udp(options);
      const timeoutMs = options.timeoutMs ?? 15_000;
      const { result } = await withListener(
        to,
        "udp-listen",
        { host, port: options.port ?? 0, count: settings.count, echo: true, timeoutMs },
        (port) => traffic(from, "udp-echo", { ...settings, host, port, replyMs: 500 }, options),
      );
      return result as { sent: number; replies: number };
    },

    tcpEcho: async (options = {}) => {
      const { from, to, host } = target(options);
      const { bytes = 65_536, connections = 1, timeoutMs = 15_000 } = options;
      const { result } = await withListener(
        to,
        "tcp-listen",
        { host, port: 0, connections, timeoutMs },
        (port) => traffic(from, "tcp-echo", { host, port, connections, bytes, timeoutMs }, options),
      );
      return result as TcpResult;
    },

    stats: async (side, dev) => {
      const { stdout } = await exec(side, "ip", ["-s", "-j", "link", "show", dev]);
      const parsed = JSON.parse(stdout) as readonly {
        readonly stats64: Record<"rx" | "tx", Record<string, number>>;
      }[];
      const { rx, tx } = parsed[0]?.stats64 ?? { rx: {}, tx: {} };
      const value = (counters: Record<string, number>, key: string): number => counters[key] ?? 0;
      return {
        rx_packets: value(rx, "packets"),
        tx_packets: value(tx, "packets"),
        rx_bytes: value(rx, "bytes"),
        tx_bytes: value(tx, "bytes"),
        rx_dropped: value(rx, "dropped"),
        tx_dropped: value(tx, "dropped"),
      };
    },
  };
}

function lastJson(stdout: string): unknown {
  const line = stdout.trim().split("\n").at(-1) ?? "";
  return JSON.parse(line);
}

/** Runs a command to its end; see {@link ExecOptions}. */
function run(
  file: string,
  args: readonly string[],
  options: ExecOptions = {},
  processes: Set<ChildProcess> = new Set(),
): Promise<ExecResult> {
  const timeoutMs = options.timeoutMs ?? 20_000;
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      [...args],
      {
        encoding: "utf8",
        timeout: timeoutMs,
        killSignal: "SIGKILL",
        maxBuffer: MAX_OUTPUT,
        env: { ...process.env, ...options.env },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      },
      (error, stdout, stderr) => {
        processes.delete(child);
        const line = [file, ...args].join(" ");
        if (error === null) {
          resolve({ stdout, stderr, code: 0 });
        } else if (error.killed === true) {
          reject(new Error(`no end within ${timeoutMs} ms: ${line}\n${stderr}${stdout}`));
        } else if (typeof error.code === "number" && options.allowFailure === true) {
          resolve({ stdout, stderr, code: error.code });
        } else {
          reject(new Error(`${error.code ?? error.signal}: ${line}\n${stderr}${stdout}`, { cause: error }));
        }
      },
    );
    processes.add(child);
    // A command that ends without reading its input is no failure of the harness.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input ?? "");
  });
}

/** Starts a command in this process's own namespaces; {@link TestNet.spawn} starts one inside a network. */
export function startProcess(
  file: string,
  args: readonly string[],
  options: ExecOptions = {},
  processes: Set<ChildProcess> = new Set(),
): TestProcess {
  const line = [file, ...args].join(" ");
  const child = spawn(file, [...args], {
    stdio: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  processes.add(child);
  let stdout = "";
  let stderr = "";
  let result: ExecResult | undefined;
  let changed = (): void => {};
  child.stdin.on("error", () => {});
  if (options.input !== undefined) child.stdin.end(options.input);
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    changed();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    changed();
  });
  const ended = new Promise<ExecResult>((resolve, reject) => {
    child.on("error", (error) => {
      processes.delete(child);
      reject(new Error(`cannot start: ${line}`, { cause: error }));
    });
    child.on("close", (code, signal) => {
      processes.delete(child);
      result = { stdout, stderr, code: code ?? 128 + (signal === null ? 0 : (SIGNALS[signal] ?? 0)) };
      changed();
      resolve(result);
    });
  });
  // Whoever waits gets the rejection; a spawn error that nobody awaits must not end the test process.
  ended.catch(() => {});
  return {
    child,
    output: () => stdout + stderr,
    ended: () => ended,
    waitFor: (text, timeoutMs = 10_000) =>
      new Promise((resolve, reject) => {
        const matches = (): boolean =>
          typeof text === "string" ? (stdout + stderr).includes(text) : text.test(stdout + stderr);
        const settle = (fn: () => void): void => {
          clearTimeout(timer);
          changed = () => {};
          fn();
        };
        const timer = setTimeout(
          () =>
            settle(() => reject(new Error(`no ${text} within ${timeoutMs} ms: ${line}\n${stderr}${stdout}`))),
          timeoutMs,
        );
        changed = () => {
          if (matches()) settle(() => resolve(stdout + stderr));
          else if (result !== undefined) {
            settle(() =>
              reject(new Error(`ended (${result?.code}) before ${text}: ${line}\n${stderr}${stdout}`)),
            );
          }
        };
        ended.catch((error: unknown) => settle(() => reject(error)));
        changed();
      }),
    stop: async (signal = "SIGTERM") => {
      if (result !== undefined) return result;
      child.kill(signal);
      const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
      try {
        return await ended;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Ends what runs in a namespace (it is ours alone) and removes it. */
function deleteNamespace(name: string): void {
  if (!listNamespaces().includes(name)) return;
  for (const pid of pidsIn(name)) {
    try {
      if (pid !== process.pid) process.kill(pid, "SIGKILL");
    } catch {
      // Ended meanwhile.
    }
  }
  // The pairs first: their removal is synchronous, while a namespace dies in the background, later. What is not there was
  // never created, moved away by the test, or went with its peer.
  const devices = ["eth0", "eth1", "peer0", "peer1"].map((dev) => `link del ${dev}\n`).join("");
  spawnSync("ip", ["-n", name, "-force", "-batch", "-"], { input: devices, stdio: "pipe", timeout: 10_000 });
  execFileSync("ip", ["netns", "del", name], { stdio: ["ignore", "ignore", "inherit"], timeout: 10_000 });
}

/** Processes whose main thread lives in the namespace. */
function pidsIn(name: string): readonly number[] {
  const netns = inodeOf(`/run/netns/${name}`);
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && inodeOf(`/proc/${pid}/ns/net`) === netns);
}

const disposeAll = (): void => {
  for (const dispose of [...registered]) {
    try {
      dispose();
    } catch (error) {
      process.stderr.write(`test network not removed: ${String(error)}\n`);
    }
  }
};
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Cleans up, then dies of the signal as if nobody had listened (unless somebody else listens too). */
const onSignal = (signal: NodeJS.Signals): void => {
  disposeAll();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
};

// `exit` also follows an uncaught exception; a SIGKILL is what the sweep is for.
function installExitHooks(): void {
  process.on("exit", disposeAll);
  for (const signal of signals) process.on(signal, onSignal);
}

function uninstallExitHooks(): void {
  process.off("exit", disposeAll);
  for (const signal of signals) process.off(signal, onSignal);
}
