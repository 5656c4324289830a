import { LITTLE_ENDIAN } from "../base/host.ts";
import { EEXIST, EINVAL, ENOENT } from "../uapi/errno.ts";
import { ETH_P_ALL } from "../uapi/net.ts";
import {
  NLM_F_CREATE,
  NLM_F_ECHO,
  NLM_F_EXCL,
  RTM_DELQDISC,
  RTM_DELTFILTER,
  RTM_GETQDISC,
  RTM_GETTFILTER,
  RTM_NEWQDISC,
  RTM_NEWTFILTER,
  TC_H_CLSACT,
  TC_H_MIN_EGRESS,
  TC_H_MIN_INGRESS,
  TCA_BPF_FD,
  TCA_BPF_FLAG_ACT_DIRECT,
  TCA_BPF_FLAGS,
  TCA_BPF_ID,
  TCA_BPF_NAME,
  TCA_BPF_TAG,
  TCA_KIND,
  TCA_OPTIONS,
} from "../uapi/netlink.ts";
import { tcmsg } from "../uapi/structs.ts";
import { NetlinkError, type NetlinkSocket } from "./netlink.ts";
import {
  attrNested,
  attrString,
  attrU32,
  concatBytes,
  NetlinkFormatError,
  NlAttrs,
  type NlMessage,
} from "./netlink-message.ts";

// TC attachment for kernels before TCX (6.6): a clsact qdisc, and cls_bpf filters in direct-action mode on it.
// The tcmsg: u8 family | 3 pad | s32 ifindex | u32 handle | u32 parent | u32 info (prio << 16 | protocol, wire order).

/** Where a filter sits. */
export type TcDirection = "ingress" | "egress";

/** What {@link addClsact} found. */
export type ClsactOrigin = "created" | "existed";

/**
 * Makes sure that the interface has a clsact qdisc. `existed` means that it is somebody else's: use it, leave it.
 *
 * @throws {@link NetlinkError}; EEXIST too if an `ingress` qdisc (which has no egress side) is in its place.
 */
export function addClsact(route: NetlinkSocket, ifindex: number): ClsactOrigin {
  try {
    route.request({
      name: "RTM_NEWQDISC",
      type: RTM_NEWQDISC,
      flags: NLM_F_CREATE | NLM_F_EXCL,
      payload: clsactPayload(ifindex),
      args: { ifindex, kind: "clsact" },
    });
    return "created";
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === EEXIST && hasClsact(route, ifindex))
      return "existed";
    throw error;
  }
}

/** Whether the interface has a clsact qdisc. */
export function hasClsact(route: NetlinkSocket, ifindex: number): boolean {
  return route
    .dump({ name: "RTM_GETQDISC", type: RTM_GETQDISC, payload: encodeTcmsg({ ifindex }), args: { ifindex } })
    .filter(({ type }) => type === RTM_NEWQDISC)
    .map(decodeTcmsg)
    .some((qdisc) => qdisc.ifindex === ifindex && qdisc.attrs.string(TCA_KIND) === "clsact");
}

/**
 * Removes the clsact qdisc **with everybody's filters on it**; `false` if there was none. Look before you do: even so,
 * a filter that somebody adds in between is lost.
 */
export function deleteClsact(route: NetlinkSocket, ifindex: number): boolean {
  const payload = clsactPayload(ifindex);
  return deleteUnlessGone(
    () =>
      route.request({ name: "RTM_DELQDISC", type: RTM_DELQDISC, payload, args: { ifindex, kind: "clsact" } }),
    () => hasClsact(route, ifindex),
  );
}

/** Exactly one filter: what is needed to replace or delete it and no other. */
export interface TcFilterId {
  readonly ifindex: number;
  readonly direction: TcDirection;
  /** 1..65535; lower ones run first. */
  readonly prio: number;
  /** The filter's number within its `prio`. */
  readonly handle: number;
}

/** A cls_bpf filter to add or to put in another's place. */
export interface TcBpfFilter {
  readonly progFd: number;
  /** Shown by `tc filter show`, beside the program's id. */
  readonly name: string;
}

