import { TsbpfError } from "../../base/error.ts";
import { progQuery } from "../../syscall/bpf-prog.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { NetlinkError, NetlinkSocket } from "../../syscall/netlink.ts";
import { currentNetnsInode, openCurrentNetns, openNetns, withNetns } from "../../syscall/netns.ts";
import { listLinks as listInterfaces, type Link as NetworkInterface } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { listNetns } from "../namespaces.ts";
import { listClsact } from "../tc/clsact.ts";
import { tcInfo } from "../tc/info.ts";
import type { Attached } from "./attachments.ts";
import type { LinkInfo, XdpLinkInfo } from "./info.ts";
import { attachTypeNumber } from "./names.ts";

/** A network namespace, in a listing. */
export interface NetnsName {
  readonly inode: number;
  /** As `ip netns` knows it. */
  readonly name: string | undefined;
  /** Whether it is that of the calling thread. */
  readonly current: boolean;
}

type Found = Omit<Attached, "where" | "program">;
type Links = ReadonlyMap<number | undefined, LinkInfo>;

/** Finds what is attached to interfaces and to namespaces themselves; with the link, where there is one. */
export function walkNetns(sys: Syscalls, which: "current" | "all", links: Links): Found[] {
  const here = currentNetnsInode();
  const names = new Map<number, string | undefined>();
  const found: Found[] = [];
  const claimed = new Set<number>();
  const look = (netns: NetnsName): void => {
    found.push(...walkInterfaces(sys, netns, links, claimed), ...dissectorOf(sys, netns, links));
  };
  look({ inode: here, name: undefined, current: true });
  for (const place of listNetns()) {
    names.set(place.inode, place.name);
    if (which === "current" || place.inode === here) continue;
    const netns = { inode: place.inode, name: place.name, current: false };
    enter(sys, place.path, () => look(netns));
  }
  for (const info of links.values()) {
    if (info.kind !== "netns" || info.netnsInode === undefined) continue;
    const inode = info.netnsInode;
    found.push({ info, netns: { inode, name: names.get(inode), current: inode === here } });
  }
  return found;
}

/** A flow dissector that was attached without a link, as before kernel 5.7. */
function dissectorOf(sys: Syscalls, netns: NetnsName, links: Links): Found[] {
  const attachType = "flow_dissector";
  using fd = openCurrentNetns(sys);
  const query = { target_fd: fd.number, attach_type: attachTypeNumber(attachType) };
  const linked = [...links.values()].filter((one) => one.kind === "netns" && one.netnsInode === netns.inode);
  return orNone(() => [...progQuery(sys, query).progs])
    .filter(({ prog_id }) => !linked.some(({ progId }) => progId === prog_id))
    .map(({ prog_id: progId }) => ({
      info: { kind: "netns", id: undefined, progId, netnsInode: netns.inode, attachType },
      netns,
    }));
}

/** A namespace may end while it is looked for, and then there is nothing in it. */
function enter(sys: Syscalls, path: string, look: () => void): void {
  try {
    using netns = openNetns(sys, { path });
    withNetns(sys, netns, look);
  } catch (error) {
    const gone = error instanceof SyscallError && (error.call === "open" || error.call.startsWith("setns"));
    if (!gone) throw error;
  }
}

function walkInterfaces(sys: Syscalls, netns: NetnsName, links: Links, claimed: Set<number>): Found[] {
  using route = NetlinkSocket.route(sys);
  return listInterfaces(route).flatMap((device) =>
    [
      ...xdpOf(device, links, claimed),
      ...listOf(sys, device, "tcx", links),
      ...listOf(sys, device, "netkit", links),
      ...clsactOf(route, device),
    ].map((info) => ({ info, device: device.name, netns })),
  );
}

/**
 * XDP of an interface. The kernel tells the program, not the link; and of a link the interface's index, not its namespace. A
 * link with this index and this program, that no other interface has claimed, is taken to be the one.
 */
function xdpOf({ index, xdp }: NetworkInterface, links: Links, claimed: Set<number>): XdpLinkInfo[] {
  const ids = [xdp.nativeProgId, xdp.genericProgId, xdp.hardwareProgId, xdp.progId];
  const programs = new Set(ids.filter((id) => id !== undefined && id !== 0));
  return [...programs].map((progId) => {
    for (const info of links.values()) {
      const same = info.kind === "xdp" && info.ifindex === index && info.progId === progId;
      if (!same || info.id === undefined || claimed.has(info.id)) continue;
      claimed.add(info.id);
      return info;
    }
    return { kind: "xdp", id: undefined, progId, ifindex: index };
  });
}

function listOf(
  sys: Syscalls,
  { index, kind }: NetworkInterface,
  list: "tcx" | "netkit",
  links: Links,
): LinkInfo[] {
  if (list === "netkit" && kind !== "netkit") return [];
  const hooks =
    list === "tcx" ? (["tcx_ingress", "tcx_egress"] as const) : (["netkit_primary", "netkit_peer"] as const);
  return hooks.flatMap((hook) =>
    orNone(() =>
      progQuery(sys, {
        target_ifindex: index,
        attach_type: attachTypeNumber(hook),
        with_links: true,
      }).progs.map(
        ({ prog_id, link_id = 0 }): LinkInfo =>
          links.get(link_id) ?? {
            kind: list,
            id: link_id === 0 ? undefined : link_id,
            progId: prog_id,
            ifindex: index,
            attachType: hook,
          },
      ),
    ),
  );
}

function clsactOf(route: NetlinkSocket, { index }: NetworkInterface): Attached["info"][] {
  return (["ingress", "egress"] as const).flatMap((hook) =>
    orNone(() => listClsact(route, index, hook).map(tcInfo)),
  );
}

/** A hook that this kernel does not know has no programs; nor has an interface that is gone meanwhile. */
function orNone<One>(list: () => One[]): One[] {
  try {
    return list();
  } catch (error) {
    const code = error instanceof SyscallError || error instanceof NetlinkError ? error.code : undefined;
    if (error instanceof TsbpfError && (code === "EINVAL" || code === "ENODEV" || code === "EOPNOTSUPP"))
      return [];
    throw error;
  }
}
