import { TsbpfError } from "../../base/error.ts";
import {
  ensureFilesystem,
  findFilesystem,
  type KernelFilesystem,
  releaseFilesystem,
} from "../../kernel/filesystems.ts";
import { removeStaleInstances } from "../../kernel/trace-log.ts";
import type { Context } from "../context.ts";
import { checkpoint } from "../interrupt.ts";
import { lockNamespace } from "../lock.ts";
import { UndoStack } from "../undo.ts";
import { type Deployed, type DeployOptions, deploy } from "./deploy.ts";
import { pinDirectory, requireBpffs } from "./pins.ts";
import { findSessions, sessionOn } from "./session.ts";

/** What to bring up: the same on every interface. */
export interface UpRequest extends Omit<DeployOptions, "device" | "pins"> {
  /** Finds the interfaces; called under the lock, so that they are seen as they are then. */
  readonly devices: () => readonly DeployOptions["device"][];
  /** Directory on a bpffs for the pins; default the machine's bpffs. */
  readonly bpffs: string | undefined;
  /** Aborted, nothing stays up. */
  readonly signal: AbortSignal;
}

/** What came up. */
export interface Up {
  readonly deployed: readonly Deployed[];
  /** What went not as well as it could, and did not matter enough to fail. */
  readonly warnings: readonly string[];
}

/**
 * Brings the sample up on every interface, or on none: whatever fails, all that was done before is taken back.
 *
 * @throws TsbpfError with the reason; should taking back fail as well, it says what is left.
 */
export async function bringUp(context: Context, request: UpRequest): Promise<Up> {
  const { sys, route, netns } = context;
  using _lock = await lockNamespace(sys, request.signal);
  const undo = new UndoStack();
  try {
    const warnings: string[] = [];
    if (request.trace) mountForLog(context, undo, warnings);
    const root = request.bpffs === undefined ? mount(context, undo, "bpf") : requireBpffs(request.bpffs);
    const sessions = findSessions(sys, route);
    const madeClsact = new Set(sessions.flatMap((session) => session.facts.madeClsact));
    const deployed = request.devices().map((device) => {
      const previous = sessionOn(sessions, device.index);
      const pins = pinDirectory(root, netns, device.index);
      return deploy({ ...request, device, pins }, { sys, route, previous, undo, madeClsact });
    });
    await checkpoint(request.signal);
    for (const { finish } of deployed) finish();
    undo.commit();
    warnings.push(...deployed.flatMap((one) => one.warnings));
    return { deployed, warnings };
  } catch (error) {
    const failures = undo.rollBack();
    if (failures.length === 0) throw error;
    throw new TsbpfError(error instanceof Error ? error.message : String(error), {
      details: `  and taking back what was done failed:\n${failures.map((line) => `    ${line}`).join("\n")}`,
      hint: "`down` removes what is ours and still there.",
      cause: error,
    });
  }
}

/** Finds a file system or mounts it; what was mounted already stays when everything is taken back. */
function mount({ sys }: Context, undo: UndoStack, type: KernelFilesystem): string {
  const found = findFilesystem(type);
  if (found !== undefined) return found;
  undo.push(`mount of the ${type}`, () => void releaseFilesystem(sys, type));
  return ensureFilesystem(sys, type);
}

/** The log lines go to the tracing buffer either way; without a tracefs nobody can read them. */
function mountForLog(context: Context, undo: UndoStack, warnings: string[]): void {
  try {
    removeStaleInstances(mount(context, undo, "tracefs"));
  } catch (error) {
    warnings.push(error instanceof Error ? error.message : String(error));
  }
}
