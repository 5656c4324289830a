/** Runs a program on everything that its case has, and tells all that can be seen of it. */
import { assemble } from "../../src/asm/assemble.ts";
import type { MapDef } from "../../src/asm/map-def.ts";
import type { Program } from "../../src/asm/program.ts";
import { decode } from "../../src/btf/layout/index.ts";
import { RingBuffer } from "../../src/kernel/events/ring-buffer.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import type { Case, Input, MapLookup } from "./cases.ts";
import { flowEvent } from "./maps.ts";

/** What a program did. */
export interface Behaviour {
  /** For each input: what it returned, and the packet and the context afterwards, as text. */
  readonly runs: readonly string[];
  /** What it returned for each input. */
  readonly verdicts: readonly number[];
  /** What the maps hold in the end: name of the map, and its entries or records, as text. */
  readonly maps: Readonly<Record<string, readonly string[]>>;
}

/** A program in the kernel, with its own maps, filled. */
export interface LoadedCase extends Disposable {
  readonly program: BpfProgram;
  readonly map: MapLookup;
}

/** Creates the maps of a program, fills them as the case says, and loads it. */
export function loadCase({ fill }: Case, program: Program): LoadedCase {
  const owned: Disposable[] = [];
  const dispose = (): void => {
    for (const object of owned.splice(0).reverse()) object[Symbol.dispose]();
  };
  try {
    const maps = assemble(program).maps.map((def) => {
      const map = BpfMap.create(def);
      owned.push(map);
      return map;
    });
    const map = ((def: MapDef) => {
      const found = maps.find((candidate) => candidate.def === def);
      if (found === undefined) throw new Error(`'${program.name}' does not use map '${def.name}'`);
      return found;
    }) as MapLookup;
    fill?.(map);
    const loaded = BpfProgram.load(program, { maps });
    owned.push(loaded);
    return { program: loaded, map, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** Loads a program and runs it on every input of its case. */
export function runCase(spec: Case, program: Program): Behaviour {
  using loaded = loadCase(spec, program);
  const results = [...spec.inputs()].map((input) => runOnce(loaded.program, input));
  const maps = assemble(program).maps.map((def) => [def.name, contentOf(loaded.map(def), spec)] as const);
  return {
    runs: results.map(({ retval, data, ctx }) => `${retval} ${hex(data)} ${hex(ctx)}`),
    verdicts: results.map(({ retval }) => retval),
    maps: Object.fromEntries(maps),
  };
}

function runOnce(program: BpfProgram, input: Input): ReturnType<BpfProgram["testRun"]> {
  return program.testRun({ ...input, room: 64 });
}

function contentOf(map: BpfMap, { unequal = [] }: Case): readonly string[] {
  switch (map.def.type) {
    case "ringbuf": {
      const records: string[] = [];
      using ring = RingBuffer.open(map as BpfMap<"ringbuf">);
      ring.drain((bytes) => records.push(textOf(decode(flowEvent, bytes), unequal)));
      return records;
    }
    case "cpumap":
    case "prog_array":
      return [...map.keys()].map(String); // programs cannot change them
    default:
      return [...map.entries()]
        .map(([key, value]) => `${textOf(key, [])}: ${textOf(sum(value), unequal)}`)
        .sort();
  }
}

/** Which core a run was on does not matter: the values of all of them together. */
function sum(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  const total: Record<string, bigint> = {};
  for (const one of value as readonly Record<string, bigint>[]) {
    for (const [field, count] of Object.entries(one)) total[field] = (total[field] ?? 0n) + count;
  }
  return total;
}

function textOf(value: unknown, unequal: readonly string[]): string {
  return JSON.stringify(value, (name, part: unknown) => {
    if (unequal.includes(name)) return undefined;
    return typeof part === "bigint" ? String(part) : part;
  });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
