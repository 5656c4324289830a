import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { TsbpfError } from "../../base/error.ts";
import type { TraceLine, TraceLog } from "../../kernel/trace-log.ts";
import { type Correlation, correlate, type Identity, isComplete } from "./correlate.ts";
import type { DemoNetwork } from "./network.ts";
import type { TrafficPorts, TrafficResult } from "./traffic.ts";

/** Packets of each kind that are sent from each core. */
export const PER_KIND = 3;

/** One kind of traffic from one core. */
export interface Step {
  readonly kind: "ping" | "UDP" | "TCP";
  readonly sent: number;
  readonly answered: number;
  /** What became of its packets. */
  readonly found: Correlation;
}

/** Where packets are followed. */
export interface Watch {
  readonly log: TraceLog;
  /** The CPU map that they go through. */
  readonly map: Omit<Identity, "servers">;
}

/**
 * Sends pings, datagrams and TCP segments from one core of the neighbour, one packet at a time. A veth hands a packet to
 * the receiver on the core that sent it, so that is where XDP runs. The server is on the same core: what it answers, it
 * answers from there.
 */
export async function runRound(
  network: DemoNetwork,
  cpu: number,
  { log, map }: Watch,
  signal: AbortSignal,
): Promise<readonly Step[]> {
  const server = await startServer(network, cpu, signal);
  const identity: Identity = { ...map, servers: new Set([server.process.pid as number]) };
  try {
    const steps: Step[] = [];
    const step = async (kind: Step["kind"], send: () => Promise<number>): Promise<void> => {
      signal.throwIfAborted();
      log.drain();
      const before = network.sent();
      const answered = await send();
      const found = await findPackets(log, identity, network.sent() - before);
      steps.push({ kind, sent: PER_KIND, answered, found });
    };
    await step("ping", () => ping(network, cpu, signal));
    await step("UDP", () => traffic(network, cpu, "udp", server.ports.udp, signal));
    await step("TCP", () => traffic(network, cpu, "tcp", server.ports.tcp, signal));
    return steps;
  } finally {
    server.process.kill();
  }
}

/** Longest time for one kind of traffic. */
const STEP_MS = 10_000;
/** Longest time that a packet is waited for which was sent. */
const PACKET_MS = 2_000;
const LOOK_AGAIN_MS = 5;

/**
 * Reads the trace until all packets that were sent are in it. The last one is that on its own: nobody answers the
 * acknowledgement that ends a TCP connection, so the client has gone before it has been through.
 */
async function findPackets(log: TraceLog, identity: Identity, sent: number): Promise<Correlation> {
  const trace: TraceLine[] = [];
  const deadline = Date.now() + PACKET_MS;
  for (;;) {
    trace.push(...log.drain());
    const found = correlate(trace, identity);
    if (isComplete(found, sent) || Date.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

async function ping({ outside, address }: DemoNetwork, cpu: number, signal: AbortSignal): Promise<number> {
  const output = await onPeer(
    outside,
    cpu,
    ["ping", "-c", `${PER_KIND}`, "-i", "0.02", "-W", "1", address],
    signal,
  );
  return Number(/(\d+) received/.exec(output)?.[1] ?? 0);
}

async function traffic(
  { outside, address }: DemoNetwork,
  cpu: number,
  kind: keyof TrafficPorts,
  port: number,
  signal: AbortSignal,
): Promise<number> {
  const args = nodeArgs("client", kind, address, `${port}`, `${PER_KIND}`);
  const output = await onPeer(outside, cpu, [process.execPath, ...args], signal);
  return (JSON.parse(output) as TrafficResult).echoed;
}

interface Server {
  readonly process: ChildProcess;
  readonly ports: TrafficPorts;
}

async function startServer({ inside }: DemoNetwork, cpu: number, signal: AbortSignal): Promise<Server> {
  const command = ["taskset", "-c", `${cpu}`, process.execPath, ...nodeArgs("server")];
  const server = spawn("nsenter", [`--net=/run/netns/${inside}`, ...command], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(STEP_MS)]);
    const [line] = await once(server.stdout, "data", { signal: patience });
    return { process: server, ports: JSON.parse(String(line)) as TrafficPorts };
  } catch (cause) {
    server.kill();
    signal.throwIfAborted();
    throw new TsbpfError("the server in the demo's namespace did not start", { cause });
  }
}

/** Runs a command in the neighbour's namespace on one core; gives what it printed, whatever its exit code. */
async function onPeer(
  namespace: string,
  cpu: number,
  command: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const args = [`--net=/run/netns/${namespace}`, "taskset", "-c", `${cpu}`, ...command];
  return await new Promise((resolve, reject) => {
    execFile("nsenter", args, { timeout: STEP_MS, signal }, (error, stdout, stderr) => {
      if (error === null || stdout !== "") resolve(stdout);
      else if (signal.aborted) reject(signal.reason);
      else reject(new TsbpfError(`${command.join(" ")} failed`, { details: stderr.trim(), cause: error }));
    });
  });
}

/** Arguments that make Node.js run the traffic program, with the loader that this process runs under. */
function nodeArgs(...args: readonly string[]): readonly string[] {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const path = fileURLToPath(new URL(`./traffic.${extension}`, import.meta.url));
  return [...process.execArgv, path, ...args];
}
