import {
  bpf_attr_btf_load,
  bpf_attr_enable_stats,
  bpf_attr_get_id,
  bpf_attr_info,
  bpf_attr_obj,
  bpf_attr_task_fd_query,
} from "../uapi/bpf-attr.ts";
import { BpfAttr } from "./attr.ts";
import { type BpfCmd, bpf, bpfOrNone, bpfRaw } from "./bpf.ts";
import type { LoadResult } from "./bpf-prog.ts";
import type { Syscalls } from "./syscalls.ts";

/** Fields of `BPF_OBJ_PIN`. */
export interface ObjPinAttr {
  /** A new file on a bpffs. */
  readonly pathname: string;
  /** The map, program or link to pin. */
  readonly bpf_fd: number;
  /** With `BPF_F_PATH_FD` in `file_flags`: the directory `pathname` starts from (6.5+). */
  readonly path_fd?: number | undefined;
  readonly file_flags?: number | undefined;
}

/** Gives an object a name on a bpffs, which keeps it alive. @throws `SyscallError`: EEXIST, EPERM (not a bpffs), ENOENT. */
export function objPin(sys: Syscalls, a: ObjPinAttr): void {
  const attr = new BpfAttr(sys, bpf_attr_obj)
    .cstr("pathname", a.pathname)
    .u32("bpf_fd", a.bpf_fd)
    .u32("file_flags", a.file_flags)
    .s32("path_fd", a.path_fd);
  bpf(sys, "BPF_OBJ_PIN", attr, () => ({ pathname: a.pathname }));
}

/** Fields of `BPF_OBJ_GET`. */
export interface ObjGetAttr {
  readonly pathname: string;
  /** `BPF_F_RDONLY` 8, `BPF_F_WRONLY` 16, `BPF_F_PATH_FD` 16384. */
  readonly file_flags?: number | undefined;
  readonly path_fd?: number | undefined;
}

/** Opens a pinned object. @throws `SyscallError`: ENOENT, EACCES (not a pinned object, or mode bits), EPERM. */
export function objGet(sys: Syscalls, a: ObjGetAttr): number {
  const attr = new BpfAttr(sys, bpf_attr_obj)
    .cstr("pathname", a.pathname)
    .u32("file_flags", a.file_flags)
    .s32("path_fd", a.path_fd);
  return bpf(sys, "BPF_OBJ_GET", attr, () => ({ pathname: a.pathname }));
}

/** The smallest program id above `id` (start with 0), or `undefined` after the last. Needs CAP_SYS_ADMIN. */
export function progGetNextId(sys: Syscalls, id: number): number | undefined {
  return nextId(sys, "BPF_PROG_GET_NEXT_ID", id);
}

/** As {@link progGetNextId}, for maps. */
export function mapGetNextId(sys: Syscalls, id: number): number | undefined {
  return nextId(sys, "BPF_MAP_GET_NEXT_ID", id);
}

/** As {@link progGetNextId}, for BTF objects (5.4+). */
export function btfGetNextId(sys: Syscalls, id: number): number | undefined {
  return nextId(sys, "BPF_BTF_GET_NEXT_ID", id);
}

/** As {@link progGetNextId}, for links (5.8+). */
export function linkGetNextId(sys: Syscalls, id: number): number | undefined {
  return nextId(sys, "BPF_LINK_GET_NEXT_ID", id);
}

/** Opens a program by id; `undefined` if it is gone. Needs CAP_SYS_ADMIN. */
export function progGetFdById(sys: Syscalls, id: number): number | undefined {
  return fdById(sys, "BPF_PROG_GET_FD_BY_ID", id);
}

/** As {@link progGetFdById}, for maps; `open_flags`: `BPF_F_RDONLY` 8, `BPF_F_WRONLY` 16. */
export function mapGetFdById(sys: Syscalls, id: number, open_flags?: number): number | undefined {
  return fdById(sys, "BPF_MAP_GET_FD_BY_ID", id, open_flags);
}

/** As {@link progGetFdById}, for BTF objects. */
export function btfGetFdById(sys: Syscalls, id: number): number | undefined {
  return fdById(sys, "BPF_BTF_GET_FD_BY_ID", id);
}

/** As {@link progGetFdById}, for links (5.8+). */
export function linkGetFdById(sys: Syscalls, id: number): number | undefined {
  return fdById(sys, "BPF_LINK_GET_FD_BY_ID", id);
}

