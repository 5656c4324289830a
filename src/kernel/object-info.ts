import { readFileSync } from "node:fs";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { mapGetFdById, objGetInfoByFd } from "../syscall/bpf-object.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { bpf_map_info, bpf_prog_info } from "../uapi/structs.ts";

/** What the kernel tells about a map (`struct bpf_map_info`, and `/proc/self/fdinfo`). */
export interface MapInfo {
  readonly id: number;
  /** `BPF_MAP_TYPE_*`. */
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Hash functions of a Bloom filter, address of an arena (kernel 5.16). */
  readonly extra: bigint;
  /** 0 where the map has no BTF. */
  readonly btfId: number;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  /** Whether system calls can write to it no more, see `BpfMap.freeze`; `undefined` where `/proc` does not tell (before 5.2). */
  readonly frozen: boolean | undefined;
  /** Bytes of memory that it takes, as far as the kernel knows; `undefined` where `/proc` does not tell. */
  readonly memory: number | undefined;
}

/** What the kernel tells about a program (`struct bpf_prog_info`). */
export interface ProgramInfo {
  readonly id: number;
  /** `BPF_PROG_TYPE_*`. */
  readonly type: number;
  readonly name: string;
  /** Beginning of a hash of the instructions, 16 hex digits; see `programTags`. */
  readonly tag: string;
  readonly mapIds: readonly number[];
  /** 0 where the program has no BTF. */
  readonly btfId: number;
  /** Bytes of the translated program. */
  readonly xlatedLength: number;
  /** Bytes of the compiled program; 0 where it is interpreted. */
  readonly jitedLength: number;
  /** When it was loaded, in nanoseconds of CLOCK_BOOTTIME. */
  readonly loadTime: bigint;
  readonly createdByUid: number;
  /** Instructions that the verifier walked (kernel 5.16). */
  readonly verifiedInsns: number;
  /** Total run time in nanoseconds and number of runs, counted while BPF statistics are enabled (kernel 5.1). */
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
  /** How often it was not run because it was running on that CPU (tracing programs, kernel 5.12). */
  readonly recursionMisses: bigint;
}

/** Reads the info of a map. */
export function readMapInfo(sys: Syscalls, fd: number): MapInfo {
  const bytes = new Uint8Array(bpf_map_info.size);
  objGetInfoByFd(sys, fd, bytes);
  const view = new DataView(bytes.buffer);
  const u32 = (offset: number): number => view.getUint32(offset, LITTLE_ENDIAN);
  const facts = readFdInfo(fd);
  const frozen = facts.get("frozen");
  const memory = facts.get("memlock");
  return {
    id: u32(bpf_map_info.id),
    type: u32(bpf_map_info.type),
    name: text(bytes, bpf_map_info.name, 16),
    keySize: u32(bpf_map_info.key_size),
    valueSize: u32(bpf_map_info.value_size),
    maxEntries: u32(bpf_map_info.max_entries),
    flags: u32(bpf_map_info.map_flags),
    extra: view.getBigUint64(bpf_map_info.map_extra, LITTLE_ENDIAN),
    btfId: u32(bpf_map_info.btf_id),
    btfKeyTypeId: u32(bpf_map_info.btf_key_type_id),
    btfValueTypeId: u32(bpf_map_info.btf_value_type_id),
    frozen: frozen === undefined ? undefined : frozen === "1",
    memory: memory === undefined ? undefined : Number(memory),
  };
}

/** Reads the info of the map with this id; `undefined` where there is none (any more). Needs CAP_SYS_ADMIN. */
export function readMapInfoById(sys: Syscalls, id: number): MapInfo | undefined {
  const number = mapGetFdById(sys, id);
  if (number === undefined) return undefined;
  using fd = Fd.own(sys, number, `map ${id}`);
  return readMapInfo(sys, fd.number);
}