/** A filter on a clsact qdisc. */
export interface TcFilter extends TcFilterId {
  /** `bpf`, `u32`, `flower`... */
  readonly kind: string;
  /** `ETH_P_*`, host order; 3 is every protocol. */
  readonly protocol: number;
  /** For `bpf`: the filter's name, the program's id and tag, and whether its return value is the verdict. */
  readonly bpf:
    | {
        readonly name: string | undefined;
        readonly progId: number | undefined;
        readonly tag: Uint8Array | undefined;
        readonly directAction: boolean;
      }
    | undefined;
}

/** Where {@link addBpfFilter} puts a filter. */
export interface AddBpfFilter extends TcBpfFilter {
  readonly ifindex: number;
  readonly direction: TcDirection;
  /** 0 or absent lets the kernel choose one below all that exist (49152 downwards). */
  readonly prio?: number | undefined;
}

/**
 * Adds a cls_bpf filter in direct-action mode, for every protocol, and returns where the kernel put it.
 * @throws {@link NetlinkError}
 */
export function addBpfFilter(route: NetlinkSocket, a: AddBpfFilter): TcFilterId {
  return changeFilter(route, a, NLM_F_CREATE | NLM_F_EXCL, { prio: a.prio ?? 0, handle: 0 });
}

/**
 * Puts another program in a filter's place, in one step.
 * @throws {@link NetlinkError}
 */
export function replaceBpfFilter(route: NetlinkSocket, id: TcFilterId, filter: TcBpfFilter): TcFilterId {
  return changeFilter(route, { ...id, ...filter }, NLM_F_CREATE, id);
}

/** The filters of one direction, in the order they run; none if there is no clsact qdisc. */
export function listFilters(route: NetlinkSocket, ifindex: number, direction: TcDirection): TcFilter[] {
  return (
    route
      .dump({
        name: "RTM_GETTFILTER",
        type: RTM_GETTFILTER,
        payload: encodeTcmsg({ ifindex, parent: PARENT[direction] }),
        args: { ifindex, direction },
      })
      .filter(({ type }) => type === RTM_NEWTFILTER)
      .map((message) => decodeFilter(message, direction))
      // Each prio also has a message of its own, with handle 0 and nothing else.
      .filter((filter) => filter.ifindex === ifindex && filter.handle !== 0)
  );
}

/** Removes one filter; `false` if it is gone already. */
export function deleteFilter(
  route: NetlinkSocket,
  { ifindex, direction, prio, handle }: TcFilterId,
): boolean {
  // A request without both would take every filter of the prio, or of the hook.
  if (prio === 0 || handle === 0)
    throw new NetlinkFormatError("A filter is deleted by its prio and its handle");
  const payload = concatBytes(
    encodeTcmsg({ ifindex, parent: PARENT[direction], handle, info: filterInfo(prio) }),
    attrString(TCA_KIND, "bpf"),
  );
  const args = { ifindex, direction, prio, handle };
  return deleteUnlessGone(
    () => route.request({ name: "RTM_DELTFILTER", type: RTM_DELTFILTER, payload, args }),
    () => listFilters(route, ifindex, direction).some((f) => f.prio === prio && f.handle === handle),
  );
}

