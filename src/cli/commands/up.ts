import { Command, Option } from "commander";
import type { TcBackendName } from "../../kernel/tc/hook.ts";
import type { XdpMode } from "../../kernel/xdp.ts";
import { type Link, listLinks } from "../../syscall/rtnetlink.ts";
import { pc } from "../colours.ts";
import { type Context, openContext } from "../context.ts";
import { describeDeployed } from "../describe.ts";
import { interruptible } from "../interrupt.ts";
import { INVOCATION } from "../invocation.ts";
import { bpffsOption, jsonOption, netnsOption, wholeNumber } from "../options.ts";
import { note, say, sayJson, warn } from "../output.ts";
import { takeDown } from "../sample/down.ts";
import { formatSampleLine, openSampleLog, parseSampleLine } from "../sample/log.ts";
import { releaseMounts } from "../sample/mounts.ts";
import { planUp, type UpPlan } from "../sample/plan.ts";
import { checkQueueSize, chooseCpus, findDevice, QUEUE_SIZE } from "../sample/preflight.ts";
import { bringUp, type Up, type UpRequest } from "../sample/up.ts";

/** Options of `up`, as the command line gives them. */
interface UpFlags {
  readonly cpus?: string;
  readonly qsize: number;
  readonly xdpMode: XdpMode | "auto";
  readonly tc: TcBackendName | "auto" | "off";
  readonly trace: boolean;
  readonly missing: "pass" | "drop";
  readonly targetProgram?: boolean;
  readonly ingressRedirect?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly foreground?: boolean;
  readonly netns?: string;
  readonly bpffs?: string;
  readonly json?: boolean;
}

/** `up <iface...>`: put the sample on interfaces. */
export function upCommand(): Command {
  return new Command("up")
    .summary("put the sample on interfaces; it stays when the command ends")
    .description(
      "Loads the programs, fills the CPU map, and attaches to XDP, TC ingress and TC egress: on all interfaces or on none. " +
        "A second `up` replaces the first without a gap. Somebody else's XDP program is left alone.",
    )
    .argument("<iface...>", "interfaces, such as eth0")
    .option("--cpus <list>", "cores that get an entry in the CPU map, such as 0-3,5 (default: all online)")
    .addOption(
      new Option("--qsize <n>", "packets that the queue to each core holds")
        .argParser(wholeNumber)
        .default(QUEUE_SIZE.default),
    )
    .addOption(
      new Option("--missing <action>", "what becomes of packets on a core without an entry")
        .choices(["pass", "drop"])
        .default("pass"),
    )
    .addOption(
      new Option(
        "--xdp-mode <mode>",
        "where XDP runs; auto is native where the driver has it and no packet is lost by it",
      )
        .choices(["auto", "native", "generic"])
        .default("auto"),
    )
    .addOption(
      new Option("--tc <backend>", "how to attach to TC; auto is the first that works here")
        .choices(["auto", "bpftool", "tcx", "clsact", "off"])
        .default("auto"),
    )
    .option("--no-trace", "load the programs without their log lines")
    .option("--target-program", "run a second XDP program on the core that a packet was handed to")
    .option("--ingress-redirect <iface>", "have TC ingress send every packet out of this interface")
    .option("--force", "replace somebody else's XDP program")
    .option("--dry-run", "say what would be done, and do nothing")
    .option("--foreground", "show the log, and take everything down on Ctrl-C or SIGTERM")
    .addOption(netnsOption())
    .addOption(bpffsOption())
    .addOption(jsonOption())
    .addHelpText("after", EXAMPLES)
    .action(up);
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} up eth0
  $ ${INVOCATION} up eth0 --cpus 0-1 --qsize 1024 --xdp-mode native
  $ ${INVOCATION} up eth0 --foreground
  $ ${INVOCATION} up eth0 --netns blue --tc tcx`;

async function up(interfaces: readonly string[], flags: UpFlags): Promise<void> {
  const cpus = chooseCpus(flags.cpus);
  const qsize = checkQueueSize(flags.qsize);
  using context = openContext(flags);
  await interruptible(async (signal) => {
    const request = requestOf(context, [...new Set(interfaces)], { ...flags, cpus, qsize }, signal);
    if (flags.dryRun === true) return showPlan(planUp(context, request), flags);
    if (flags.foreground === true) return runInForeground(context, request, flags);
    return showUp(await bringUp(context, request), flags);
  });
}

function requestOf(
  { route }: Context,
  interfaces: readonly string[],
  flags: Omit<UpFlags, "cpus"> & { readonly cpus: readonly number[] },
  signal: AbortSignal,
): UpRequest {
  const find = (name: string): Link => findDevice(route, name, () => listLinks(route));
  return {
    devices: () => interfaces.map(find),
    cpus: flags.cpus,
    qsize: flags.qsize,
    xdpMode: flags.xdpMode,
    tc: flags.tc,
    trace: flags.trace,
    missing: flags.missing,
    targetProgram: flags.targetProgram ?? false,
    redirectTo: flags.ingressRedirect === undefined ? undefined : find(flags.ingressRedirect),
    force: flags.force ?? false,
    bpffs: flags.bpffs,
    signal,
  };
}

/** Shows the log until a signal comes, and then takes down what it brought up. */
async function runInForeground(context: Context, request: UpRequest, flags: UpFlags): Promise<void> {
  try {
    await upWhileWatched(context, request, flags);
  } finally {
    releaseMounts(context.sys, request.bpffs); // the log is closed now, and needs its tracefs no more
  }
}

async function upWhileWatched(context: Context, request: UpRequest, flags: UpFlags): Promise<void> {
  using log = openSampleLog(context.sys);
  const up = await bringUp(context, request);
  try {
    showUp(up, flags);
    for await (const line of log.lines({ signal: request.signal })) {
      const ours = parseSampleLine(line);
      if (ours !== undefined) say(flags.json === true ? JSON.stringify(ours) : formatSampleLine(ours));
    }
  } finally {
    for (const down of await takeDown(context, { interfaces: up.deployed, bpffs: request.bpffs })) {
      note(`${down.interface}: taken down`);
    }
  }
}

function showUp({ deployed, warnings }: Up, flags: UpFlags): void {
  for (const warning of warnings) warn(warning);
  if (flags.json === true) sayJson({ deployed });
  else for (const one of deployed) say(...describeDeployed(one));
}

function showPlan(plans: readonly UpPlan[], flags: UpFlags): void {
  if (flags.json === true) sayJson({ plan: plans });
  else
    for (const { device, steps } of plans)
      say(`${pc.bold(device)}: would`, ...steps.map((step) => `  ${step}`));
}
