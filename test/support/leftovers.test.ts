import { expect, test } from "vitest";
import { compareSnapshots, type Snapshot, takeSnapshot } from "./leftovers.ts";

const nothing: Snapshot = {
  "network namespace": [],
  mount: [],
  "bpffs entry": [],
  "tracing instance": [],
  "trace event": [],
  setting: [],
  "BPF object": [],
  "kernel thread": [],
  interface: [],
};

test("equal snapshots say nothing", () => {
  expect(compareSnapshots(nothing, nothing)).toEqual([]);
  const full = { ...nothing, interface: ["lo", "eth0"] };
  expect(compareSnapshots(full, { ...nothing, interface: ["eth0", "lo"] })).toEqual([]);
});

test.each(Object.keys(nothing) as (keyof Snapshot)[])("%s: what came and what went is named", (key) => {
  expect(compareSnapshots({ ...nothing, [key]: ["a", "b"] }, { ...nothing, [key]: ["b", "c"] })).toEqual([
    `${key} left behind: c`,
    `${key} gone: a`,
  ]);
});

test("a snapshot needs no privileges and survives JSON", () => {
  const snapshot = takeSnapshot();
  expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
  expect(snapshot.interface).toContain("lo");
  expect(snapshot.mount.some((line) => line.includes(" /proc "))).toBe(true);
});
