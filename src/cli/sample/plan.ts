import { formatCpuList } from "../../kernel/cpus.ts";
import { chooseTcBackend } from "../../kernel/tc/choose.ts";
import type { Context } from "../context.ts";
import { checkXdpSlot } from "./deploy.ts";
import { pinDirectory, pinRoot, requireBpffs } from "./pins.ts";
import { findSessions, sessionOn, xdpPrograms } from "./session.ts";
import type { UpRequest } from "./up.ts";
import { chooseXdpMode } from "./xdp-mode.ts";

/** What `up` would do on an interface. */
export interface UpPlan {
  readonly device: string;
  /** The steps in their order, a sentence each. */
  readonly steps: readonly string[];
}

/**
 * Looks what `up` would do, and changes nothing.
 *
 * @throws TsbpfError where `up` would fail for a reason that can be seen beforehand.
 */
export function planUp({ sys, route, netns }: Context, request: UpRequest): readonly UpPlan[] {
  const sessions = findSessions(sys, route);
  const root = request.bpffs === undefined ? pinRoot(undefined) : requireBpffs(request.bpffs);
  return request.devices().map((device) => {
    const previous = sessionOn(sessions, device.index);
    const foreign = checkXdpSlot(sys, { device, force: request.force }, previous);
    const pins = pinDirectory(root ?? "/sys/fs/bpf", netns, device.index);
    const tc =
      request.tc === "off"
        ? undefined
        : chooseTcBackend(request.tc, { sys, route, pinPath: (name) => `${pins}/${name}` });
    const [mode] = xdpPrograms(device)[0] ?? [];
    const choice = chooseXdpMode(sys, route, device, request.xdpMode);
    const chosen = choice.mode === "auto" ? mode : choice.mode;
    const xdpMode = chosen === undefined ? "native mode, else generic" : `${chosen} mode`;
    const why = choice.reason === undefined ? "" : ` (${choice.reason})`;
    const over =
      foreign === undefined
        ? previous === undefined
          ? ""
          : ", in the place of ours"
        : `, in the place of program ${foreign}`;
    return {
      device: device.name,
      steps: [
        ...(root === undefined ? ["mount a bpffs at /sys/fs/bpf"] : []),
        `create a CPU map with cores ${formatCpuList(request.cpus)}, queue size ${request.qsize}`,
        `pin to ${pins}`,
        ...(tc === undefined
          ? ["leave TC alone"]
          : [`attach TC ingress and TC egress by ${tc.backend.name} (${tc.reason})`]),
        ...(request.redirectTo === undefined ? [] : [`attach TC egress of ${request.redirectTo.name} too`]),
        `attach XDP in ${xdpMode}${why}${over}`,
      ],
    };
  });
}
