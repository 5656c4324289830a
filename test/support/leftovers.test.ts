import { expect, test } from "vitest";
import {
  compareSnapshots,
  type Snapshot,
  sameSnapshot,
  takeSnapshot,
  waitForNoLeftovers,
} from "./leftovers.ts";

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
  const [before, after] = [
    { ...nothing, [key]: ["a", "b"] },
    { ...nothing, [key]: ["b", "c"] },
  ];
  // What the kernel frees by itself may go.
  const free = key === "BPF object" || key === "kernel thread";
  expect(compareSnapshots(before, after)).toEqual([
    `${key} left behind: c`,
    ...(free ? [] : [`${key} gone: a`]),
  ]);
  expect([sameSnapshot(before, after), sameSnapshot(after, before)]).toEqual([false, false]);
  expect(sameSnapshot(before, { ...nothing, [key]: ["b"] })).toBe(false);
  expect(sameSnapshot(before, { ...nothing, [key]: ["b", "a"] })).toBe(true);
});

test("leftovers are waited for, with what is looked for besides", async () => {
  let looks = 0;
  const besides = () => (++looks < 3 ? ["process left behind: 1 x"] : []);
  const left = await waitForNoLeftovers(takeSnapshot(), besides);
  expect(left.filter((line) => line.startsWith("process"))).toEqual([]); // others may leave something meanwhile
  expect(looks).toBeGreaterThanOrEqual(3);
});

test("a snapshot needs no privileges and survives JSON", () => {
  const snapshot = takeSnapshot();
  expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
  expect(snapshot.interface).toContain("lo");
  expect(snapshot.mount.some((line) => line.includes(" /proc "))).toBe(true);
});
