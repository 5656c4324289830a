import { linkCreate } from "../../syscall/bpf-link.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import {
  type PerfEventAttr,
  type PerfEventTarget,
  perfEventOpen,
  perfEventSetBpf,
} from "../../syscall/perf-event.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_PERF_EVENT } from "../../uapi/bpf.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import type { PerfEventLinkInfo } from "./info.ts";
import type { Link } from "./link.ts";
import { unlinked } from "./unlinked.ts";

/** What to open and attach to. */
export interface PerfLinkSpec {
  readonly event: PerfEventAttr;
  readonly target: PerfEventTarget;
  readonly cookie: number | bigint | undefined;
  /** What `info()` tells where the kernel tells nothing: without a link. */
  readonly facts: PerfEventLinkInfo["event"];
}

/**
 * Opens a perf event and attaches a program to it: through a link (kernel 5.15), else with an ioctl.
 *
 * @throws SyscallError as the calls do.
 */
export function openPerfLink(sys: Syscalls, program: BpfProgram, what: string, spec: PerfLinkSpec): Link {
  const { event, target, cookie } = spec;
  const fd = Fd.own(sys, perfEventOpen(sys, event, target), what);
  let link: number;
  try {
    const a = { prog_fd: program.fd, target_fd: fd.number, attach_type: BPF_PERF_EVENT };
    link = linkCreate(sys, cookie === undefined ? a : { ...a, perf_event: { bpf_cookie: cookie } });
  } catch (error) {
    // EINVAL: no such link before 5.15, or a program of another type: then the ioctl refuses it, too.
    const old = error instanceof SyscallError && error.code === "EINVAL" && cookie === undefined;
    const attached = old ? tryWithoutLink(sys, program, what, fd, spec) : undefined;
    if (attached !== undefined) return attached;
    fd.close();
    throw error;
  }
  fd.close(); // the link holds the event
  return BpfLink.own(sys, link, `link of ${what}`);
}

function tryWithoutLink(
  sys: Syscalls,
  program: BpfProgram,
  what: string,
  fd: Fd,
  { facts }: PerfLinkSpec,
): Link | undefined {
  let progId: number;
  try {
    progId = program.info().id;
    perfEventSetBpf(sys, fd.number, program.fd);
  } catch {
    return undefined; // the first refusal is the one to tell
  }
  return unlinked({
    kind: "perf_event",
    what: `the program of ${what}`,
    linkSince: "5.15",
    detach: () => fd.close(),
    info: () => ({ kind: "perf_event", id: undefined, progId, event: facts }),
  });
}
