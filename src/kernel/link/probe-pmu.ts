import { readFileSync } from "node:fs";
import { UnsupportedError } from "../unsupported.ts";

/** The perf event sources of probes. */
export type ProbePmu = "kprobe" | "uprobe";

/**
 * The number of the kernel's event source for probes, for `perf_event_attr.type`.
 *
 * @param what - what is attempted, for the message.
 * @throws UnsupportedError where the kernel has none.
 */
export function probePmu(pmu: ProbePmu, what: string): number {
  try {
    return Number(readFileSync(`${DEVICES}/${pmu}/type`, "utf8"));
  } catch (cause) {
    const option = pmu === "kprobe" ? "CONFIG_KPROBE_EVENTS=y" : "CONFIG_UPROBE_EVENTS=y";
    throw new UnsupportedError(`cannot ${what}: this kernel has no ${pmu}s`, {
      feature: `${pmu}s`,
      since: "4.17",
      needs: option,
      hint: pmu === "kprobe" ? "Tracepoints and tp_btf programs see many of the same events." : undefined,
      cause,
    });
  }
}

/** `perf_event_attr.config` of a probe: a bit says that it is for returns, and the kernel tells which. */
export function probeConfig(pmu: ProbePmu, returns: boolean): bigint {
  if (!returns) return 0n;
  const format = readFileSync(`${DEVICES}/${pmu}/format/retprobe`, "utf8"); // config:0
  return 1n << BigInt(/^config:(\d+)/.exec(format)?.[1] ?? 0);
}

const DEVICES = "/sys/bus/event_source/devices";
