import { bpf_attach_type } from "../uapi/bpf.ts";
import {
  bpf_attr_prog_attach,
  bpf_attr_prog_bind_map,
  bpf_attr_prog_load,
  bpf_attr_query,
  bpf_attr_raw_tracepoint,
  bpf_attr_test,
} from "../uapi/bpf-attr.ts";
import { EAGAIN, ENOSPC } from "../uapi/errno.ts";
import { AttrError, BpfAttr, bytesOf } from "./attr.ts";
import { bpf, bpfRaw, enumName } from "./bpf.ts";
import { type SyscallArgs, SyscallError } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/** Fields of `BPF_PROG_LOAD`, as the kernel names them; counts and lengths follow from the buffers. */
export interface ProgLoadAttr {
  readonly prog_type: number;
  /** The instructions, 8 bytes each, in host byte order. */
  readonly insns: Uint8Array;
  /** `"GPL"` and its kin open the GPL-only helpers. */
  readonly license: string;
  /** At most 15 letters, digits, `_` or `.`. */
  readonly prog_name?: string | undefined;
  readonly expected_attach_type?: number | undefined;
  readonly prog_flags?: number | undefined;
  readonly prog_ifindex?: number | undefined;
  /** `KERNEL_VERSION(a, b, c)`; kernels before 5.0 compare it for kprobe programs. */
  readonly kern_version?: number | undefined;
  /** The BTF type (a kernel function or hook) that a tracing program attaches to. */
  readonly attach_btf_id?: number | undefined;
  /** The program that an extension or a tracing program attaches to. Shares its place with `attach_btf_obj_fd`. */
  readonly attach_prog_fd?: number | undefined;
  /** The module BTF that `attach_btf_id` belongs to; absent for vmlinux. */
  readonly attach_btf_obj_fd?: number | undefined;
  /** The program's own BTF, which `func_info` and `line_info` refer to. */
  readonly prog_btf_fd?: number | undefined;
  readonly func_info?: ProgRecords | undefined;
  readonly line_info?: ProgRecords | undefined;
  readonly core_relos?: ProgRecords | undefined;
  /** Descriptors for `BPF_PSEUDO_MAP_IDX` and kfuncs of modules (5.14+). */
  readonly fd_array?: Int32Array | undefined;
  /** Has the kernel check and hold everything in `fd_array` (6.14+). */
  readonly fd_array_cnt?: number | undefined;
  /** 0 none, 1 basic, 2 verbose; 4 adds statistics; 8 (`BPF_LOG_FIXED`) keeps the beginning, not the end (6.4+). */
  readonly log_level?: number | undefined;
  /** Where the verifier writes its log, NUL-terminated. */
  readonly log_buf?: Uint8Array | undefined;
  /** Needs `BPF_F_TOKEN_FD` (6.9+). */
  readonly prog_token_fd?: number | undefined;
}

/** An array of fixed-size records, such as `struct bpf_line_info`. */
export interface ProgRecords {
  readonly bytes: Uint8Array;
  /** Bytes of one record. */
  readonly rec_size: number;
}

/** The kernel's answer to a load that writes a log. */
export interface LoadResult {
  /** The new descriptor, or `-errno`. */
  readonly result: number;
  /** How many bytes the log needs, its NUL included; `undefined` before 6.4, or when no log was asked for. */
  readonly log_true_size: number | undefined;
}

/**
 * Loads a program. Does not throw when the kernel refuses it: the caller has the log in `log_buf`, and makes the error.
 *
 * ENOSPC means that the log did not fit, whatever the verdict was. EAGAIN (a signal came in) is tried again.
 *
 * @throws {@link AttrError} for values that do not fit.
 */
