import { existsSync } from "node:fs";
import { readCpus } from "../../kernel/cpus.ts";
import { BpfMap } from "../../kernel/map.ts";
import { readMapInfoById } from "../../kernel/object-info.ts";
import type { XdpMode } from "../../kernel/xdp.ts";
import { cpuMapDef } from "../../programs/cpu-map.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_MAP_TYPE_CPUMAP } from "../../uapi/bpf.ts";
import type { Context } from "../context.ts";
import { isNamespaceLocked } from "../lock.ts";
import {
  type CpuMapThread,
  type CpuMapThreads,
  findCpuMapThread,
  readCpuMapThreads,
} from "./cpu-map-threads.ts";
import { listPins, pinDirectory, pinRoot } from "./pins.ts";
import { findSessions, type ProgramFacts, type Session, type SessionFacts } from "./session.ts";
import { findStalePins, type StalePins } from "./stale.ts";

/** What is up in a network namespace. */
export interface Status {
  /** Inode of the network namespace. */
  readonly netns: number;
  readonly interfaces: readonly InterfaceStatus[];
  /** Pins that nothing uses any more; `down --all` removes them. */
  readonly stalePins: readonly StalePins[];
}

/** What is up on an interface. */
export interface InterfaceStatus {
  readonly interface: string;
  readonly ifindex: number;
  /** `undefined` where somebody has taken the XDP program off. */
  readonly xdp: (ProgramFacts & { readonly mode: XdpMode }) | undefined;
  readonly tcBackend: SessionFacts["tcBackend"];
  readonly tc: readonly TcStatus[];
  readonly cpuMap: CpuMapStatus | undefined;
  /** Directory of the pins; `undefined` where none are in sight. */
  readonly pins: string | undefined;
}

/** A TC program of ours. */
export interface TcStatus extends ProgramFacts {
  readonly hook: "ingress" | "egress";
  readonly ifindex: number;
  readonly list: "tcx" | "clsact";
}

/** The CPU map, its entries and the kernel threads behind them. */
export interface CpuMapStatus {
  readonly id: number;
  readonly entries: readonly CpuMapEntry[];
}

/** An entry of the CPU map. */
export interface CpuMapEntry {
  readonly cpu: number;
  readonly qsize: number;
  /** Id of the XDP program that runs on the core; 0 for none. */
  readonly progId: number;
  /** The kernel thread that takes packets from the queue; `undefined` where it cannot be told from others. */
  readonly thread: CpuMapThread | undefined;
}

/** Looks what is up in the network namespace. */
export function readStatus({ sys, route, netns }: Context, bpffs: string | undefined): Status {
  // What an `up` is about to pin is attached to nothing yet, and not left over for that.
  const changing = isNamespaceLocked(sys);
  const sessions = findSessions(sys, route);
  const root = pinRoot(bpffs);
  const threads = readCpuMapThreads();
  const inUse = new Set(sessions.map((session) => session.facts.ifindex));
  return {
    netns,
    interfaces: sessions.map((session) => interfaceStatus(sys, session, threads, root, netns)),
    stalePins:
      root === undefined
        ? []
        : findStalePins(
            listPins(root).filter((pins) => !(changing && pins.netns === netns)),
            { netns, inUse },
          ),
  };
}

function interfaceStatus(
  sys: Syscalls,
  { facts, device, xdp, tc }: Session,
  threads: CpuMapThreads,
  root: string | undefined,
  netns: number,
): InterfaceStatus {
  const pins = root === undefined ? undefined : pinDirectory(root, netns, facts.ifindex);
  return {
    interface: device?.name ?? facts.interface,
    ifindex: facts.ifindex,
    xdp: xdp && { ...xdp.program, mode: xdp.mode },
    tcBackend: facts.tcBackend,
    tc: tc.map(({ program, hook, ifindex, list }) => ({ ...program, hook, ifindex, list })),
    cpuMap: xdp && readCpuMap(sys, xdp.program.mapIds, threads),
    pins: pins !== undefined && existsSync(pins) ? pins : undefined,
  };
}

/** Reads the CPU map among the maps of the XDP program. */
function readCpuMap(
  sys: Syscalls,
  mapIds: readonly number[],
  threads: CpuMapThreads,
): CpuMapStatus | undefined {
  const def = cpuMapDef(readCpus().possible.length);
  for (const id of mapIds) {
    if (readMapInfoById(sys, id)?.type !== BPF_MAP_TYPE_CPUMAP) continue;
    using map = BpfMap.fromId(def, id, { sys });
    if (map === undefined) continue;
    const entries = readCpus().possible.flatMap((cpu): CpuMapEntry[] => {
      const value = map.get(cpu);
      if (value === undefined) return [];
      return [
        {
          cpu,
          qsize: value.qsize,
          progId: value.prog,
          thread: findCpuMapThread(threads, cpu, id),
        },
      ];
    });
    return { id, entries };
  }
  return undefined;
}
