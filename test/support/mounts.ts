/**
 * bpffs and tracefs for tests, on machines that do not mount them. Several test runs may go side by side: each
 * holds the mounts, and the last one to let go unmounts what tests had mounted.
 */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive, startOf, testRunPid } from "./test-run.ts";

/** Mounts bpffs at /sys/fs/bpf unless it is there. Returns the directory. */
export function ensureBpffs(): string {
  holdMount({ type: "bpf", target: "/sys/fs/bpf", options: "mode=0700" });
  return "/sys/fs/bpf";
}

/** Mounts tracefs at /sys/kernel/tracing unless it is there. Returns the directory. */
export function ensureTracefs(): string {
  holdMount({ type: "tracefs", target: "/sys/kernel/tracing", options: "mode=0700" });
  return "/sys/kernel/tracing";
}

/**
 * Lets go of the mounts and unmounts those that tests made, if nobody else holds them. A bpffs with pins in it is
 * not unmounted (the pins would go with it). Returns what could not be unmounted, as sentences.
 */
export function releaseMounts(): readonly string[] {
  return locked(() => {
    rmSync(selfFile(), { force: true });
    return unmountIfUnheld().problems;
  });
}

/** Unmounts what tests had mounted whose runs were all killed. Returns the targets. */
export function releaseDeadMounts(): readonly string[] {
  return locked(() => unmountIfUnheld().unmounted);
}

/** Whether another run held the mounts at any time since this process first did. */
export function sharedWithOthers(): boolean {
  return locked(() => {
    const seen = read(selfFile());
    return seen.length > 0 || liveHolders().some((pid) => pid !== testRunPid());
  });
}

/** Whether something is mounted exactly there. */
export function isMounted(target: string): boolean {
  return read("/proc/mounts").some((line) => line.split(" ")[1] === target);
}

const ROOT = join(tmpdir(), "tsbpf-test-mounts");
/** One file per test run that holds the mounts; in it, the runs that came while it did. */
const HOLDERS = join(ROOT, "holders");
/** The targets that tests mounted. */
const STATE = join(ROOT, "mounted");
const LOCK = join(ROOT, "lock");

function holdMount(mount: {
  readonly type: string;
  readonly target: string;
  readonly options: string;
}): void {
  locked(() => {
    const self = selfFile();
    if (!existsSync(self)) {
      const others = liveHolders();
      for (const other of others) appendFileSync(join(HOLDERS, String(other)), `${testRunPid()}\n`);
      writeFileSync(self, others.map((other) => `${other}\n`).join(""));
    }
    if (isMounted(mount.target)) return;
    const args = ["-t", mount.type, "-o", mount.options, mount.type, mount.target];
    execFileSync("mount", args, { stdio: "pipe", timeout: 10_000 });
    appendFileSync(STATE, `${mount.target}\n`);
  });
}

/** Call it under the lock. */
function unmountIfUnheld(): { readonly unmounted: readonly string[]; readonly problems: readonly string[] } {
  const unmounted: string[] = [];
  const problems: string[] = [];
  if (liveHolders().length > 0) return { unmounted, problems };
  rmdirSync(HOLDERS);
  for (const target of ours()) {
    if (!isMounted(target)) continue;
    const pins = target === "/sys/fs/bpf" ? readdirSync(target).filter(isPin) : [];
    if (pins.length > 0) {
      problems.push(`${target} stays mounted, it holds ${pins.join(", ")}`);
      continue;
    }
    try {
      execFileSync("umount", [target], { stdio: "pipe", timeout: 10_000 });
      unmounted.push(target);
    } catch (error) {
      problems.push(`${target} stays mounted: ${String(error)}`);
    }
  }
  if (problems.length === 0) rmSync(STATE, { force: true });
  return { unmounted, problems };
}

const selfFile = (): string => join(HOLDERS, String(testRunPid()));

/** Holders that still run; the files of the others are removed. */
function liveHolders(): number[] {
  return readdirSync(HOLDERS)
    .map(Number)
    .filter((pid) => {
      const file = join(HOLDERS, String(pid));
      // Process ids come round: whoever was started after the file was made is somebody else. (btime is in whole seconds.)
      const holds = isAlive(pid) && (startOf(pid) ?? 0) < statSync(file).birthtimeMs + 2_000;
      if (!holds) rmSync(file, { force: true });
      return holds;
    });
}

function ours(): readonly string[] {
  return [...new Set(read(STATE))];
}

/** A bpffs is born with these two iterators where the kernel preloads them (CONFIG_BPF_PRELOAD). */
const isPin = (name: string): boolean => name !== "maps.debug" && name !== "progs.debug";

/** Runs `fn` under a lock between processes: a directory, which only one can create, with the owner's pid in it. */
function locked<T>(fn: () => T): T {
  const owner = join(LOCK, "pid");
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      mkdirSync(ROOT, { recursive: true, mode: 0o700 });
      mkdirSync(LOCK);
      break;
    } catch {
      const pid = Number(read(owner)[0] ?? Number.NaN);
      const stale = Number.isInteger(pid) && pid > 0 && !isAlive(pid);
      if (stale || Date.now() > deadline) rmSync(LOCK, { recursive: true, force: true });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
  try {
    writeFileSync(owner, `${process.pid}\n`);
    mkdirSync(HOLDERS, { recursive: true });
    return fn();
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
    if (readdirSync(ROOT).length === 0) rmdirSync(ROOT);
  }
}

function read(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}