export function progLoad(sys: Syscalls, a: ProgLoadAttr): LoadResult {
  if (a.insns.byteLength % 8 !== 0) {
    throw new AttrError(`insns: ${a.insns.byteLength} bytes is not a whole number of 8-byte instructions`);
  }
  if (a.attach_prog_fd !== undefined && a.attach_btf_obj_fd !== undefined) {
    throw new AttrError("attach_prog_fd and attach_btf_obj_fd are one field; give one of them");
  }
  const attr = new BpfAttr(sys, bpf_attr_prog_load)
    .u32("prog_type", a.prog_type)
    .u32("insn_cnt", a.insns.byteLength / 8)
    .ptr("insns", a.insns)
    .cstr("license", a.license)
    .u32("log_level", a.log_level)
    .u32("log_size", a.log_buf?.byteLength)
    .ptr("log_buf", a.log_buf)
    .u32("kern_version", a.kern_version)
    .u32("prog_flags", a.prog_flags)
    .name("prog_name", a.prog_name)
    .u32("prog_ifindex", a.prog_ifindex)
    .u32("expected_attach_type", a.expected_attach_type)
    .u32("prog_btf_fd", a.prog_btf_fd)
    .u32("func_info_rec_size", a.func_info?.rec_size)
    .ptr("func_info", a.func_info?.bytes)
    .u32("func_info_cnt", recordCount("func_info", a.func_info))
    .u32("line_info_rec_size", a.line_info?.rec_size)
    .ptr("line_info", a.line_info?.bytes)
    .u32("line_info_cnt", recordCount("line_info", a.line_info))
    .u32("attach_btf_id", a.attach_btf_id)
    .u32("attach_prog_fd", a.attach_prog_fd)
    .u32("attach_btf_obj_fd", a.attach_btf_obj_fd)
    .u32("core_relo_cnt", recordCount("core_relos", a.core_relos))
    .ptr("fd_array", a.fd_array && bytesOf(a.fd_array))
    .ptr("core_relos", a.core_relos?.bytes)
    .u32("core_relo_rec_size", a.core_relos?.rec_size)
    .s32("prog_token_fd", a.prog_token_fd)
    .u32("fd_array_cnt", a.fd_array_cnt);
  let result = bpfRaw(sys, "BPF_PROG_LOAD", attr);
  for (let retry = 0; result === -EAGAIN && retry < MAX_LOAD_RETRIES; retry++) {
    result = bpfRaw(sys, "BPF_PROG_LOAD", attr);
  }
  return { result, log_true_size: attr.getU32("log_true_size") || undefined };
}

/** What the attach and query commands act on: an interface, or something that has a descriptor (a cgroup, a netns). */
export type AttachTarget =
  | { readonly target_fd: number; readonly target_ifindex?: undefined }
  | { readonly target_ifindex: number; readonly target_fd?: undefined };

/** Fields of `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`. */
export type ProgAttachAttr = AttachTarget & {
  /** The program; for a detach where the hook takes several, which one. */
  readonly attach_bpf_fd?: number | undefined;
  readonly attach_type: number;
  /** `BPF_F_REPLACE` 4, `BPF_F_BEFORE` 8, `BPF_F_AFTER` 16, `BPF_F_ID` 32, ... */
  readonly attach_flags?: number | undefined;
  /** With `BPF_F_REPLACE`: the program to replace. */
  readonly replace_bpf_fd?: number | undefined;
  /** With `BPF_F_BEFORE` / `BPF_F_AFTER`: the neighbour, by descriptor or (with `BPF_F_ID`) by id (6.6+). */
  readonly relative_fd?: number | undefined;
  readonly relative_id?: number | undefined;
  /** Fails with ESTALE if the list changed since this revision (6.6+). */
  readonly expected_revision?: number | bigint | undefined;
};

/** Attaches a program that outlives this process (cgroup, TCX, netkit, sockmap, flow dissector, ...). */
export function progAttach(sys: Syscalls, a: ProgAttachAttr): void {
  bpf(sys, "BPF_PROG_ATTACH", attachAttr(sys, a), () => attachArgs(a));
}

/** Undoes {@link progAttach}. @throws `SyscallError` ENOENT if it was not attached. */
export function progDetach(sys: Syscalls, a: ProgAttachAttr): void {
  bpf(sys, "BPF_PROG_DETACH", attachAttr(sys, a), () => attachArgs(a));
}

/** Fields of `BPF_PROG_QUERY`. */
export type ProgQueryAttr = AttachTarget & {
  readonly attach_type: number;
  /** `BPF_F_QUERY_EFFECTIVE` 1 for cgroups. */
  readonly query_flags?: number | undefined;
  /** Ask for link ids and per-program flags too, which TCX and netkit know (6.6+). */
  readonly with_links?: boolean | undefined;
};

