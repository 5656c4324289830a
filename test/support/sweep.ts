/**
 * Removes what test runs left behind that were killed before they could clean up, and waits until the machine has
 * settled. It comes before a snapshot, never between two: the tests' own clean-up, and the product's (`down --all`
 * removes pins of namespaces that have gone), would take the same things away in the middle of a run otherwise.
 *
 * Only what says whose it was is touched: names with the id of a process that no longer exists, and pins of a network
 * namespace that was removed here or that nobody holds any more.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingPrivilege } from "./capabilities.ts";
import { sameSnapshot, takeSnapshot } from "./leftovers.ts";
import { releaseDeadMounts } from "./mounts.ts";
import { listNamespaces, sweepDeadNamespaces } from "./netns.ts";
import { heirsOfDeadRuns, isAlive } from "./test-run.ts";

/**
 * Removes it, and resolves with a line for each thing once two looks at the machine agree. Without privileges there is
 * nothing to do: such a run leaves nothing in the kernel.
 */
export async function sweepDeadRuns(): Promise<readonly string[]> {
  if (missingPrivilege() !== undefined) return [];
  const removed = [
    ...endHeirs(),
    ...sweepDeadNamespaces().flatMap(({ name, inode }) => [
      `network namespace ${name}`,
      ...removePinsOf(inode),
    ]),
    ...removePinsOfNobody(),
    ...removeEntries(BPFFS, TEST_PINS, (path) => rmSync(path, { recursive: true })),
    ...removeEntries("/sys/kernel/tracing/instances", INSTANCES, rmdirSync),
    ...removeEntries(tmpdir(), PRIVATE_MOUNTS, (path) => {
      execFileSync("umount", [path], { stdio: "pipe", timeout: 10_000 });
      rmdirSync(path);
    }),
    ...releaseDeadMounts().map((target) => `mount at ${target}`),
    ...releaseProductMounts().map((target) => `tsbpf's mount at ${target}`),
  ];
  await settled();
  return removed;
}

/** Removes what is pinned for the interfaces of a network namespace; gives the paths. */
export function removePinsOf(netns: number): readonly string[] {
  return removePins((inode) => inode === netns);
}

/** Where {@link file://../kernel/cli/harness.ts} mounts a bpffs for one test; the process id and a random end follow. */
export const PRIVATE_BPFFS: string = join(tmpdir(), "tsbpf-bpffs-");

const BPFFS = "/sys/fs/bpf";
/** The product's pins: `INODE-IFINDEX`, with `-new` and `-old` while one `up` replaces another. */
const PINS = `${BPFFS}/tsbpf`;
/** Tests that pin by hand do it in `tsbpf-test-WHAT-PID` or `tsbpf-t-PID`, a name or a directory. */
const TEST_PINS = /^tsbpf-t(?:est-[a-z]+)?-(\d+)/;
/** The product's tracing instances, and those of the harness. */
const INSTANCES = /^tsbpf-(?:t-)?(\d+)/;
const PRIVATE_MOUNTS = /^tsbpf-bpffs-(\d+)-/;

/** Ends processes whose run has ended: they may hold programs, maps and namespaces. */
function endHeirs(): readonly string[] {
  return heirsOfDeadRuns().flatMap(({ pid, command }) => {
    try {
      process.kill(pid, "SIGKILL");
      return [`process ${pid} ${command}`];
    } catch {
      return []; // ended meanwhile
    }
  });
}

/** Removes pins of namespaces that no process and no name holds: nothing can use them any more. */
function removePinsOfNobody(): readonly string[] {
  const alive = new Set(
    [
      ...listNamespaces().map((name) => `/run/netns/${name}`),
      ...names("/proc").map((pid) => `/proc/${pid}/ns/net`),
    ].flatMap((path) => inodeOf(path) ?? []),
  );
  return removePins((inode) => !alive.has(inode));
}

function removePins(isDead: (netns: number) => boolean): readonly string[] {
  const removed = names(PINS)
    .filter((name) => /^\d+-\d+/.test(name) && isDead(Number.parseInt(name, 10)))
    .map((name) => `${PINS}/${name}`);
  for (const path of removed) rmSync(path, { recursive: true, force: true });
  try {
    rmdirSync(PINS);
  } catch {
    // There is none, or others have pins there.
  }
  return removed;
}

/** Removes the entries of a directory whose name has the id of a process that no longer exists. */
function removeEntries(
  directory: string,
  pattern: RegExp,
  remove: (path: string) => void,
): readonly string[] {
  return names(directory).flatMap((name) => {
    const pid = pattern.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) return [];
    try {
      remove(join(directory, name));
      return [join(directory, name)];
    } catch {
      return []; // in use by somebody, or gone meanwhile
    }
  });
}

/**
 * Unmounts what the product mounted, and did not live to unmount: its next `down` or `logs` would, in the middle of the
 * tests. In use, by a log that is read or by pins, it stays, as then. Returns the targets.
 */
export function releaseProductMounts(): readonly string[] {
  return readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .flatMap((line) => /^tsbpf (\/sys\/(?:fs\/bpf|kernel\/tracing)) /.exec(line)?.[1] ?? [])
    .filter((target) => {
      if (target === BPFFS && names(target).some((name) => !name.endsWith(".debug"))) return false;
      return spawnSync("umount", [target], { stdio: "ignore", timeout: 10_000 }).status === 0;
    });
}

/** The kernel frees programs, maps, threads and namespaces in the background: waits until it has, or others never rest. */
async function settled(): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (let last = takeSnapshot(); Date.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    const now = takeSnapshot();
    if (sameSnapshot(last, now)) return;
    last = now;
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined; // ended meanwhile, or no process
  }
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
