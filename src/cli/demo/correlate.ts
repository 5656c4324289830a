import type { TraceLine } from "../../kernel/trace-log.ts";
import { parseSampleLine, type SampleLine } from "../sample/log.ts";

/** One packet's way, hook by hook: the core that each hook ran on. */
export interface PacketTrace {
  readonly xdp: number;
  /** `undefined` where the packet was never seen there. */
  readonly ingress: number | undefined;
  /** TC egress of what was sent in answer: nothing, an acknowledgement, an echo, or both. */
  readonly egress: readonly number[];
}

/** What {@link correlate} found. */
export interface Correlation {
  readonly packets: readonly PacketTrace[];
  /** The sample's lines that belong to them, in their order. */
  readonly lines: readonly SampleLine[];
  /** What does not fit the story: lost packets, hooks that ran without the ones before. */
  readonly problems: readonly string[];
}

/** What tells our packets from those of another CPU map. */
export interface Identity {
  readonly mapId: number;
  /** The kernel threads of the map: pid to core. */
  readonly threads: ReadonlyMap<number, number>;
  /** The processes that answer packets themselves. */
  readonly servers: ReadonlySet<number>;
}

/**
 * Follows each packet from XDP through TC ingress to the TC egress of its answer.
 *
 * A line tells neither packet nor interface, so the proof rests on what the kernel does: at the end of each poll of a
 * device, the tracepoint xdp_cpumap_enqueue says how many packets went into which map and to which core, so the XDP lines
 * right before it on that core are theirs. They leave the queue to a core in order. Only that map's kernel thread for the
 * core runs TC ingress on them, and the pid in the line says that it was that thread. What the
 * kernel answers it sends in the same thread, what a server answers carries the server's pid; an answer belongs to the
 * packet that came last, since the demo sends one at a time.
 */
export function correlate(trace: readonly TraceLine[], { mapId, threads, servers }: Identity): Correlation {
  const polled = new Map<number, SampleLine[]>(); // XDP lines by core, not known to be ours yet
  const queued = new Map<number, MutableTrace[]>(); // packets on their way to a core, oldest first
  const packets: MutableTrace[] = [];
  const lines: SampleLine[] = [];
  const problems: string[] = [];
  let latest: MutableTrace | undefined; // the packet that TC ingress saw last

  for (const line of trace) {
    if (line.event === "xdp_cpumap_enqueue") enqueue(line);
    const sample = parseSampleLine(line);
    if (sample === undefined) continue;
    if (sample.saidCpu !== sample.cpu)
      problems.push(`a program said cpu=${sample.saidCpu} on core ${sample.cpu}`);
    if (sample.hook === "XDP") listIn(polled, sample.cpu).push(sample);
    if (sample.hook === "TC ingress" && threads.has(sample.pid)) ingress(sample);
    if (sample.hook === "TC egress" && (threads.has(sample.pid) || servers.has(sample.pid))) egress(sample);
  }
  for (const waiting of queued.values()) {
    for (const packet of waiting)
      problems.push(`a packet that XDP saw on core ${packet.xdp} never came to TC ingress`);
  }
  return { packets, lines: lines.sort((a, b) => a.time - b.time), problems };

  function enqueue(line: TraceLine): void {
    const fields = fieldsOf(line.message);
    const [processed, drops, to_cpu] = ["processed", "drops", "to_cpu"].map((name) => fields[name]);
    if (fields["map_id"] !== mapId || processed === undefined || to_cpu === undefined) return;
    const seen = listIn(polled, line.cpu).splice(0).slice(-processed);
    if (seen.length < processed)
      problems.push(`${processed - seen.length} packets were queued without an XDP line`);
    if (drops !== undefined && drops > 0)
      problems.push(`${drops} packets found the queue to core ${to_cpu} full`);
    for (const xdp of seen) {
      const packet: MutableTrace = { xdp: xdp.cpu, ingress: undefined, egress: [] };
      packets.push(packet);
      lines.push(xdp);
      listIn(queued, to_cpu).push(packet);
    }
  }

  function ingress(line: SampleLine): void {
    const packet = queued.get(threads.get(line.pid) as number)?.shift();
    if (packet === undefined) {
      problems.push(`TC ingress on core ${line.cpu} saw a packet that XDP did not`);
      return;
    }
    packet.ingress = line.cpu;
    lines.push(line);
    latest = packet;
  }

  function egress(line: SampleLine): void {
    lines.push(line);
    if (latest === undefined)
      problems.push(`TC egress on core ${line.cpu} answered a packet that was not seen`);
    else latest.egress.push(line.cpu);
  }
}

/** Whether so many packets were handed to the map, and each of them has come to TC ingress. */
export function isComplete({ packets }: Correlation, sent: number): boolean {
  return packets.length >= sent && packets.every(({ ingress }) => ingress !== undefined);
}

/** Whether every hook that saw the packet ran on one core, and TC ingress did see it. */
export function onOneCore({ xdp, ingress, egress }: PacketTrace): boolean {
  return ingress === xdp && egress.every((cpu) => cpu === xdp);
}

interface MutableTrace {
  readonly xdp: number;
  ingress: number | undefined;
  readonly egress: number[];
}

/** The numbers among the `name=value` fields of a tracepoint's line. */
function fieldsOf(message: string): Readonly<Record<string, number>> {
  const fields: Record<string, number> = {};
  for (const [, name = "", value] of message.matchAll(/(\w+)=(-?\d+)/g)) fields[name] = Number(value);
  return fields;
}

function listIn<Item>(lists: Map<number, Item[]>, key: number): Item[] {
  let list = lists.get(key);
  if (list === undefined) {
    list = [];
    lists.set(key, list);
  }
  return list;
}
