import { readFileSync } from "node:fs";
import { findFilesystem, type KernelFilesystem } from "../../../kernel/filesystems.ts";
import type { Finding } from "../finding.ts";

/** Where bpffs or tracefs is mounted. */
export interface MountFacts {
  readonly type: KernelFilesystem;
  /** Where this process reaches it: at its usual place, or through `/proc/PID/root` of its caller. */
  readonly path: string | undefined;
  /** Other places of this mount namespace where one is mounted. */
  readonly elsewhere: readonly string[];
}

const USUAL = { bpf: "/sys/fs/bpf", tracefs: "/sys/kernel/tracing" } as const;

/** Looks where it is mounted. */
export function readMount(type: KernelFilesystem): MountFacts {
  const mounted = readFileSync("/proc/thread-self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , kind]) => kind === type)
    .map(([, path = ""]) => path);
  return {
    type,
    path: findFilesystem(type),
    elsewhere: mounted.filter((path) => path !== USUAL[type]),
  };
}

/** Judges a mount. */
export function checkMount({ type, path, elsewhere }: MountFacts): readonly Finding[] {
  const { check, what, use } = ABOUT[type];
  const usual = USUAL[type];
  const others = elsewhere.length === 0 ? "" : `; also at ${elsewhere.join(", ")}`;
  const mountCommand = `mount -t ${type} ${what} ${usual}`;
  if (path === usual) return [{ level: "ok", check, what: `${what} is mounted at ${path}${others}` }];
  if (path !== undefined) {
    return [
      {
        level: "info",
        check,
        what: `${what} is hidden from this process, as \`ip netns exec\` does, and reached at ${path}${others}`,
        fix: "Nothing to do. `nsenter --net=...` and `--netns NAME` keep the mounts in sight.",
      },
    ];
  }
  return [
    {
      level: "info",
      check,
      what: `${what} (${use}) is not mounted at ${usual}${others}`,
      fix: `tsbpf mounts it when it needs it; to do it yourself: ${mountCommand}`,
    },
  ];
}

const ABOUT = {
  bpf: { check: "bpffs", what: "bpffs", use: "for pins" },
  tracefs: { check: "tracefs", what: "tracefs", use: "for the log" },
} as const;
