import { TsbpfError } from "../../base/error.ts";
import { readCpus } from "../../kernel/cpus.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { pc } from "../colours.ts";
import { type Context, openContext, requireRoot } from "../context.ts";
import { onOneCore } from "../demo/correlate.ts";
import { createDemoNetwork, DEMO_INTERFACE, type DemoNetwork, removeStaleNetworks } from "../demo/network.ts";
import { runRound } from "../demo/run.ts";
import { type ProvenPacket, proofTable } from "../demo/table.ts";
import { describeDeployed } from "../describe.ts";
import { EXIT } from "../exit.ts";
import { interruptible } from "../interrupt.ts";
import { INVOCATION } from "../invocation.ts";
import { say, sayJson } from "../output.ts";
import { takeDown } from "../sample/down.ts";
import { formatSampleLine, openSampleLog, type SampleLine } from "../sample/log.ts";
import { findDevice } from "../sample/preflight.ts";
import { QUEUE_SIZE } from "../sample/queue-size.ts";
import { readStatus } from "../sample/status.ts";
import { bringUp } from "../sample/up.ts";

/** Options of `demo`, as the command line gives them. */
export interface DemoFlags {
  readonly keep?: boolean;
  readonly json?: boolean;
}

/** What the demo found out. */
interface Proof {
  readonly packets: readonly ProvenPacket[];
  readonly lines: readonly SampleLine[];
  readonly problems: readonly string[];
}

/** Shows the whole story in network namespaces of its own. */
export async function demo(flags: DemoFlags): Promise<void> {
  const tell = (...lines: readonly string[]): void => {
    if (flags.json !== true) say(...lines);
  };
  requireRoot();
  const sys = linuxSyscalls();
  await interruptible(async (signal) => {
    for (const name of removeStaleNetworks()) tell(`removed, left by a demo that was killed: ${name}`);
    const network = createDemoNetwork(sys, flags.keep === true);
    let keep = false;
    try {
      tell(`${pc.bold("network")}  ${network.inside} (${DEMO_INTERFACE}) <-> ${network.outside}`);
      using context = openContext({ netns: network.inside });
      try {
        const proof = await prove(context, network, signal, tell);
        if (flags.json === true) sayJson({ network, ...proof });
        else tellProof(proof, tell);
        if (proof.problems.length > 0) process.exitCode = EXIT.failed;
        keep = flags.keep === true && !signal.aborted;
        if (keep) tell(...howToPlay(network));
      } finally {
        if (!keep) await takeDown(context, { interfaces: [DEMO_INTERFACE], bpffs: undefined });
      }
    } finally {
      if (!keep) network.remove();
    }
  });
}

/** Brings the sample up, sends from every core, and follows every packet. */
async function prove(
  context: Context,
  network: DemoNetwork,
  signal: AbortSignal,
  tell: (...lines: readonly string[]) => void,
): Promise<Proof> {
  using log = openSampleLog(context.sys);
  const { cpuMapId } = await bringUpDemo(context, signal, tell);
  log.record({ name: "xdp/xdp_cpumap_enqueue", filter: `map_id == ${cpuMapId}` });
  const watch = { log, map: { mapId: cpuMapId, threads: threadsOf(context) } };

  const packets: ProvenPacket[] = [];
  const lines: SampleLine[] = [];
  const problems: string[] = [];
  for (const cpu of readCpus().online) {
    for (const { kind, sent, answered, found } of await runRound(network, cpu, watch, signal)) {
      tell("", pc.bold(`${kind} from core ${cpu}: ${answered} of ${sent} answered`));
      if (answered !== sent)
        problems.push(`${kind} from core ${cpu}: only ${answered} of ${sent} were answered`);
      tell(...found.lines.map(formatSampleLine));
      lines.push(...found.lines);
      problems.push(...found.problems.map((problem) => `${kind} from core ${cpu}: ${problem}`));
      packets.push(...found.packets.map((packet) => ({ ...packet, kind, sentFrom: cpu })));
    }
  }
  for (const packet of packets.filter((packet) => !onOneCore(packet))) {
    problems.push(
      `a ${packet.kind} packet was not on one core: XDP ${packet.xdp}, ${packet.ingress}, ${packet.egress}`,
    );
  }
  if (packets.length === 0) problems.push("no packet was seen at all");
  if (log.lost > 0)
    problems.push(`${log.lost} lines of the trace were lost: something else on this machine prints too much`);
  return { packets, lines, problems };
}

async function bringUpDemo(
  context: Context,
  signal: AbortSignal,
  tell: (...lines: readonly string[]) => void,
): Promise<{ readonly cpuMapId: number }> {
  const find = () => [findDevice(context.route, DEMO_INTERFACE, () => [])];
  const { deployed } = await bringUp(context, {
    devices: find,
    cpus: readCpus().online,
    qsize: QUEUE_SIZE.default,
    xdpMode: "auto",
    tc: "auto",
    trace: true,
    missing: "pass",
    targetProgram: false,
    redirectTo: undefined,
    force: false,
    bpffs: undefined,
    signal,
  });
  const [only] = deployed;
  if (only === undefined) throw new TsbpfError("nothing came up");
  tell(...describeDeployed(only));
  return only;
}

/** The kernel threads of the CPU map that is up: pid to core. */
function threadsOf(context: Context): ReadonlyMap<number, number> {
  const entries = readStatus(context, undefined).interfaces.flatMap((one) => one.cpuMap?.entries ?? []);
  return new Map(
    entries.flatMap(({ cpu, thread }) => (thread === undefined ? [] : [[thread.pid, cpu] as const])),
  );
}

function tellProof({ packets, problems }: Proof, tell: (...lines: readonly string[]) => void): void {
  tell("", proofTable(packets));
  const good = packets.filter(onOneCore).length;
  if (problems.length === 0) {
    tell(pc.green(`${good} of ${packets.length} packets: XDP, TC ingress and TC egress on one core.`));
    return;
  }
  tell(
    pc.red(`${good} of ${packets.length} packets on one core. What is wrong:`),
    ...problems.map((problem) => `  ${problem}`),
  );
}

function howToPlay({ inside, outside, address }: DemoNetwork): readonly string[] {
  return [
    "",
    pc.bold("It is still up:"),
    `  ${INVOCATION} logs                          in another terminal, and then`,
    `  ip netns exec ${outside} ping ${address}`,
    `  ${INVOCATION} status --netns ${inside}`,
    pc.bold("To remove it:"),
    `  ${INVOCATION} down --all --netns ${inside}`,
    `  ip netns del ${inside}; ip netns del ${outside}`,
  ];
}
