import type { AttachTypeName } from "../../asm/program.ts";
import { type ProgQueryAttr, type ProgQueryResult, progQuery } from "../../syscall/bpf-prog.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import { type NetnsRef, openCurrentNetns, openNetns } from "../../syscall/netns.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_F_QUERY_EFFECTIVE } from "../../uapi/bpf.ts";
import { findDeviceHere } from "../device.ts";
import type { KernelOptions } from "../map.ts";
import { type CgroupAttachType, openCgroup } from "./cgroup.ts";
import { attachTypeNumber } from "./names.ts";
import { createProgramNames, type ProgramSummary } from "./program-names.ts";

/** A hook that keeps a list of programs. */
export type Hook =
  | {
      readonly device: string | number;
      readonly hook: Extract<AttachTypeName, `tcx_${string}` | `netkit_${string}`>;
    }
  | {
      readonly cgroup: string;
      readonly hook: CgroupAttachType;
      /** Those that run for the cgroup, with what it takes over from above, instead of those attached to it. */
      readonly effective?: boolean;
    }
  /** Default the network namespace of the calling thread. */
  | { readonly netns?: NetnsRef; readonly hook: "sk_lookup" | "flow_dissector" };

/** The programs of a hook, in the order they run. */
export interface HookPrograms {
  readonly programs: readonly (ProgramSummary & {
    /** The link that holds it; `undefined` without one, and where the kernel does not tell (cgroups, namespaces). */
    readonly linkId: number | undefined;
  })[];
  /** Changes with every change of the list: the `revision` of a position. 0 where the hook has none. */
  readonly revision: bigint;
}

/**
 * Lists the programs of a hook, with and without links.
 *
 * @throws SyscallError EINVAL where the kernel does not know the hook.
 * @example
 * ```ts
 * const { revision } = queryHook({ device: "eth0", hook: "tcx_ingress" });
 * using link = attachTcxLink(prog, "eth0", { hook: "ingress", before: "all", revision });
 * ```
 */
export function queryHook(hook: Hook, options: KernelOptions = {}): HookPrograms {
  const { sys = linuxSyscalls() } = options;
  const { progs, revision } = query(sys, hook);
  const names = createProgramNames(sys);
  const programs = progs.map(({ prog_id, link_id }) => ({
    ...names(prog_id),
    linkId: link_id === 0 ? undefined : link_id,
  }));
  return { programs, revision };
}

function query(sys: Syscalls, hook: Hook): ProgQueryResult {
  const attach_type = attachTypeNumber(hook.hook);
  const run = (attr: ProgQueryAttr): ProgQueryResult => progQuery(sys, attr);
  if ("device" in hook) {
    const target_ifindex = findDeviceHere(sys, hook.device).index;
    return run({ target_ifindex, attach_type, with_links: true });
  }
  if ("cgroup" in hook) {
    using cgroup = openCgroup(sys, hook.cgroup);
    const query_flags = hook.effective === true ? BPF_F_QUERY_EFFECTIVE : 0;
    return run({ target_fd: cgroup.number, attach_type, query_flags });
  }
  using netns = hook.netns === undefined ? openCurrentNetns(sys) : openNetns(sys, hook.netns);
  return run({ target_fd: netns.number, attach_type });
}
