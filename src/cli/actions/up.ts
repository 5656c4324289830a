import type { TcBackendName } from "../../kernel/tc/hook.ts";
import type { XdpMode } from "../../kernel/xdp.ts";
import { type Link, listLinks } from "../../syscall/rtnetlink.ts";
import { pc } from "../colours.ts";
import { type Context, openContext } from "../context.ts";
import { describeDeployed } from "../describe.ts";
import { interruptible } from "../interrupt.ts";
import { note, say, sayJson, warn } from "../output.ts";
import { takeDown } from "../sample/down.ts";
import { formatSampleLine, openSampleLog, parseSampleLine } from "../sample/log.ts";
import { releaseMounts } from "../sample/mounts.ts";
import { planUp, type UpPlan } from "../sample/plan.ts";
import { chooseCpus, findDevice } from "../sample/preflight.ts";
import { checkQueueSize } from "../sample/queue-size.ts";
import { bringUp, type Up, type UpRequest } from "../sample/up.ts";

/** Options of `up`, as the command line gives them. */
export interface UpFlags {
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

/** Puts the sample on interfaces, or says what it would do. */
export async function up(interfaces: readonly string[], flags: UpFlags): Promise<void> {
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