/**
 * Fills `info` (a `struct bpf_prog_info`, `bpf_map_info`, `bpf_btf_info` or `bpf_link_info`) and returns how many bytes
 * of it the kernel knows. Its pointer fields are requests: addresses and counts the caller has put in, and whose
 * buffers it must keep reachable (pass them as `keepAlive`).
 */
export function objGetInfoByFd(
  sys: Syscalls,
  bpf_fd: number,
  info: Uint8Array,
  keepAlive: readonly Uint8Array[] = [],
): number {
  const attr = new BpfAttr(sys, bpf_attr_info)
    .u32("bpf_fd", bpf_fd)
    .u32("info_len", info.byteLength)
    .ptr("info", info)
    .keepAlive(keepAlive);
  bpf(sys, "BPF_OBJ_GET_INFO_BY_FD", attr, () => ({ bpf_fd }));
  return Math.min(attr.getU32("info_len"), info.byteLength);
}

/** Fields of `BPF_BTF_LOAD`. */
export interface BtfLoadAttr {
  /** The encoded BTF, header included, in host byte order. */
  readonly btf: Uint8Array;
  readonly log_level?: number | undefined;
  readonly log_buf?: Uint8Array | undefined;
  readonly btf_flags?: number | undefined;
  readonly btf_token_fd?: number | undefined;
}

/** Loads BTF. As `progLoad`, it reports a refusal as a result, because the log says why. */
export function btfLoad(sys: Syscalls, a: BtfLoadAttr): LoadResult {
  const attr = new BpfAttr(sys, bpf_attr_btf_load)
    .ptr("btf", a.btf)
    .ptr("btf_log_buf", a.log_buf)
    .u32("btf_size", a.btf.byteLength)
    .u32("btf_log_size", a.log_buf?.byteLength)
    .u32("btf_log_level", a.log_level)
    .u32("btf_flags", a.btf_flags)
    .s32("btf_token_fd", a.btf_token_fd);
  const result = bpfRaw(sys, "BPF_BTF_LOAD", attr);
  return { result, log_true_size: attr.getU32("btf_log_true_size") || undefined };
}

/** What a perf-event or tracepoint descriptor of a process is attached to. */
export interface TaskFdQueryResult {
  readonly prog_id: number;
  /** `enum bpf_task_fd_type`: raw tracepoint 0, tracepoint 1, kprobe 2, kretprobe 3, uprobe 4, uretprobe 5. */
  readonly fd_type: number;
  /** The tracepoint, symbol or file name. */
  readonly name: string;
  readonly probe_offset: bigint;
  readonly probe_addr: bigint;
}

/** Asks what descriptor `fd` of process `pid` traces (4.18+). Needs CAP_SYS_ADMIN. */
export function taskFdQuery(sys: Syscalls, pid: number, fd: number): TaskFdQueryResult {
  // A symbol name is at most KSYM_NAME_LEN (512) bytes, a path PATH_MAX.
  const name = new Uint8Array(4096);
  const attr = new BpfAttr(sys, bpf_attr_task_fd_query)
    .u32("pid", pid)
    .u32("fd", fd)
    .u32("buf_len", name.byteLength)
    .ptr("buf", name);
  bpf(sys, "BPF_TASK_FD_QUERY", attr, () => ({ pid, fd }));
  return {
    prog_id: attr.getU32("prog_id"),
    fd_type: attr.getU32("fd_type"),
    name: new TextDecoder().decode(name.subarray(0, attr.getU32("buf_len"))),
    probe_offset: attr.getU64("probe_offset"),
    probe_addr: attr.getU64("probe_addr"),
  };
}

/** Has the kernel measure run time and run count while the returned descriptor is open (5.8+). `type` 0 is run time. */
export function enableStats(sys: Syscalls, type = 0): number {
  return bpf(sys, "BPF_ENABLE_STATS", new BpfAttr(sys, bpf_attr_enable_stats).u32("type", type), () => ({
    type,
  }));
}

function nextId(sys: Syscalls, cmd: BpfCmd, id: number): number | undefined {
  const attr = new BpfAttr(sys, bpf_attr_get_id).u32("start_id", id);
  return bpfOrNone(sys, cmd, attr, () => ({ start_id: id })) === undefined
    ? undefined
    : attr.getU32("next_id");
}

function fdById(sys: Syscalls, cmd: BpfCmd, id: number, open_flags?: number): number | undefined {
  const attr = new BpfAttr(sys, bpf_attr_get_id).u32("start_id", id).u32("open_flags", open_flags);
  return bpfOrNone(sys, cmd, attr, () => ({ id, open_flags }));
}