/** Decodes an `RTM_NEWTFILTER`. @throws {@link NetlinkFormatError} */
export function decodeFilter(message: Pick<NlMessage, "payload">, direction: TcDirection): TcFilter {
  const { ifindex, handle, info, attrs } = decodeTcmsg(message);
  const kind = attrs.string(TCA_KIND) ?? "";
  const options = kind === "bpf" ? attrs.nested(TCA_OPTIONS) : undefined;
  return {
    ifindex,
    direction,
    handle,
    prio: info >>> 16,
    protocol: swap16(info & 0xffff),
    kind,
    bpf: options && {
      name: options.string(TCA_BPF_NAME),
      progId: options.u32(TCA_BPF_ID),
      tag: options.bytes(TCA_BPF_TAG),
      directAction: ((options.u32(TCA_BPF_FLAGS) ?? 0) & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
    },
  };
}

const CLSACT_HANDLE = 0xffff_0000;
const PARENT: Readonly<Record<TcDirection, number>> = {
  ingress: (CLSACT_HANDLE | TC_H_MIN_INGRESS) >>> 0,
  egress: (CLSACT_HANDLE | TC_H_MIN_EGRESS) >>> 0,
};

interface TcHeader {
  readonly ifindex: number;
  readonly handle?: number;
  readonly parent?: number;
  readonly info?: number;
}

function encodeTcmsg({ ifindex, handle = 0, parent = 0, info = 0 }: TcHeader): Uint8Array {
  const view = new DataView(new ArrayBuffer(tcmsg.size));
  view.setInt32(tcmsg.tcm_ifindex, ifindex, LITTLE_ENDIAN);
  view.setUint32(tcmsg.tcm_handle, handle, LITTLE_ENDIAN);
  view.setUint32(tcmsg.tcm_parent, parent, LITTLE_ENDIAN);
  view.setUint32(tcmsg.tcm_info, info, LITTLE_ENDIAN);
  return new Uint8Array(view.buffer);
}

function decodeTcmsg({
  payload,
}: Pick<NlMessage, "payload">): Required<TcHeader> & { readonly attrs: NlAttrs } {
  if (payload.byteLength < tcmsg.size)
    throw new NetlinkFormatError("A traffic-control message without its tcmsg");
  const view = new DataView(payload.buffer, payload.byteOffset, tcmsg.size);
  return {
    ifindex: view.getInt32(tcmsg.tcm_ifindex, LITTLE_ENDIAN),
    handle: view.getUint32(tcmsg.tcm_handle, LITTLE_ENDIAN),
    parent: view.getUint32(tcmsg.tcm_parent, LITTLE_ENDIAN),
    info: view.getUint32(tcmsg.tcm_info, LITTLE_ENDIAN),
    attrs: new NlAttrs(payload.subarray(tcmsg.size)),
  };
}

function clsactPayload(ifindex: number): Uint8Array {
  const header = encodeTcmsg({ ifindex, handle: CLSACT_HANDLE, parent: TC_H_CLSACT });
  return concatBytes(header, attrString(TCA_KIND, "clsact"));
}

function changeFilter(
  route: NetlinkSocket,
  a: AddBpfFilter,
  flags: number,
  { prio, handle }: { readonly prio: number; readonly handle: number },
): TcFilterId {
  const { ifindex, direction, progFd, name } = a;
  if (!Number.isInteger(prio) || prio < 0 || prio > 0xffff) {
    throw new NetlinkFormatError(`Filter prio ${prio} is not in 0..65535`);
  }
  const { messages } = route.request({
    name: "RTM_NEWTFILTER",
    type: RTM_NEWTFILTER,
    flags: flags | NLM_F_ECHO,
    payload: concatBytes(
      encodeTcmsg({ ifindex, parent: PARENT[direction], handle, info: filterInfo(prio) }),
      attrString(TCA_KIND, "bpf"),
      attrNested(
        TCA_OPTIONS,
        attrU32(TCA_BPF_FD, progFd),
        attrString(TCA_BPF_NAME, name),
        attrU32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT),
      ),
    ),
    args: { ifindex, direction, prio, name },
  });
  const echo = messages.find(({ type }) => type === RTM_NEWTFILTER);
  if (echo === undefined) throw new NetlinkFormatError("The kernel did not say where it put the filter");
  const made = decodeFilter(echo, direction);
  return { ifindex, direction, prio: made.prio, handle: made.handle };
}

function filterInfo(prio: number): number {
  return ((prio << 16) | swap16(ETH_P_ALL)) >>> 0;
}

// The protocol is in wire order inside a host-order word.
function swap16(value: number): number {
  return LITTLE_ENDIAN ? ((value & 0xff) << 8) | (value >>> 8) : value;
}

/** Runs a deletion; `false` if what it deletes is not there. Kernels differ in the errno, so EINVAL is looked into. */
function deleteUnlessGone(request: () => void, exists: () => boolean): boolean {
  try {
    request();
    return true;
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.errno === ENOENT || (error.errno === EINVAL && !exists())) return false;
    throw error;
  }
}
