import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { TsbpfError } from "../../base/error.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import type { TcBackend } from "./hook.ts";
import { kernelHasTcx, listTcx, replaceTcx } from "./tcx.ts";

/** First version of bpftool that attaches to TCX. */
const FIRST_WITH_TCX: readonly [number, number] = [7, 5];

/** What was found out about the bpftool of this machine. */
export interface Bpftool {
  /** `7.5.0`, or `undefined` where there is none that runs. */
  readonly version: string | undefined;
  /** Whether it attaches to TCX. */
  readonly tcx: boolean;
}

/** A bpftool, and how to run it. */
export interface FoundBpftool extends Bpftool {
  readonly command: string;
}

/**
 * Looks for a bpftool that attaches to TCX: `command`, else the one in the PATH, else where distributions put it. Failing
 * that, one that runs at all.
 */
export function findBpftool(command?: string): FoundBpftool {
  let best: FoundBpftool = { command: command ?? "bpftool", version: undefined, tcx: false };
  for (const candidate of command === undefined ? usualPlaces() : [command]) {
    const found = ask(candidate);
    if (found.tcx) return found;
    if (best.version === undefined && found.version !== undefined) best = found;
  }
  return best;
}

function ask(command: string): FoundBpftool {
  let output: string;
  try {
    output = run(command, ["version"]);
  } catch {
    return { command, version: undefined, tcx: false };
  }
  const [, version, major, minor] = /v((\d+)\.(\d+)\.\d+)/.exec(output) ?? [];
  const [wantedMajor, wantedMinor] = FIRST_WITH_TCX;
  const tcx = Number(major) > wantedMajor || (Number(major) === wantedMajor && Number(minor) >= wantedMinor);
  return { command, version, tcx };
}

/**
 * An ordinary PATH has no sbin. And on Ubuntu /usr/sbin/bpftool is a script that wants the tools of exactly the running
 * kernel, while those of another one, which do as well, lie beside it.
 */
function* usualPlaces(): Generator<string> {
  yield "bpftool";
  yield "/usr/sbin/bpftool";
  yield "/usr/local/sbin/bpftool";
  for (const directory of ["/usr/lib/linux-tools", "/usr/lib"]) {
    for (const name of names(directory)) {
      if (directory !== "/usr/lib" || /^linux-.*tools-/.test(name)) yield `${directory}/${name}/bpftool`;
    }
  }
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * The bpftool backend: pins the program and has `bpftool net attach tcx_*` attach the pin. bpftool runs in the network
 * namespace of the main thread.
 *
 * @param pinPath - where a program of this name is pinned; a path on a bpffs that bpftool can see.
 * @throws TsbpfError where bpftool is missing or attaches no TCX (before 7.5).
 */
export function bpftoolBackend(
  sys: Syscalls,
  pinPath: (program: string) => string,
  bpftool: FoundBpftool = findBpftool(),
): TcBackend {
  const { command, version, tcx } = bpftool;
  if (!tcx) {
    throw new TsbpfError(
      version === undefined ? "bpftool was not found" : `bpftool ${version} cannot attach to TCX`,
      {
        hint: "Install bpftool 7.5 or newer (scripts/setup.sh does), or attach without it: --tc tcx, or --tc clsact before kernel 6.6.",
      },
    );
  }
  return {
    name: "bpftool",
    attach(program, { ifindex, name }, hook) {
      const progId = program.info().id;
      const args = ["net", "attach", `tcx_${hook}`, "pinned", pinPath(program.name), "dev", name];
      try {
        run(command, args);
      } catch (cause) {
        throw new TsbpfError(`bpftool could not attach '${program.name}' to tcx_${hook}`, {
          details: `  ${[command, ...args].join(" ")}\n  ${message(cause)}`,
          hint: kernelHasTcx(sys)
            ? undefined
            : "This kernel has no TCX, which came with 6.6: attach with clsact (--tc clsact).",
          cause,
        });
      }
      const attached = listTcx(sys, ifindex, hook).find((attachment) => attachment.progId === progId);
      if (attached === undefined) {
        throw new TsbpfError(
          `bpftool reported success, and '${program.name}' is not attached to tcx_${hook}`,
        );
      }
      return attached;
    },
    // bpftool cannot replace: `overwrite` is for XDP only. The system call does it without a gap.
    replace: (old, program) => replaceTcx(sys, old, program),
  };
}

function run(command: string, args: readonly string[]): string {
  return execFileSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 10_000,
  });
}

function message(cause: unknown): string {
  const { stderr, message } = cause as { stderr?: string; message?: string };
  return (stderr?.trim() || message) ?? String(cause);
}
