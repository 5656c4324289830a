import { linuxSyscalls } from "../../syscall/ffi.ts";
import { NetlinkSocket } from "../../syscall/netlink.ts";
import { enterNetns } from "../context.ts";
import { examineDevice } from "../doctor/device.ts";
import { type Finding, read } from "../doctor/finding.ts";
import { checkEthtool, isInstalled } from "../doctor/machine/ethtool.ts";
import { examineMachine } from "../doctor/machine.ts";
import { formatReport, isHealthy, type Report } from "../doctor/report.ts";
import { EXIT } from "../exit.ts";
import { say, sayJson } from "../output.ts";

/** Options of `doctor`, as the command line gives them. */
export interface DoctorFlags {
  readonly netns?: string;
  readonly json?: boolean;
}

/** Looks for what would be in the way of `up`. */
export function doctor(interfaces: readonly string[], flags: DoctorFlags): void {
  const report = examine([...new Set(interfaces)], flags.netns);
  const healthy = isHealthy(report);
  if (flags.json === true) sayJson({ healthy, ...report });
  else say(...formatReport(report));
  if (!healthy) process.exitCode = EXIT.failed;
}

/** The machine first: entering another network namespace hides some of its settings. */
function examine(names: readonly string[], netns: string | undefined): Report {
  const sys = linuxSyscalls();
  const machine = examineMachine(sys);
  const entered = read(() => netns === undefined || enterNetns(sys, netns));
  if ("unknown" in entered) return { machine: [...machine, noEntry(netns, entered.unknown)], interfaces: {} };
  using route = NetlinkSocket.route(sys);
  const enter = enterCommand(netns);
  const interfaces = names.map((name) => [name, examineDevice({ sys, route, enter }, name)] as const);
  const advice = checkEthtool(
    interfaces.flatMap(([, findings]) => findings),
    () => isInstalled("ethtool"),
  );
  return { machine: [...machine, ...advice], interfaces: Object.fromEntries(interfaces) };
}

function noEntry(netns: string | undefined, reason: string): Finding {
  return {
    level: "fail",
    check: "netns",
    what: `network namespace ${netns} cannot be entered: ${reason}`,
    fix: "`ip netns list` shows the names there are; entering one takes root.",
  };
}

function enterCommand(netns: string | undefined): string {
  if (netns === undefined) return "";
  return netns.includes("/") ? `nsenter --net=${netns}` : `ip netns exec ${netns}`;
}