/** The programs of one hook, in the order they run. */
export interface ProgQueryResult {
  readonly progs: readonly AttachedProg[];
  /** Flags of the hook as a whole. */
  readonly attach_flags: number;
  /** Changes with every change of the list; for `expected_revision` (TCX and netkit, 6.6+). */
  readonly revision: bigint;
}

/** One attached program. */
export interface AttachedProg {
  readonly prog_id: number;
  /** The link that holds it; 0 for a program attached without one. Known only with `with_links`. */
  readonly link_id: number | undefined;
}

/** Lists what is attached to a hook. */
export function progQuery(sys: Syscalls, a: ProgQueryAttr): ProgQueryResult {
  const args = (): SyscallArgs => ({
    target_fd: a.target_fd,
    target_ifindex: a.target_ifindex,
    attach_type: enumName(bpf_attach_type, "BPF_", a.attach_type),
  });
  let capacity = 16;
  for (let attempt = 0; ; attempt++) {
    const ids = new Uint32Array(capacity);
    const links = a.with_links === true ? new Uint32Array(capacity) : undefined;
    const attr = new BpfAttr(sys, bpf_attr_query)
      .u32("target_fd", a.target_fd)
      .u32("target_ifindex", a.target_ifindex)
      .u32("attach_type", a.attach_type)
      .u32("query_flags", a.query_flags)
      .ptr("prog_ids", bytesOf(ids))
      .u32("count", capacity)
      .ptr("link_ids", links && bytesOf(links));
    const result = bpfRaw(sys, "BPF_PROG_QUERY", attr);
    const count = attr.getU32("count");
    // The list may grow between two calls, so the size that the kernel asks for is not the last word.
    if (result === -ENOSPC && attempt < MAX_QUERY_RETRIES) {
      capacity = Math.max(count, capacity) * 2;
      continue;
    }
    if (result < 0) throw new SyscallError("bpf(BPF_PROG_QUERY)", -result, args());
    return {
      progs: Array.from(ids.subarray(0, count), (prog_id, i) => ({ prog_id, link_id: links?.[i] })),
      attach_flags: attr.getU32("attach_flags"),
      revision: attr.getU64("revision"),
    };
  }
}

/** Fields of `BPF_PROG_TEST_RUN`. */
export interface ProgTestRunAttr {
  readonly prog_fd: number;
  /** The packet, from its Ethernet header (XDP, TC). */
  readonly data_in?: Uint8Array | undefined;
  /** Where the kernel copies the packet afterwards. */
  readonly data_out?: Uint8Array | undefined;
  readonly ctx_in?: Uint8Array | undefined;
  readonly ctx_out?: Uint8Array | undefined;
  /** How often to run it; 0 is 1. */
  readonly repeat?: number | undefined;
  /** `BPF_F_TEST_RUN_ON_CPU` 1, `BPF_F_TEST_XDP_LIVE_FRAMES` 2 (5.18+). */
  readonly flags?: number | undefined;
  /** With `BPF_F_TEST_RUN_ON_CPU` (raw tracepoints only). */
  readonly cpu?: number | undefined;
  /** Live frames: packets per batch; 0 is 64. */
  readonly batch_size?: number | undefined;
}

/** What a test run gave. */
export interface ProgTestRunResult {
  /** The program's return value, of the last run. */
  readonly retval: number;
  /** Nanoseconds per run, on average. */
  readonly duration: number;
  /** The filled part of `data_out`. */
  readonly data_out: Uint8Array;
  /** The filled part of `ctx_out`. */
  readonly ctx_out: Uint8Array;
}

/**
 * Runs a program on the given packet and context, in the kernel, without any interface.
 *
 * @throws `SyscallError`: ENOSPC when `data_out` or `ctx_out` is too small, EINTR when a signal stops a long run,
 * ENOTSUPP (524) for program types without test runs.
 */
