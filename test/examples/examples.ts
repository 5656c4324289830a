/** What tests know about all examples. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The repository's root, where examples are started. */
export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** Each example, with arguments that it would run with. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  "connect-policy": ["/sys/fs/cgroup", "10.0.0.0/8"],
  "count-syscalls": [],
  "drop-ports": ["lo", "0.0.0.0/0:9"],
  execsnoop: [],
  "live-map": ["lo"],
  "packet-counter": ["lo"],
  "tail-calls": ["lo"],
  "tcx-chain": ["lo"],
  "top-senders": ["lo"],
};

/** Arguments of Node.js for `npx tsx examples/NAME.ts ARGS...`, in one process: tsx's own command starts a second one. */
export function exampleArgs(name: string, args: readonly string[]): readonly string[] {
  return ["--import", "tsx", `examples/${name}.ts`, ...args];
}

/** What a command left. */
export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command at the root to its end, whatever that is. */
export async function run(file: string, args: readonly string[]): Promise<Run> {
  try {
    const options = { cwd: ROOT, timeout: 60_000 };
    return { code: 0, ...(await promisify(execFile)(file, [...args], options)) };
  } catch (error) {
    return error as Run;
  }
}
