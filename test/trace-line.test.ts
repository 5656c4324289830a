import { describe, expect, test } from "vitest";
import { parseLostEvents, parseTraceLine } from "../src/kernel/trace-log.ts";

describe("parseTraceLine", () => {
  test.each([
    [
      "     ksoftirqd/2-24      [002] ..s.. 19646.861494: bpf_trace_printk: [XDP       ] cpu=2",
      { task: "ksoftirqd/2", pid: 24, cpu: 2, time: 19646.861494, message: "[XDP       ] cpu=2" },
    ],
    [
      " cpumap/2/map:14-25559   [002] d..21 19646.861547: bpf_trace_printk: [TC ingress] cpu=2",
      { task: "cpumap/2/map:14", pid: 25559, cpu: 2, message: "[TC ingress] cpu=2" },
    ],
    // With the record-tgid option, known and unknown.
    [
      "            ping-4711    (   4711) [000] b..1. 1.000001: bpf_trace_printk: x",
      { task: "ping", pid: 4711, cpu: 0, time: 1.000001, message: "x" },
    ],
    ["            ping-4711    (-------) [000] b..1. 1.5: bpf_trace_printk: x", { task: "ping", pid: 4711 }],
    // A task that the trace has forgotten.
    ["           <...>-99      [001] ....1 2.5: bpf_trace_printk: x", { task: "<...>", pid: 99, cpu: 1 }],
    // Names of tasks are whatever prctl(PR_SET_NAME) was given.
    [
      "        a-1 [0] b-22      [001] ....1 2.5: bpf_trace_printk: x",
      { task: "a-1 [0] b", pid: 22, cpu: 1 },
    ],
    ["   a-1 [0] . 1.0:-22      [001] ....1 2.5: bpf_trace_printk: x", { task: "a-1 [0] . 1.0:", pid: 22 }],
    ["               --3       [001] ....1 2.5: bpf_trace_printk: x", { task: "-", pid: 3 }],
    ["     Web Content-31      [001] ....1 2.5: bpf_trace_printk: x", { task: "Web Content", pid: 31 }],
    ["      \u00e9\u4e2d-31      [001] ....1 2.5: bpf_trace_printk: x", { task: "\u00e9\u4e2d", pid: 31 }],
    // What is printed may look like a line itself: the first one counts.
    [
      "            node-7       [003] ....1 3.25: bpf_trace_printk: evil-1 [009] ....1 9.9: bpf_trace_printk: y",
      { task: "node", pid: 7, cpu: 3, time: 3.25, message: "evil-1 [009] ....1 9.9: bpf_trace_printk: y" },
    ],
    [
      "            node-7       [003] ....1 3.25: bpf_trace_printk: ",
      { event: "bpf_trace_printk", message: "" },
    ],
    [
      "          <idle>-0       [001] b.s3. 5.000000: xdp_cpumap_enqueue: cpu=1 map_id=14 processed=1 drops=0 to_cpu=1",
      {
        event: "xdp_cpumap_enqueue",
        task: "<idle>",
        pid: 0,
        message: "cpu=1 map_id=14 processed=1 drops=0 to_cpu=1",
      },
    ],
  ])("%s", (raw, expected) => {
    expect(parseTraceLine(raw)).toEqual({
      event: "bpf_trace_printk",
      ...parseTraceLine(raw),
      ...expected,
      raw,
    });
    expect(parseTraceLine(raw)).toMatchObject(expected);
  });

  test.each([
    "",
    "CPU:1 [LOST 12 EVENTS]",
    "# tracer: nop",
    "the second line of a message",
    "            node-7       [003] ....1 3.25",
  ])("no event: %j", (raw) => {
    expect(parseTraceLine(raw)).toBeUndefined();
  });

  test("a long hostile line is read in the time that a test has", () => {
    const hostile = `${"x-1 [0] ".repeat(500_000)}y`;
    expect(parseTraceLine(hostile)).toBeUndefined();
  });
});

test("parseLostEvents", () => {
  expect(parseLostEvents("CPU:1 [LOST 12 EVENTS]")).toBe(12);
  expect(parseLostEvents("CPU:0 [LOST 4294967296 EVENTS]")).toBe(4294967296);
  expect(parseLostEvents(" node-7 [003] ....1 3.25: bpf_trace_printk: CPU:1 [LOST 12 EVENTS]")).toBe(0);
  expect(parseLostEvents("")).toBe(0);
});
