import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { KernelOptions } from "../map.ts";
import { vmlinuxBtf } from "../vmlinux.ts";
import { describePlace } from "./describe.ts";
import type { ClsactInfo, LinkInfo } from "./info.ts";
import { listLinks } from "./open.ts";
import { createProgramNames, type ProgramSummary } from "./program-names.ts";
import { type CgroupNames, walkCgroups } from "./walk-cgroups.ts";
import { type NetnsName, walkNetns } from "./walk-netns.ts";
import { walkProcesses } from "./walk-processes.ts";

/** A program that is attached somewhere, with or without a link. */
export interface Attached {
  /** Where, for people: `eth0 tcx_ingress`, `/sys/fs/cgroup/web cgroup_inet4_connect`, `tracepoint sched_switch`. */
  readonly where: string;
  /** What the kernel tells; `id` is that of the link. */
  readonly info: LinkInfo | ClsactInfo;
  /** `undefined` for a struct of operations, which has several. */
  readonly program: ProgramSummary | undefined;
  /** The interface's name, where it is known. */
  readonly device?: string;
  /** The network namespace of the interface, or that it is attached to, where it is known. */
  readonly netns?: NetnsName;
  /** The cgroup's directory, where it is known. */
  readonly cgroup?: string;
  /** The kernel's function, of a tracing link. */
  readonly functionName?: string;
  /** The process that holds the perf event, where there is no link. */
  readonly pid?: number;
}

/** Options of {@link listAttachments}. */
export interface ListAttachmentsOptions extends KernelOptions {
  /**
   * Whose interfaces to look at for what is attached without a link: those of the calling thread's network namespace
   * (default), or of every one that can be found. Links are listed from everywhere in any case.
   */
  readonly netns?: "current" | "all";
}

/**
 * Lists what is attached where: every link, and what is attached without one to interfaces (XDP, TCX, netkit, clsact), cgroups
 * and perf events. (What a socket option or a socket map holds, the kernel does not tell; links of those are listed.) Needs
 * CAP_SYS_ADMIN, and CAP_NET_ADMIN.
 *
 * @example
 * ```ts
 * for (const { where, program, info } of listAttachments()) {
 *   console.log(where, program?.name, info.id === undefined ? "" : `link ${info.id}`);
 * }
 * ```
 */
export function listAttachments(options: ListAttachmentsOptions = {}): readonly Attached[] {
  const { sys = linuxSyscalls(), netns = "current" } = options;
  const names = createProgramNames(sys);
  const links = new Map(listLinks({ sys }).map((info) => [info.id, info]));
  const found: Omit<Attached, "where" | "program">[] = [];
  /** Lists an attachment once: as its link, where it has one. */
  const add = (one: Omit<Attached, "where" | "program">): void => {
    links.delete(one.info.id);
    found.push(one);
  };
  for (const one of walkNetns(sys, netns, links)) add(one);
  const cgroups: CgroupNames = new Map();
  for (const one of walkCgroups(sys, links, cgroups)) add(one);
  for (const one of walkProcesses(sys, [...links.values()])) add(one);
  for (const info of links.values()) found.push({ info, ...namesOf(info, cgroups) });
  return found.map((one) => ({
    ...one,
    where: describePlace(one),
    program: one.info.progId === undefined ? undefined : names(one.info.progId),
  }));
}

function namesOf(info: LinkInfo, cgroups: CgroupNames): Pick<Attached, "cgroup" | "functionName"> {
  if (info.kind === "cgroup") {
    const cgroup = cgroups.get(info.cgroupId ?? 0n);
    return cgroup === undefined ? {} : { cgroup };
  }
  const inKernel = info.kind === "tracing" && info.targetObjectId === VMLINUX_BTF && info.targetBtfId !== 0;
  return inKernel ? { functionName: vmlinuxBtf().name(info.targetBtfId) } : {};
}

/** The kernel makes the BTF object of its own types first, and counts from 1. */
const VMLINUX_BTF = 1;
