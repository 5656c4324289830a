import { type MapDef, mapDef } from "../asm/map-def.ts";
import { type Layout, s32, struct, u32 } from "../btf/layout/index.ts";

/**
 * The value of a CPU map's entry (`struct bpf_cpumap_val`, kernel 5.9).
 *
 * When written, `prog` is the fd of the XDP program that runs on the target core, or 0 for none; when read, it is the
 * id of that program.
 */
export interface CpuMapValue {
  /** Packets that the queue to the core holds, 1 to 16384. */
  readonly qsize: number;
  readonly prog: number;
}

/** Layout of {@link CpuMapValue}: 8 bytes. */
export const cpuMapValue: Layout<CpuMapValue> = struct("bpf_cpumap_val", { qsize: u32, prog: s32 });

/** A CPU map whose entries may carry a second XDP program. */
export type CpuMapDef = MapDef<"cpumap", number, CpuMapValue>;

/**
 * Describes a CPU map for the CPUs 0 to `possibleCpus` - 1: key = number of the core, value = the queue to it.
 *
 * @param possibleCpus - at most the kernel's NR_CPUS, or creation fails with E2BIG.
 */
export function cpuMapDef(possibleCpus: number): CpuMapDef {
  return mapDef({ name: "cpu_map", type: "cpumap", key: u32, value: cpuMapValue, maxEntries: possibleCpus });
}
