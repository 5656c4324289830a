import { BPF_F_REPLACE, bpf_attach_type } from "../uapi/bpf.ts";
import {
  bpf_attr_iter_create,
  bpf_attr_link_create,
  bpf_attr_link_create_cgroup,
  bpf_attr_link_create_kprobe_multi,
  bpf_attr_link_create_netfilter,
  bpf_attr_link_create_netkit,
  bpf_attr_link_create_perf_event,
  bpf_attr_link_create_tcx,
  bpf_attr_link_create_tracing,
  bpf_attr_link_create_uprobe_multi,
  bpf_attr_link_detach,
  bpf_attr_link_update,
} from "../uapi/bpf-attr.ts";
import { AttrError, BpfAttr, bytesOf, cString } from "./attr.ts";
import { bpf, enumName } from "./bpf.ts";
import type { Syscalls } from "./syscalls.ts";

/** Fields that every `BPF_LINK_CREATE` has. */
export interface LinkCreateBase {
  /** The program; for a struct_ops link the map instead. */
  readonly prog_fd: number;
  /** What to attach to; a cgroup, netns, perf event, program or map. Shares its place with `target_ifindex`. */
  readonly target_fd?: number | undefined;
  /** The interface to attach to (XDP 5.9+, TCX 6.6+, netkit 6.7+). */
  readonly target_ifindex?: number | undefined;
  /** `enum bpf_attach_type`. */
  readonly attach_type: number;
  readonly flags?: number | undefined;
}

/** The neighbour of a program in a list of several, for TCX, netkit and cgroup links. */
export interface LinkPosition {
  /** With `BPF_F_BEFORE` 8 or `BPF_F_AFTER` 16 in `flags`. */
  readonly relative_fd?: number | undefined;
  /** With `BPF_F_ID` 32 too. */
  readonly relative_id?: number | undefined;
  /** Fails with ESTALE if the list changed since this revision. */
  readonly expected_revision?: number | bigint | undefined;
}

/** The part of `BPF_LINK_CREATE` that depends on what is attached to; at most one of them. */
export type LinkCreateAttr = LinkCreateBase & {
  readonly tracing?: { readonly target_btf_id?: number; readonly cookie?: number | bigint } | undefined;
  readonly perf_event?: { readonly bpf_cookie: number | bigint } | undefined;
  readonly iter?: { readonly iter_info: Uint8Array } | undefined;
  readonly kprobe_multi?: KprobeMulti | undefined;
  readonly uprobe_multi?: UprobeMulti | undefined;
  readonly netfilter?:
    | { readonly pf: number; readonly hooknum: number; readonly priority: number; readonly flags?: number }
    | undefined;
  readonly tcx?: LinkPosition | undefined;
  readonly netkit?: LinkPosition | undefined;
  readonly cgroup?: LinkPosition | undefined;
};

/** Many kprobes at once (5.18+): by symbol or by address. */
export interface KprobeMulti {
  readonly syms?: readonly string[] | undefined;
  readonly addrs?: BigUint64Array | undefined;
  readonly cookies?: BigUint64Array | undefined;
  /** `BPF_F_KPROBE_MULTI_RETURN` 1. */
  readonly flags?: number | undefined;
}

/** Many uprobes of one file at once (6.6+). */
export interface UprobeMulti {
  readonly path: string;
  /** File offsets. */
  readonly offsets: BigUint64Array;
  readonly ref_ctr_offsets?: BigUint64Array | undefined;
  readonly cookies?: BigUint64Array | undefined;
  /** `BPF_F_UPROBE_MULTI_RETURN` 1. */
  readonly flags?: number | undefined;
  readonly pid?: number | undefined;
}

/**
 * Attaches a program through a link; the returned descriptor is the attachment and ends it when closed, unless the link
 * is pinned (5.7+). There is no extended error text on this path: the errno is all the kernel says.
 */
export function linkCreate(sys: Syscalls, a: LinkCreateAttr): number {
  return bpf(sys, "BPF_LINK_CREATE", linkCreateAttr(sys, a), () => ({
    prog_fd: a.prog_fd,
    target_fd: a.target_fd,
    target_ifindex: a.target_ifindex,
    attach_type: enumName(bpf_attach_type, "BPF_", a.attach_type),
    flags: a.flags,
  }));
}

/** Fields of `BPF_LINK_UPDATE`. For a struct_ops link the descriptors are of maps. */
export interface LinkUpdateAttr {
  readonly link_fd: number;
  readonly new_prog_fd: number;
  /** Replace only if this is the current program; sets `BPF_F_REPLACE`. */
  readonly old_prog_fd?: number | undefined;
}

/** Puts another program in an attachment, atomically: no packet sees neither. */
export function linkUpdate(sys: Syscalls, a: LinkUpdateAttr): void {
  const attr = new BpfAttr(sys, bpf_attr_link_update)
    .u32("link_fd", a.link_fd)
    .u32("new_prog_fd", a.new_prog_fd)
    .u32("flags", a.old_prog_fd === undefined ? 0 : BPF_F_REPLACE)
    .u32("old_prog_fd", a.old_prog_fd);
  bpf(sys, "BPF_LINK_UPDATE", attr, () => ({ ...a }));
}

