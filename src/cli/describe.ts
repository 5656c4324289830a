import { formatCpuList } from "../kernel/cpus.ts";
import { pc } from "./colours.ts";
import { row } from "./output.ts";
import type { Deployed } from "./sample/deploy.ts";

/** What came up on an interface, for people. */
export function describeDeployed(deployed: Deployed): readonly string[] {
  const { device, xdp, tc, tcBackend, cpus, qsize, cpuMapId, pins, replaced } = deployed;
  const again = replaced.session === undefined ? "" : ", in the place of what was there";
  return [
    `${pc.bold(device.name)}: ${pc.green("up")}${again}`,
    row("XDP", `program ${xdp.progId}, ${xdp.mode}`),
    ...(xdp.fallback === undefined ? [] : [row("", pc.dim(xdp.fallback))]),
    row(
      "TC",
      tcBackend === undefined
        ? "off"
        : `${tc.map(({ hook, progId }) => `${hook} program ${progId}`).join(", ")}, by ${tcBackend.name} (${tcBackend.reason})`,
    ),
    row(
      "CPU map",
      `map ${cpuMapId}: ${cpus.length === 1 ? "core" : "cores"} ${formatCpuList(cpus)}, queue size ${qsize}`,
    ),
    ...(pins === undefined ? [] : [row("pins", pins)]),
    ...(replaced.foreign === undefined
      ? []
      : [row("replaced", `somebody else's XDP program ${replaced.foreign}, as forced`)]),
  ];
}
