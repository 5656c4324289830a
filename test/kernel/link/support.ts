/** Shared by the kernel tests of links: programs that count their runs in a map, and a bpffs directory of one's own. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { afterEach } from "vitest";
import {
  type AttachTypeName,
  aadd64,
  add,
  call,
  exit,
  jeq,
  lddw,
  type MapDef,
  mapDef,
  mapFd,
  mov,
  mov32,
  type Program,
  type ProgTypeName,
  program,
  r0,
  r1,
  r2,
  r10,
  stw,
} from "../../../src/asm/index.ts";
import { u32, u64 } from "../../../src/btf/layout/index.ts";
import type { AttachTo } from "../../../src/kernel/attach-target.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { bpf_map_lookup_elem } from "../../../src/uapi/helpers.ts";

/** The map of a counter: one entry, the number of runs. */
export type HitsDef = MapDef<"array", number, bigint>;

/** How a program that counts its runs is made. */
export interface CounterOptions {
  readonly attachType?: AttachTypeName;
  readonly attachTo?: AttachTo;
  /** What it returns. Default 0. */
  readonly returns?: number;
}

/** A loaded program that counts its runs. */
export interface Counter extends Disposable {
  readonly prog: BpfProgram;
  /** Runs so far. */
  readonly count: () => number;
}

/** The program as a value: adds one to the only entry of `hits`, and returns a constant. */
export function counting(
  hits: HitsDef,
  type: ProgTypeName,
  name: string,
  { attachType, returns = 0 }: CounterOptions = {},
): Program {
  return program(
    type,
    name,
    {
      entry: [
        stw([r10, -4], 0),
        mov(r2, r10),
        add(r2, -4),
        lddw(r1, mapFd(hits)),
        call(bpf_map_lookup_elem),
        jeq(r0, 0, "out"),
        mov(r1, 1),
        aadd64([r0, 0], r1),
      ],
      out: [mov32(r0, returns), exit()],
    },
    attachType === undefined ? {} : { attachType },
  );
}

/** Describes the map of a counter. */
export function hitsDef(): HitsDef {
  return mapDef({ name: "hits", type: "array", key: u32, value: u64, maxEntries: 1 });
}

/** Loads a program of any type that counts its runs. */
export function counter(
  sys: Syscalls,
  type: ProgTypeName,
  name: string,
  options: CounterOptions = {},
): Counter {
  const def = hitsDef();
  const hits = BpfMap.create(def, { sys });
  try {
    const { attachTo } = options;
    const load = { sys, maps: [hits], ...(attachTo === undefined ? {} : { attachTo }) };
    const prog = BpfProgram.load(counting(def, type, name, options), load);
    return {
      prog,
      count: () => Number(hits.get(0) ?? -1),
      [Symbol.dispose]() {
        prog.close();
        hits.close();
      },
    };
  } catch (error) {
    hits.close();
    throw error;
  }
}

let pinDirectories = 0;

/** A directory on the bpffs that goes after each test, with what is in it. Call it while the file is collected. */
export function pinDirectory(): (name: string) => string {
  const directory = `/sys/fs/bpf/tsbpf-test-link-${process.pid}-${pinDirectories++}`;
  afterEach(() => {
    for (const name of list(directory)) unlinkSync(`${directory}/${name}`);
    try {
      rmdirSync(directory);
    } catch {
      // no test pinned anything
    }
  });
  return (name) => {
    mkdirSync(directory, { recursive: true });
    return `${directory}/${name}`;
  };
}

/** What `bpftool -j link show id N` prints; `undefined` where there is no such link. */
export function bpftoolLink(id: number | undefined): Readonly<Record<string, unknown>> | undefined {
  // For some types it prints the link and still exits with an error.
  const { stdout } = spawnSync("bpftool", ["-j", "link", "show", "id", String(id)], { encoding: "utf8" });
  const printed = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  return "error" in printed ? undefined : printed;
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