export function progTestRun(sys: Syscalls, a: ProgTestRunAttr): ProgTestRunResult {
  const attr = new BpfAttr(sys, bpf_attr_test)
    .u32("prog_fd", a.prog_fd)
    .u32("data_size_in", a.data_in?.byteLength)
    .u32("data_size_out", a.data_out?.byteLength)
    .ptr("data_in", a.data_in)
    .ptr("data_out", a.data_out)
    .u32("repeat", a.repeat)
    .u32("ctx_size_in", a.ctx_in?.byteLength)
    .u32("ctx_size_out", a.ctx_out?.byteLength)
    .ptr("ctx_in", a.ctx_in)
    .ptr("ctx_out", a.ctx_out)
    .u32("flags", a.flags)
    .u32("cpu", a.cpu)
    .u32("batch_size", a.batch_size);
  bpf(sys, "BPF_PROG_TEST_RUN", attr, () => ({
    prog_fd: a.prog_fd,
    data_size_in: a.data_in?.byteLength,
    data_size_out: a.data_out && `${a.data_out.byteLength} (needs ${attr.getU32("data_size_out")})`,
    ctx_size_in: a.ctx_in?.byteLength,
    repeat: a.repeat,
    flags: a.flags,
    batch_size: a.batch_size,
  }));
  return {
    retval: attr.getU32("retval"),
    duration: attr.getU32("duration"),
    data_out: (a.data_out ?? EMPTY).subarray(0, attr.getU32("data_size_out")),
    ctx_out: (a.ctx_out ?? EMPTY).subarray(0, attr.getU32("ctx_size_out")),
  };
}

/** Fields of `BPF_RAW_TRACEPOINT_OPEN`. */
export interface RawTracepointOpenAttr {
  /** The tracepoint (`"sched_switch"`); absent for `tp_btf`, fentry and LSM programs, which know theirs. */
  readonly name?: string | undefined;
  readonly prog_fd: number;
  /** What `bpf_get_attach_cookie()` returns (6.10+). */
  readonly cookie?: number | bigint | undefined;
}

/** Attaches a raw tracepoint, tracing or LSM program; the returned descriptor is the attachment. */
export function rawTracepointOpen(sys: Syscalls, a: RawTracepointOpenAttr): number {
  const attr = new BpfAttr(sys, bpf_attr_raw_tracepoint)
    .cstr("name", a.name)
    .u32("prog_fd", a.prog_fd)
    .u64("cookie", a.cookie);
  return bpf(sys, "BPF_RAW_TRACEPOINT_OPEN", attr, () => ({ name: a.name, prog_fd: a.prog_fd }));
}

/** Makes the program hold a reference to a map it does not use itself (5.10+). */
export function progBindMap(sys: Syscalls, a: { prog_fd: number; map_fd: number; flags?: number }): void {
  const attr = new BpfAttr(sys, bpf_attr_prog_bind_map)
    .u32("prog_fd", a.prog_fd)
    .u32("map_fd", a.map_fd)
    .u32("flags", a.flags);
  bpf(sys, "BPF_PROG_BIND_MAP", attr, () => ({ prog_fd: a.prog_fd, map_fd: a.map_fd }));
}

// As libbpf does: the verifier gives up with EAGAIN when a signal is pending.
const MAX_LOAD_RETRIES = 5;
const MAX_QUERY_RETRIES = 8;
const EMPTY = new Uint8Array(0);

function attachAttr(sys: Syscalls, a: ProgAttachAttr): BpfAttr<typeof bpf_attr_prog_attach> {
  return new BpfAttr(sys, bpf_attr_prog_attach)
    .u32("target_fd", a.target_fd)
    .u32("target_ifindex", a.target_ifindex)
    .u32("attach_bpf_fd", a.attach_bpf_fd)
    .u32("attach_type", a.attach_type)
    .u32("attach_flags", a.attach_flags)
    .u32("replace_bpf_fd", a.replace_bpf_fd)
    .u32("relative_fd", a.relative_fd)
    .u32("relative_id", a.relative_id)
    .u64("expected_revision", a.expected_revision);
}

function attachArgs(a: ProgAttachAttr): SyscallArgs {
  const { target_fd, target_ifindex, attach_bpf_fd, attach_flags } = a;
  const attach_type = enumName(bpf_attach_type, "BPF_", a.attach_type);
  return { target_fd, target_ifindex, attach_bpf_fd, attach_type, attach_flags };
}

function recordCount(field: string, records: ProgRecords | undefined): number | undefined {
  if (records === undefined) return undefined;
  const count = records.bytes.byteLength / records.rec_size;
  if (!Number.isInteger(count)) {
    throw new AttrError(
      `${field}: ${records.bytes.byteLength} bytes is not a whole number of ${records.rec_size}`,
    );
  }
  return count;
}
