import { describe, expect, test } from "vitest";
import { correlate, onOneCore } from "../../src/cli/demo/correlate.ts";
import { parseSampleLine } from "../../src/cli/sample/log.ts";
import { parseTraceLine, type TraceLine } from "../../src/kernel/trace-log.ts";

// Traces as the kernel writes them: one line a hook, and xdp_cpumap_enqueue after each bulk. Map 33 is ours.

const OURS = {
  mapId: 33,
  threads: new Map([
    [100, 0],
    [101, 1],
  ]),
  servers: new Set([500]),
};

let clock = 1;
const line = (task: string, cpu: number, what: string): TraceLine => {
  clock += 0.001;
  const raw = `  ${task} [00${cpu}] b..1. ${clock.toFixed(6)}: ${what}`;
  return parseTraceLine(raw) as TraceLine;
};
const xdp = (cpu: number, said = cpu) => line("ping-77", cpu, `bpf_trace_printk: [XDP       ] cpu=${said}`);
const enqueue = (cpu: number, to: number, { map = 33, processed = 1, drops = 0 } = {}) =>
  line(
    "ping-77",
    cpu,
    `xdp_cpumap_enqueue: map_id=${map} action=REDIRECT cpu=${cpu} processed=${processed} drops=${drops} to_cpu=${to}`,
  );
const ingress = (cpu: number, pid = 100 + cpu) =>
  line(`cpumap/${cpu}/map:33-${pid}`, cpu, `bpf_trace_printk: [TC ingress] cpu=${cpu}`);
const egress = (cpu: number, pid = 100 + cpu) =>
  line(`cpumap/${cpu}/map:33-${pid}`, cpu, `bpf_trace_printk: [TC egress ] cpu=${cpu}`);

describe("a trace in which all is well", () => {
  test("a ping on each core", () => {
    const trace = [0, 1].flatMap((cpu) => [xdp(cpu), enqueue(cpu, cpu), ingress(cpu), egress(cpu)]);
    const { packets, problems, lines } = correlate(trace, OURS);
    expect(problems).toEqual([]);
    expect(packets).toEqual([
      { xdp: 0, ingress: 0, egress: [0] },
      { xdp: 1, ingress: 1, egress: [1] },
    ]);
    expect(packets.every(onOneCore)).toBe(true);
    expect(lines.map(({ hook }) => hook)).toEqual([
      "XDP",
      "TC ingress",
      "TC egress",
      "XDP",
      "TC ingress",
      "TC egress",
    ]);
  });

  test("a bulk of three, answered by a server", () => {
    const trace = [xdp(1), xdp(1), xdp(1), enqueue(1, 1, { processed: 3 })];
    for (let packet = 0; packet < 3; packet++) trace.push(ingress(1), egress(1, 500));
    const { packets, problems } = correlate(trace, OURS);
    expect([packets.length, problems]).toEqual([3, []]);
    expect(packets.map(({ egress }) => egress)).toEqual([[1], [1], [1]]);
  });

  test("a packet without an answer, and one with two", () => {
    const trace = [
      xdp(0),
      enqueue(0, 0),
      ingress(0),
      xdp(0),
      enqueue(0, 0),
      ingress(0),
      egress(0),
      egress(0, 500),
    ];
    expect(correlate(trace, OURS)).toMatchObject({
      packets: [{ egress: [] }, { egress: [0, 0] }],
      problems: [],
    });
  });

  test("lines of another CPU map on the same core are not ours", () => {
    const trace = [
      xdp(0), // theirs
      enqueue(0, 0, { map: 44 }),
      xdp(0),
      enqueue(0, 0),
      ingress(0, 999), // their thread
      ingress(0),
      egress(0, 998),
      egress(0),
      xdp(1), // theirs, never queued by us
    ];
    const { packets, problems, lines } = correlate(trace, OURS);
    expect([packets, problems]).toEqual([[{ xdp: 0, ingress: 0, egress: [0] }], []]);
    expect(lines).toHaveLength(3);
  });

  test("nothing", () => {
    expect(correlate([], OURS)).toEqual({ packets: [], lines: [], problems: [] });
  });
});

describe("a trace in which something is wrong", () => {
  const problemsOf = (trace: readonly TraceLine[]) => correlate(trace, OURS).problems;

  test("a packet that was handed to another core is not on one core", () => {
    const { packets, problems } = correlate([xdp(0), enqueue(0, 1), ingress(1), egress(1)], OURS);
    expect(packets).toEqual([{ xdp: 0, ingress: 1, egress: [1] }]);
    expect(packets.every(onOneCore)).toBe(false);
    expect(problems).toEqual([]); // it is told by the packet itself
  });

  test("an answer from another core is not on one core", () => {
    const { packets } = correlate([xdp(0), enqueue(0, 0), ingress(0), egress(1, 500)], OURS);
    expect(packets.map(onOneCore)).toEqual([false]);
  });

  test("a packet that never came to TC ingress", () => {
    const trace = [xdp(1), enqueue(1, 1)];
    expect(problemsOf(trace)).toEqual(["a packet that XDP saw on core 1 never came to TC ingress"]);
    expect(correlate(trace, OURS).packets.map(onOneCore)).toEqual([false]);
  });

  test("TC ingress of a packet that XDP did not see", () => {
    expect(problemsOf([ingress(1)])).toEqual(["TC ingress on core 1 saw a packet that XDP did not"]);
  });

  test("TC egress before any packet", () => {
    expect(problemsOf([egress(0)])).toEqual(["TC egress on core 0 answered a packet that was not seen"]);
  });

  test("a packet that was queued without a line", () => {
    expect(problemsOf([xdp(0), enqueue(0, 0, { processed: 2 }), ingress(0)])).toEqual([
      "1 packets were queued without an XDP line",
    ]);
  });

  test("a full queue", () => {
    expect(problemsOf([xdp(0), enqueue(0, 0, { drops: 1, processed: 1 }), ingress(0)])).toContain(
      "1 packets found the queue to core 0 full",
    );
  });

  test("a program that names another core than the one it ran on", () => {
    expect(problemsOf([xdp(0, 1), enqueue(0, 0), ingress(0)])).toEqual(["a program said cpu=1 on core 0"]);
  });
});

describe("the sample's lines", () => {
  test.each([
    ["[XDP       ] cpu=3", { hook: "XDP", saidCpu: 3 }],
    ["[TC ingress] cpu=0", { hook: "TC ingress", saidCpu: 0 }],
    ["[TC egress ] cpu=127", { hook: "TC egress", saidCpu: 127 }],
    ["[XDP cpumap] cpu=1", { hook: "XDP cpumap", saidCpu: 1 }],
  ])("%s", (message, expected) => {
    expect(parseSampleLine(line("a-1", 0, `bpf_trace_printk: ${message}`))).toMatchObject(expected);
  });

  test.each(["[XDP] cpu=", "[XDP       ] cpu=1 and more", "XDP cpu=1", "[TC       ] cpu=1", "", "hello"])(
    "not `%s`",
    (message) => {
      expect(parseSampleLine({ ...line("a-1", 0, "bpf_trace_printk: x"), message })).toBeUndefined();
    },
  );
});
