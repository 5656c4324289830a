import type { NetlinkSocket } from "../../syscall/netlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { detachClsact, listClsact } from "./clsact.ts";
import type { TcAttachment } from "./hook.ts";
import { detachTcx, listTcx } from "./tcx.ts";

/** Lists every BPF program on the TC hooks of an interface, ingress first, each hook in the order its programs run. */
export function listTc(sys: Syscalls, route: NetlinkSocket, ifindex: number): readonly TcAttachment[] {
  return (["ingress", "egress"] as const).flatMap((hook) => [
    ...listTcx(sys, ifindex, hook),
    ...listClsact(route, ifindex, hook),
  ]);
}

/** Detaches exactly this program from its hook; false where it was gone already. */
export function detachTc(sys: Syscalls, route: NetlinkSocket, attachment: TcAttachment): boolean {
  return attachment.list === "tcx" ? detachTcx(sys, attachment) : detachClsact(route, attachment);
}
