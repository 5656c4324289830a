import type { ClsactInfo, TcxLinkInfo } from "../link/info.ts";
import type { TcAttachment } from "./hook.ts";

/** A program on a TC hook, as listings of attachments have it. */
export function tcInfo({
  list,
  ifindex,
  hook,
  progId,
  linkId,
  filter,
}: TcAttachment): TcxLinkInfo | ClsactInfo {
  if (list === "tcx") {
    const id = linkId === 0 ? undefined : linkId;
    return { kind: "tcx", id, progId, ifindex, attachType: `tcx_${hook}` };
  }
  const { priority = 0, handle = 0 } = filter ?? {};
  return { kind: "clsact", id: undefined, progId, ifindex, attachType: hook, priority, handle };
}
