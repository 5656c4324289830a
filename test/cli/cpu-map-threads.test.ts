import { expect, test } from "vitest";
import { findCpuMapThread } from "../../src/cli/sample/cpu-map-threads.ts";

const threads = new Map([
  ["cpumap/0/map:12", [100]],
  ["cpumap/1/map:12", [101, 102]],
  ["cpumap/2/map:123", [103]],
  ["cpumap/3/map:7", [104, 105]],
]);

// [what, cut by the kernel, cpu, map, pid]
test.each([
  ["its name in full", false, 2, 123, 103],
  ["a short name on a kernel that cuts", true, 0, 12, 100],
  ["a name that was cut", true, 0, 123, 100],
  ["a name that was cut, of several maps", true, 1, 123, undefined],
  ["a name that others may have been cut to", true, 1, 12, undefined],
  ["a name that is not cut is never taken for another map's", false, 0, 123, undefined],
  ["an old thread that is about to end beside the new one", false, 3, 7, 105],
  ["no thread", false, 5, 12, undefined],
  ["no thread, cut", true, 5, 123, undefined],
])("%s", (_, cut, cpu, mapId, pid) => {
  expect(findCpuMapThread(threads, cpu, mapId, cut)).toEqual(
    pid === undefined ? undefined : { pid, name: `cpumap/${cpu}/map:${mapId}` },
  );
});
