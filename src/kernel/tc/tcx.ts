import { progAttach, progDetach, progQuery } from "../../syscall/bpf-prog.ts";
import { SyscallError } from "../../syscall/errno.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_F_REPLACE, BPF_TCX_EGRESS, BPF_TCX_INGRESS } from "../../uapi/bpf.ts";
import { AttachError, explainAttach, NOT_ATTACHED } from "../attachment.ts";
import { BpfProgram } from "../program.ts";
import type { TcAttachment, TcBackend, TcHook } from "./hook.ts";

// TCX (kernel 6.6): an ordered list of programs for each hook of an interface, run before any cls_bpf filter. A program
// attached with BPF_PROG_ATTACH, as bpftool does and as is done here, stays until it is detached or the interface goes; it
// needs no pin. A bpf_link would go with its last fd.

/** The TCX backend: attaches with the `bpf()` system call itself. */
export function tcxBackend(sys: Syscalls): TcBackend {
  return {
    name: "tcx",
    attach(program, { ifindex, name }, hook) {
      const progId = program.info().id; // nothing that may fail comes after the attachment
      explainAttach(`attach '${program.name}' to tcx_${hook} of ${name}`, name, tcxHint, () =>
        progAttach(sys, {
          target_ifindex: ifindex,
          attach_type: attachType(hook),
          attach_bpf_fd: program.fd,
        }),
      );
      return { list: "tcx", ifindex, hook, progId, linkId: 0 };
    },
    replace: (old, program) => replaceTcx(sys, old, program),
  };
}

/** Lists the TCX programs of a hook in the order they run; empty before kernel 6.6. */
export function listTcx(sys: Syscalls, ifindex: number, hook: TcHook): readonly TcAttachment[] {
  try {
    const { progs } = progQuery(sys, {
      target_ifindex: ifindex,
      attach_type: attachType(hook),
      with_links: true,
    });
    return progs.map(({ prog_id, link_id }) => ({
      list: "tcx",
      ifindex,
      hook,
      progId: prog_id,
      linkId: link_id ?? 0,
    }));
  } catch (error) {
    // EINVAL: an attach type that the kernel does not know; ENODEV: the interface has gone meanwhile.
    if (error instanceof SyscallError && (error.code === "EINVAL" || error.code === "ENODEV")) return [];
    throw error;
  }
}

/** Whether the kernel has TCX: it knows how to list it. */
export function kernelHasTcx(sys: Syscalls): boolean {
  try {
    progQuery(sys, { target_ifindex: LOOPBACK, attach_type: BPF_TCX_INGRESS });
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EINVAL") return false;
    throw error;
  }
}

/**
 * Detaches exactly this program; false where it was gone already. (`bpftool net detach` names no program, and so may
 * take somebody else's.)
 *
 * @param open - the program, where it is still open; else it is opened by its id, which needs CAP_SYS_ADMIN.
 */
export function detachTcx(
  sys: Syscalls,
  { ifindex, hook, progId }: TcAttachment,
  open?: { readonly fd: number },
): boolean {
  using byId = open === undefined ? BpfProgram.fromId(progId, { sys }) : undefined;
  const program = open ?? byId;
  if (program === undefined) return false;
  try {
    progDetach(sys, {
      target_ifindex: ifindex,
      attach_type: attachType(hook),
      attach_bpf_fd: program.fd,
    });
    return true;
  } catch (error) {
    if (error instanceof SyscallError && (error.code === "ENOENT" || error.code === "ENODEV")) return false;
    throw error;
  }
}

/**
 * Replaces a TCX program in its place in the list, in one step of the kernel.
 *
 * @param open - the old program, where it is still open; else it is opened by its id, which needs CAP_SYS_ADMIN.
 * @throws AttachError when the old program is not attached any more.
 */
export function replaceTcx(
  sys: Syscalls,
  old: TcAttachment,
  program: BpfProgram,
  open?: { readonly fd: number },
): TcAttachment {
  const progId = program.info().id;
  const device = `interface ${old.ifindex}`;
  const what = `put '${program.name}' in the place of program ${old.progId} on tcx_${old.hook} of ${device}`;
  using byId = open === undefined ? BpfProgram.fromId(old.progId, { sys }) : undefined;
  const before = open ?? byId;
  if (before === undefined) throw new AttachError(what, device, NOT_ATTACHED, undefined);
  explainAttach(what, device, tcxHint, () =>
    progAttach(sys, {
      target_ifindex: old.ifindex,
      attach_type: attachType(old.hook),
      attach_bpf_fd: program.fd,
      attach_flags: BPF_F_REPLACE,
      replace_bpf_fd: before.fd,
    }),
  );
  return { ...old, progId };
}

/** What `bpf_mprog_attach()` and `tcx_prog_attach()` mean by their answers. */
function tcxHint({ code }: { readonly code: string }): string | undefined {
  switch (code) {
    case "EEXIST":
      return "This very program is there already: a list holds each program once.";
    case "ENOENT":
      return "The program to replace is not in the list any more (bpftool net).";
    case "EBUSY":
      return "A bpf_link holds the program to replace (bpftool link show): only its owner can.";
    case "ERANGE":
      return "The list is full: it holds 63 programs.";
    case "ENODEV":
      return "The current network namespace has no such interface.";
    case "EINVAL":
      return "TCX takes programs of type sched_cls, from kernel 6.6 on; before, attach with clsact.";
    case "EPERM":
      return "Attaching to TCX takes CAP_NET_ADMIN in the namespace of the interface.";
    default:
      return undefined;
  }
}

/** Every network namespace has its loopback interface under this index. */
const LOOPBACK = 1;

function attachType(hook: TcHook): number {
  return hook === "ingress" ? BPF_TCX_INGRESS : BPF_TCX_EGRESS;
}
