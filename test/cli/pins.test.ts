import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  draftPins,
  listPins,
  type Pinnable,
  pinDirectory,
  removePins,
  requireBpffs,
} from "../../src/cli/sample/pins.ts";

// Directories and files behave the same on any file system, so an ordinary one does here.

let root: string;
let place: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tsbpf-pins-"));
  place = pinDirectory(root, 4026531840, 7);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Something that is pinned by writing its mark. */
const pinnable = (mark: string): Pinnable => ({ pin: (path) => writeFileSync(path, mark) });

/** Everything below the root. */
const tree = (): readonly string[] => readdirSync(root, { recursive: true, encoding: "utf8" }).sort();

test("the directory is named by network namespace and interface", () => {
  expect(place).toBe(`${root}/tsbpf/4026531840-7`);
});

test("a draft is published, and replaces what was there at the end", () => {
  const first = draftPins(place, { cpu_map: pinnable("1"), prog: pinnable("1") });
  expect(first.path).toBe(`${place}-new`);
  expect(existsSync(place)).toBe(false);
  first.publish();
  first.settle();
  expect(tree()).toEqual([
    "tsbpf",
    "tsbpf/4026531840-7",
    "tsbpf/4026531840-7/cpu_map",
    "tsbpf/4026531840-7/prog",
  ]);

  const second = draftPins(place, { cpu_map: pinnable("2") });
  second.publish();
  expect(tree()).toContain("tsbpf/4026531840-7-old/prog");
  second.settle();
  expect(tree()).toEqual(["tsbpf", "tsbpf/4026531840-7", "tsbpf/4026531840-7/cpu_map"]);
});

test.each(["drafted", "published"])("what is discarded when %s leaves what was there", (when) => {
  const nothing = tree();
  const alone = draftPins(place, { cpu_map: pinnable("1") });
  if (when === "published") alone.publish();
  alone.discard();
  expect(tree()).toEqual(nothing);

  const previous = draftPins(place, { cpu_map: pinnable("1"), prog: pinnable("1") });
  previous.publish();
  previous.settle();
  const before = tree();
  const next = draftPins(place, { cpu_map: pinnable("2") });
  if (when === "published") next.publish();
  next.discard();
  expect(tree()).toEqual(before);
});

test("a pin that fails leaves nothing, and is a clear error", () => {
  const nothing = tree();
  const full: Pinnable = {
    pin() {
      throw new Error("ENOSPC: no space left on device");
    },
  };
  expect(() => draftPins(place, { cpu_map: pinnable("1"), prog: full })).toThrow(
    `cannot pin to ${place}-new: ENOSPC: no space left on device`,
  );
  expect(tree()).toEqual(nothing);
});

test("what a process left that was killed half-way is in nobody's way, and goes with the rest", () => {
  for (const suffix of ["-new", "-old"]) {
    mkdirSync(`${place}${suffix}`, { recursive: true });
    writeFileSync(`${place}${suffix}/cpu_map`, "stale");
  }
  expect(listPins(root).map(({ path, netns, ifindex }) => [path, netns, ifindex])).toEqual([
    [`${place}-new`, 4026531840, 7],
    [`${place}-old`, 4026531840, 7],
  ]);
  const draft = draftPins(place, { cpu_map: pinnable("1") });
  draft.publish();
  draft.settle();
  expect(tree()).toEqual(["tsbpf", "tsbpf/4026531840-7", "tsbpf/4026531840-7/cpu_map"]);

  mkdirSync(`${place}-new`);
  expect(removePins(place)).toBe(true);
  expect(tree()).toEqual([]);
  expect(removePins(place)).toBe(false);
});

test("removing leaves the pins of other interfaces, and names that are not ours are not listed", () => {
  const other = pinDirectory(root, 4026531840, 8);
  for (const directory of [place, other]) {
    const draft = draftPins(directory, { cpu_map: pinnable("1") });
    draft.publish();
  }
  mkdirSync(`${root}/tsbpf/somebody`);
  expect(listPins(root).map(({ ifindex }) => ifindex)).toEqual([7, 8]);
  removePins(place);
  expect(readdirSync(`${root}/tsbpf`)).toEqual(["4026531840-8", "somebody"]);
  expect(listPins(`${root}/nowhere`)).toEqual([]);
});

test("a directory that is not on a bpffs is refused", () => {
  expect(() => requireBpffs(root)).toThrow(
    `nothing can be pinned in ${root}: it is not on a bpffs\n  Mount one`,
  );
});