/** Ends an attachment although descriptors and pins of the link remain (5.9+). */
export function linkDetach(sys: Syscalls, link_fd: number): void {
  bpf(sys, "BPF_LINK_DETACH", new BpfAttr(sys, bpf_attr_link_detach).u32("link_fd", link_fd), () => ({
    link_fd,
  }));
}

/** Opens an iterator link for reading (5.8+). */
export function iterCreate(sys: Syscalls, link_fd: number): number {
  return bpf(sys, "BPF_ITER_CREATE", new BpfAttr(sys, bpf_attr_iter_create).u32("link_fd", link_fd), () => ({
    link_fd,
  }));
}

function linkCreateAttr(sys: Syscalls, a: LinkCreateAttr): BpfAttr<typeof bpf_attr_link_create> {
  const attr = new BpfAttr(sys, bpf_attr_link_create)
    .u32("prog_fd", a.prog_fd)
    .u32("target_fd", a.target_fd)
    .u32("target_ifindex", a.target_ifindex)
    .u32("attach_type", a.attach_type)
    .u32("flags", a.flags);
  const given = VARIANTS.filter((name) => a[name] !== undefined);
  if (given.length > 1)
    throw new AttrError(`A link takes one of ${given.join(" and ")}: they share the same bytes`);
  if (a.iter) attr.ptr("iter_info", a.iter.iter_info).u32("iter_info_len", a.iter.iter_info.byteLength);
  if (a.tracing) {
    attr
      .variant(bpf_attr_link_create_tracing)
      .u32("target_btf_id", a.tracing.target_btf_id)
      .u64("cookie", a.tracing.cookie);
  }
  if (a.perf_event) attr.variant(bpf_attr_link_create_perf_event).u64("bpf_cookie", a.perf_event.bpf_cookie);
  if (a.netfilter) {
    attr
      .variant(bpf_attr_link_create_netfilter)
      .u32("pf", a.netfilter.pf)
      .u32("hooknum", a.netfilter.hooknum)
      .s32("priority", a.netfilter.priority)
      .u32("flags", a.netfilter.flags);
  }
  if (a.tcx) setPosition(attr.variant(bpf_attr_link_create_tcx), a.tcx);
  if (a.netkit) setPosition(attr.variant(bpf_attr_link_create_netkit), a.netkit);
  if (a.cgroup) setPosition(attr.variant(bpf_attr_link_create_cgroup), a.cgroup);
  if (a.kprobe_multi) setKprobeMulti(sys, attr, a.kprobe_multi);
  if (a.uprobe_multi) setUprobeMulti(attr, a.uprobe_multi);
  return attr;
}

const VARIANTS = [
  "iter",
  "tracing",
  "perf_event",
  "netfilter",
  "tcx",
  "netkit",
  "cgroup",
  "kprobe_multi",
  "uprobe_multi",
] as const;

// TCX, netkit and cgroup have the same three fields.
function setPosition(attr: BpfAttr<typeof bpf_attr_link_create_tcx>, a: LinkPosition): void {
  attr
    .u32("relative_fd", a.relative_fd)
    .u32("relative_id", a.relative_id)
    .u64("expected_revision", a.expected_revision);
}

function setKprobeMulti(sys: Syscalls, attr: BpfAttr<typeof bpf_attr_link_create>, a: KprobeMulti): void {
  if ((a.syms === undefined) === (a.addrs === undefined)) {
    throw new AttrError("kprobe_multi takes either syms or addrs");
  }
  const cnt = a.syms?.length ?? a.addrs?.length ?? 0;
  requireLength("kprobe_multi.cookies", a.cookies, cnt);
  const names = a.syms?.map((sym) => cString(sym, "kprobe_multi.syms"));
  const pointers = names && BigUint64Array.from(names, (name) => sys.addressOf(name));
  attr
    .keepAlive(names ?? [])
    .variant(bpf_attr_link_create_kprobe_multi)
    .u32("flags", a.flags)
    .u32("cnt", cnt)
    .ptr("syms", pointers && bytesOf(pointers))
    .ptr("addrs", a.addrs && bytesOf(a.addrs))
    .ptr("cookies", a.cookies && bytesOf(a.cookies));
}

function setUprobeMulti(attr: BpfAttr<typeof bpf_attr_link_create>, a: UprobeMulti): void {
  const cnt = a.offsets.length;
  requireLength("uprobe_multi.cookies", a.cookies, cnt);
  requireLength("uprobe_multi.ref_ctr_offsets", a.ref_ctr_offsets, cnt);
  attr
    .variant(bpf_attr_link_create_uprobe_multi)
    .cstr("path", a.path)
    .ptr("offsets", bytesOf(a.offsets))
    .ptr("ref_ctr_offsets", a.ref_ctr_offsets && bytesOf(a.ref_ctr_offsets))
    .ptr("cookies", a.cookies && bytesOf(a.cookies))
    .u32("cnt", cnt)
    .u32("flags", a.flags)
    .u32("pid", a.pid);
}

// The kernel reads `cnt` elements of every array it is given.
function requireLength(field: string, array: BigUint64Array | undefined, cnt: number): void {
  if (array !== undefined && array.length !== cnt) {
    throw new AttrError(`${field}: ${array.length} elements where ${cnt} are needed`);
  }
}