/** Reads the info of a program. */
export function readProgramInfo(sys: Syscalls, fd: number): ProgramInfo {
  const mapIds = new Uint8Array(MAX_MAPS * 4);
  const bytes = new Uint8Array(bpf_prog_info.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(bpf_prog_info.nr_map_ids, MAX_MAPS, LITTLE_ENDIAN);
  view.setBigUint64(bpf_prog_info.map_ids, sys.addressOf(mapIds), LITTLE_ENDIAN);
  objGetInfoByFd(sys, fd, bytes, [mapIds]);
  const u32 = (offset: number): number => view.getUint32(offset, LITTLE_ENDIAN);
  const u64 = (offset: number): bigint => view.getBigUint64(offset, LITTLE_ENDIAN);
  const ids = new DataView(mapIds.buffer);
  return {
    id: u32(bpf_prog_info.id),
    type: u32(bpf_prog_info.type),
    name: text(bytes, bpf_prog_info.name, 16),
    tag: Buffer.from(bytes.subarray(bpf_prog_info.tag, bpf_prog_info.tag + 8)).toString("hex"),
    mapIds: Array.from({ length: Math.min(u32(bpf_prog_info.nr_map_ids), MAX_MAPS) }, (_, index) =>
      ids.getUint32(index * 4, LITTLE_ENDIAN),
    ),
    btfId: u32(bpf_prog_info.btf_id),
    xlatedLength: u32(bpf_prog_info.xlated_prog_len),
    jitedLength: u32(bpf_prog_info.jited_prog_len),
    loadTime: u64(bpf_prog_info.load_time),
    createdByUid: u32(bpf_prog_info.created_by_uid),
    verifiedInsns: u32(bpf_prog_info.verified_insns),
    runTimeNs: u64(bpf_prog_info.run_time_ns),
    runCount: u64(bpf_prog_info.run_cnt),
    recursionMisses: u64(bpf_prog_info.recursion_misses),
  };
}

/** A program's code as the kernel holds it: after the verifier, and after the compiler. */
export type ProgramCode = "xlated" | "jited";

/**
 * Reads a program's code: `xlated` are the instructions as the verifier rewrote them, in host byte order, with maps by id
 * and calls by address; `jited` is machine code. `undefined` where there is none, or where the kernel hides it
 * (without CAP_PERFMON, or with `net.core.bpf_jit_harden`).
 */
export function readProgramCode(sys: Syscalls, fd: number, code: ProgramCode): Uint8Array | undefined {
  const [length, address] =
    code === "xlated"
      ? [bpf_prog_info.xlated_prog_len, bpf_prog_info.xlated_prog_insns]
      : [bpf_prog_info.jited_prog_len, bpf_prog_info.jited_prog_insns];
  const first = new DataView(new ArrayBuffer(bpf_prog_info.size));
  objGetInfoByFd(sys, fd, new Uint8Array(first.buffer));
  const bytes = new Uint8Array(first.getUint32(length, LITTLE_ENDIAN));
  if (bytes.length === 0) return undefined;
  const second = new DataView(new ArrayBuffer(bpf_prog_info.size));
  second.setUint32(length, bytes.length, LITTLE_ENDIAN);
  second.setBigUint64(address, sys.addressOf(bytes), LITTLE_ENDIAN);
  objGetInfoByFd(sys, fd, new Uint8Array(second.buffer), [bytes]);
  // The kernel clears the address where it does not let the code out.
  return second.getBigUint64(address, LITTLE_ENDIAN) === 0n ? undefined : bytes;
}

// MAX_USED_MAPS of the kernel: a program cannot hold more.
const MAX_MAPS = 64;

/** What the kernel tells about a descriptor beside the system call: `name:\tvalue` lines. Empty without /proc. */
function readFdInfo(fd: number): ReadonlyMap<string, string> {
  try {
    const lines = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").split("\n");
    return new Map(lines.map((line) => line.split(":\t", 2) as [string, string]));
  } catch {
    return new Map();
  }
}

function text(bytes: Uint8Array, offset: number, length: number): string {
  const field = bytes.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}
