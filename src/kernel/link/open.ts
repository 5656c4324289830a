import { linkGetFdById, linkGetNextId } from "../../syscall/bpf-object.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { KernelOptions } from "../map.ts";
import { openPin } from "../pin.ts";
import { UnsupportedError } from "../unsupported.ts";
import { BpfLink } from "./bpf-link.ts";
import { type LinkInfo, readLinkInfo } from "./info.ts";

/**
 * Opens a pinned link.
 *
 * @throws SyscallError: ENOENT, EACCES; TsbpfError where the pin is a map or a program.
 * @example
 * ```ts
 * using link = openLink("/sys/fs/bpf/count_eth0");
 * link.update(better);
 * ```
 */
export function openLink(path: string, options: KernelOptions = {}): BpfLink {
  const { sys = linuxSyscalls() } = options;
  return BpfLink.own(sys, openPin(sys, path, "link"), `link '${path}'`);
}

/** Opens a link by its id, or gives `undefined` where no link has it (any more). Needs CAP_SYS_ADMIN. */
export function linkFromId(id: number, options: KernelOptions = {}): BpfLink | undefined {
  const { sys = linuxSyscalls() } = options;
  const fd = linkGetFdById(sys, id);
  return fd === undefined ? undefined : BpfLink.own(sys, fd, `link ${id}`);
}

/**
 * Lists every link of the machine by walking their ids (kernel 5.8). Needs CAP_SYS_ADMIN. `listAttachments` tells more: also
 * what is attached without a link, and names.
 */
export function listLinks(options: KernelOptions = {}): readonly LinkInfo[] {
  const { sys = linuxSyscalls() } = options;
  const links: LinkInfo[] = [];
  try {
    for (let id = linkGetNextId(sys, 0); id !== undefined; id = linkGetNextId(sys, id)) {
      // EAGAIN: a link that is being made, and is not there yet. (Fd is not own()ed before that.)
      const number = orGone(() => linkGetFdById(sys, id as number));
      if (number === undefined) continue;
      using fd = Fd.own(sys, number, `link ${id}`);
      links.push(readLinkInfo(sys, fd.number));
    }
    return links;
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== "EINVAL" || links.length > 0) throw error;
    throw new UnsupportedError("cannot list links: this kernel gives them no ids", {
      feature: "ids of links",
      since: "5.8",
      cause: error,
    });
  }
}

function orGone(open: () => number | undefined): number | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EAGAIN") return undefined;
    throw error;
  }
}
