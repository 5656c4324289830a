import { NetlinkError, type NetlinkSocket } from "../../syscall/netlink.ts";
import {
  addBpfFilter,
  addClsact,
  deleteClsact,
  deleteFilter,
  listFilters,
  replaceBpfFilter,
  type TcFilter,
} from "../../syscall/tc-netlink.ts";
import { AttachError, explainAttach, NOT_ATTACHED } from "../attachment.ts";
import type { TcAttachment, TcBackend, TcHook } from "./hook.ts";

// cls_bpf filters in direct-action mode on a clsact qdisc, for kernels before 6.6; they run after TCX. The qdisc is shared:
// deleting it deletes everybody's filters, so it is deleted only when this process made it or the caller says so, and only
// when nothing is left on it. Even then somebody may add a filter between the look and the deletion: the kernel offers no
// way to ask for both at once.

/** The clsact backend: a qdisc and a filter, over netlink. */
export function clsactBackend(route: NetlinkSocket): TcBackend {
  return {
    name: "clsact",
    attach(program, { ifindex, name }, hook) {
      const progId = program.info().id; // nothing that may fail comes after the attachment
      const what = `attach '${program.name}' to clsact ${hook} of ${name}`;
      const origin = explainAttach(what, name, clsactHint, () => addClsact(route, ifindex));
      try {
        const filter = { ifindex, direction: hook, progFd: program.fd, name: program.name };
        const { prio, handle } = explainAttach(what, name, clsactHint, () => addBpfFilter(route, filter));
        return { list: "clsact", ifindex, hook, progId, filter: { priority: prio, handle } };
      } catch (error) {
        if (origin === "created") deleteClsactIfEmpty(route, ifindex);
        throw error;
      }
    },
    replace(old, program) {
      const progId = program.info().id;
      const id = filterId(old);
      const device = `interface ${old.ifindex}`;
      const what = `put '${program.name}' in the place of filter ${id.prio}:${id.handle} on clsact ${old.hook} of ${device}`;
      // The kernel would add one: it has no way to ask for "only in the place of this one".
      if (!isAttached(route, old)) {
        throw new AttachError(what, device, NOT_ATTACHED, undefined);
      }
      const { prio, handle } = explainAttach(what, device, clsactHint, () =>
        replaceBpfFilter(route, id, { progFd: program.fd, name: program.name }),
      );
      return { ...old, progId, filter: { priority: prio, handle } };
    },
  };
}

/** Lists the cls_bpf programs of a hook in the order they run; empty where the interface has gone. */
export function listClsact(route: NetlinkSocket, ifindex: number, hook: TcHook): readonly TcAttachment[] {
  const attachments: TcAttachment[] = [];
  for (const { bpf, prio, handle } of filtersOf(route, ifindex, hook)) {
    if (bpf?.progId === undefined) continue;
    const filter = { priority: prio, handle };
    attachments.push({ list: "clsact", ifindex, hook, progId: bpf.progId, filter });
  }
  return attachments;
}

/** Deletes exactly this filter; false where it was gone already, or somebody put another program in it. */
export function detachClsact(route: NetlinkSocket, attachment: TcAttachment): boolean {
  return isAttached(route, attachment) && deleteFilter(route, filterId(attachment));
}

/** Deletes the clsact qdisc where no filter is left on it; true where it did. */
export function deleteClsactIfEmpty(route: NetlinkSocket, ifindex: number): boolean {
  const hooks: readonly TcHook[] = ["ingress", "egress"];
  if (hooks.some((hook) => listFilters(route, ifindex, hook).length > 0)) return false;
  return deleteClsact(route, ifindex);
}

function filtersOf(route: NetlinkSocket, ifindex: number, hook: TcHook): readonly TcFilter[] {
  try {
    return listFilters(route, ifindex, hook);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENODEV") return [];
    throw error;
  }
}

function isAttached(route: NetlinkSocket, { ifindex, hook, progId, filter: own }: TcAttachment): boolean {
  return listClsact(route, ifindex, hook).some(
    ({ progId: id, filter }) =>
      id === progId && filter?.handle === own?.handle && filter?.priority === own?.priority,
  );
}

function clsactHint({ code }: { readonly code: string }): string | undefined {
  switch (code) {
    case "EEXIST":
      return "An `ingress` qdisc is in the place of clsact (tc qdisc show): replace it, or attach to TCX.";
    case "ENODEV":
      return "The current network namespace has no such interface.";
    case "EINVAL":
      return "cls_bpf takes programs of type sched_cls.";
    case "ENOENT":
      return "The kernel may lack clsact or cls_bpf (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF).";
    case "EPERM":
      return "Attaching to TC takes CAP_NET_ADMIN in the namespace of the interface.";
    default:
      return undefined;
  }
}

function filterId({ ifindex, hook, filter }: TcAttachment) {
  return { ifindex, direction: hook, prio: filter?.priority ?? 0, handle: filter?.handle ?? 0 };
}
