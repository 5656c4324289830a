import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { TsbpfError } from "../../base/error.ts";
import { findFilesystem } from "../../kernel/filesystems.ts";
import { isBpffs } from "../../syscall/mount.ts";

// Pins are for people and other tools (bpftool map dump pinned ...), and what bpftool attaches from. Interface indexes and
// names repeat between network namespaces while one bpffs may serve them all, so their directory is named by both:
//
//     /sys/fs/bpf/tsbpf/<inode of the network namespace>-<interface index>/{cpu_map,xdp_same_cpu,tc_ingress,...}
//
// While an `up` is under way, `...-new` holds what it makes, and at its end `...-old` what it replaced.

/** Something that can be pinned. */
export interface Pinnable {
  pin(path: string): void;
}

/** The pins of one session on their way from a draft to their place. */
export interface PinDraft {
  /** Directory of the pins, while they are a draft. */
  readonly path: string;
  /** Puts them in the place of the pins that the interface had. */
  publish(): void;
  /** Removes them, and puts back those that they replaced. */
  discard(): void;
  /** Removes those that they replaced, when there is no way back any more. */
  settle(): void;
}

/** Directory, below the bpffs, that holds all pins of tsbpf. */
const DIRECTORY = "tsbpf";

/** Directories beside the one of an interface. (A bpffs takes no dots in names.) */
const SUFFIX = { draft: "-new", replaced: "-old" } as const;

/** Where the pins of an interface are. @param root - directory on a bpffs, such as `/sys/fs/bpf`. */
export function pinDirectory(root: string, netns: number, ifindex: number): string {
  return `${root}/${DIRECTORY}/${netns}-${ifindex}`;
}

/**
 * Pins objects by name in a draft directory beside their place.
 *
 * @throws TsbpfError where nothing can be pinned there; no pins are left then.
 */
export function draftPins(directory: string, objects: Readonly<Record<string, Pinnable>>): PinDraft {
  const draft = `${directory}${SUFFIX.draft}`;
  const replaced = `${directory}${SUFFIX.replaced}`;
  try {
    for (const path of [draft, replaced]) removeDirectory(path); // of a process that was killed half-way
    mkdirSync(draft, { recursive: true, mode: 0o700 });
    for (const [name, object] of Object.entries(objects)) object.pin(`${draft}/${name}`);
  } catch (cause) {
    removeAll([draft], directory);
    throw cause instanceof TsbpfError
      ? cause
      : new TsbpfError(`cannot pin to ${draft}: ${cause instanceof Error ? cause.message : cause}`, {
          cause,
        });
  }
  return {
    path: draft,
    publish() {
      if (existsSync(directory)) renameSync(directory, replaced);
      renameSync(draft, directory);
    },
    discard() {
      const published = !existsSync(draft);
      if (existsSync(replaced)) {
        if (published) removeDirectory(directory);
        renameSync(replaced, directory);
        removeAll([draft], directory);
      } else {
        removeAll(published ? [directory] : [draft], directory);
      }
    },
    settle: () => void removeAll([replaced], directory),
  };
}

/**
 * Removes the pins of an interface, also what an `up` left that was killed half-way, and the directory above where nothing
 * else is in it. False where there were none.
 */
export function removePins(directory: string): boolean {
  return removeAll([directory, `${directory}${SUFFIX.draft}`, `${directory}${SUFFIX.replaced}`], directory);
}

/** A directory of pins, with the network namespace and the interface that it is for. */
export interface PinnedInterface {
  readonly path: string;
  readonly netns: number;
  readonly ifindex: number;
}

/** Every directory of pins below a bpffs. */
export function listPins(root: string): readonly PinnedInterface[] {
  const directory = `${root}/${DIRECTORY}`;
  return namesIn(directory).flatMap((name) => {
    const [, netns, ifindex] = /^(\d+)-(\d+)(?:-new|-old)?$/.exec(name) ?? [];
    if (netns === undefined) return [];
    return [{ path: `${directory}/${name}`, netns: Number(netns), ifindex: Number(ifindex) }];
  });
}

/** Passes a directory for pins through. @throws TsbpfError where it is not on a bpffs. */
export function requireBpffs(directory: string): string {
  if (isBpffs(directory)) return directory;
  throw new TsbpfError(`nothing can be pinned in ${directory}: it is not on a bpffs`, {
    hint: `Mount one (mount -t bpf bpffs ${directory}), or leave --bpffs out.`,
  });
}

/** The bpffs root to use: the one that was asked for, else that of the machine; `undefined` where it is not mounted. */
export function pinRoot(asked: string | undefined): string | undefined {
  return asked ?? findFilesystem("bpf");
}

function removeAll(paths: readonly string[], directory: string): boolean {
  const removed = paths.map(removeDirectory).includes(true);
  try {
    rmdirSync(directory.slice(0, directory.lastIndexOf("/")));
  } catch {
    // pins of other interfaces are in it, or another tsbpf has removed it
  }
  return removed;
}

function removeDirectory(path: string): boolean {
  if (!existsSync(path)) return false;
  for (const name of readdirSync(path)) unlinkSync(`${path}/${name}`);
  rmdirSync(path);
  return true;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // nothing is pinned
  }
}
