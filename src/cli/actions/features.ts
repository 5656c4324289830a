import { FEATURE_GROUPS, probeFeatures } from "../../kernel/features/index.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { formatFeatures } from "../features/format.ts";
import { say, sayJson } from "../output.ts";

/** Options of `features`, as the command line gives them. */
export interface FeaturesFlags {
  readonly helpers?: boolean;
  readonly json?: boolean;
}

/** Shows what the kernel has. */
export function features({ helpers = false, json = false }: FeaturesFlags): void {
  const groups = FEATURE_GROUPS.filter((group) => helpers || group !== "helpers");
  const report = probeFeatures(linuxSyscalls(), groups);
  if (json) sayJson(report);
  else say(...formatFeatures(report));
}
