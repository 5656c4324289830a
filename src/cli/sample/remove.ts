import { deleteClsactIfEmpty } from "../../kernel/tc/clsact.ts";
import { detachTc } from "../../kernel/tc/list.ts";
import { detachXdp } from "../../kernel/xdp.ts";
import type { NetlinkSocket } from "../../syscall/netlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import type { Session } from "./session.ts";

/**
 * Takes down what a session left in the kernel, and nothing else: XDP first, so that no packet is redirected into a queue
 * that goes away, then TC. The CPU map, its entries and their threads go with the last program that holds them.
 *
 * @returns what it removed, a line each.
 */
export function removeSession(sys: Syscalls, route: NetlinkSocket, session: Session): readonly string[] {
  const removed: string[] = [];
  const { xdp, tc, facts } = session;
  if (xdp !== undefined && detachXdp(xdp.ifindex, xdp.program.id, { sys })) {
    removed.push(`XDP program ${xdp.program.name} (id ${xdp.program.id}, ${xdp.mode})`);
  }
  for (const attachment of tc) {
    if (detachTc(sys, route, attachment)) {
      removed.push(
        `TC ${attachment.hook} program ${attachment.program.name} (id ${attachment.progId}, ${attachment.list})`,
      );
    }
  }
  for (const ifindex of facts.madeClsact) {
    if (deleteClsactIfEmpty(route, ifindex)) removed.push("the clsact qdisc");
  }
  return removed;
}
