import { TsbpfError } from "../base/error.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import { NetlinkError, NetlinkSocket } from "../syscall/netlink.ts";
import { type Link, linkByIndex, type SetXdp, setXdp, type XdpState } from "../syscall/rtnetlink.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, XDP_FLAGS_UPDATE_IF_NOEXIST } from "../uapi/netlink.ts";
import {
  AttachError,
  type Attachment,
  explainAttach,
  NOT_ATTACHED,
  openAttached,
  stayInNetns,
} from "./attachment.ts";
import { findDevice } from "./device.ts";
import type { KernelOptions } from "./map.ts";
import { readProgramInfo } from "./object-info.ts";
import { kernelBefore } from "./privileges.ts";
import { BpfProgram } from "./program.ts";

/** Where XDP runs: in the driver, or in the generic code behind it, on any device. */
export type XdpMode = "native" | "generic";

/** Options of {@link attachXdp}. */
export interface AttachXdpOptions extends KernelOptions {
  /**
   * `auto` (default) is the mode of the program that is replaced; without one, native where the driver has it, else
   * generic. The attachment tells which.
   */
  readonly mode?: XdpMode | "auto";
  /**
   * The program that must be attached now, to be replaced in one step (kernel 5.7). Without it nothing must be attached:
   * another program is never replaced by accident.
   */
  readonly replace?: { readonly fd: number };
}

/** A program attached to XDP of an interface. */
export interface XdpAttachment extends Attachment {
  /** The mode that it really runs in. */
  readonly mode: XdpMode;
  /** Why native mode was not to be had, where `auto` fell back to generic. */
  readonly fallback: string | undefined;
}

/**
 * Attaches a program to XDP of an interface, over netlink.
 *
 * @param device - name or index in the current network namespace.
 * @throws AttachError with the kernel's explanation (extack) and what to do about the known causes: a program in place, a
 * driver without XDP, an MTU that is too large.
 * @example
 * ```ts
 * using link = attachXdp(prog, "eth0", { mode: "native" });
 * link.update(better);
 * ```
 */
export function attachXdp(
  program: BpfProgram,
  device: string | number,
  options: AttachXdpOptions = {},
): XdpAttachment {
  const { sys = linuxSyscalls(), mode = "auto", replace } = options;
  const checkNetns = stayInNetns("the XDP program");
  const progId = program.info().id; // nothing that may fail comes after the attachment
  using route = NetlinkSocket.route(sys);
  const link = findDevice(route, device);
  const set = (mode: XdpMode): undefined => {
    place(route, { ifindex: link.index, fd: program.fd, flags: MODE_FLAG[mode] }, replace?.fd);
  };
  const oldMode = replace && modeOf(link.xdp, readProgramInfo(sys, replace.fd).id);
  const wanted = mode === "auto" ? (oldMode ?? mode) : mode;
  const fallback = explainAttach(
    `attach XDP to ${link.name}`,
    link.name,
    (refusal) => attachHint(refusal, link, oldMode),
    () => (wanted === "auto" ? setNativeElseGeneric(set) : set(wanted)),
  );
  // The mode is always asked for by its flag, and the kernel then takes that one or refuses.
  const actual = wanted === "auto" ? (fallback === undefined ? "native" : "generic") : wanted;
  let current = { program, id: progId };
  return {
    ifindex: link.index,
    name: link.name,
    mode: actual,
    get progId() {
      return current.id;
    },
    fallback,
    update(next) {
      checkNetns();
      const id = next.info().id;
      using route = NetlinkSocket.route(sys);
      using old = openAttached(sys, current);
      const what = `update XDP of ${link.name}`;
      if (old === undefined) throw new AttachError(what, link.name, NOT_ATTACHED, undefined);
      explainAttach(
        what,
        link.name,
        (refusal) => attachHint(refusal, link),
        () => place(route, { ifindex: link.index, fd: next.fd, flags: MODE_FLAG[actual] }, old.fd),
      );
      current = { program: next, id };
    },
    detach() {
      checkNetns();
      using program = openAttached(sys, current);
      return program !== undefined && detach(sys, link.index, current.id, program.fd);
    },
    info() {
      checkNetns();
      using route = NetlinkSocket.route(sys);
      const { id: progId } = current;
      if (modeOf(linkByIndex(route, link.index)?.xdp, progId) === undefined) return undefined;
      return { kind: "xdp", id: undefined, progId, ifindex: link.index };
    },
    [Symbol.dispose]() {
      this.detach();
    },
  };
}

/**
 * Detaches the program with this id from XDP of an interface; false where it is not attached (any more). A program that
 * somebody else put there meanwhile is left alone, also when it comes between asking and detaching (kernel 5.7). Needs
 * CAP_SYS_ADMIN, to open the program by its id.
 *
 * @throws AttachError with the kernel's explanation.
 */
export function detachXdp(ifindex: number, progId: number, options: KernelOptions = {}): boolean {
  const { sys = linuxSyscalls() } = options;
  using program = BpfProgram.fromId(progId, { sys });
  return program !== undefined && detach(sys, ifindex, progId, program.fd);
}

function detach(sys: Syscalls, ifindex: number, progId: number, fd: number): boolean {
  using route = NetlinkSocket.route(sys);
  const link = linkByIndex(route, ifindex);
  const mode = modeOf(link?.xdp, progId);
  if (link === undefined || mode === undefined) return false;
  try {
    explainAttach(
      `detach XDP from ${link.name}`,
      link.name,
      (refusal) => attachHint(refusal, link),
      // The flag of the mode must be right: with the other one the kernel reports success and does nothing.
      () => place(route, { ifindex, fd: -1, flags: MODE_FLAG[mode] }, fd),
    );
  } catch (error) {
    if (error instanceof AttachError && (error.code === "ENODEV" || error.code === "EEXIST")) return false;
    throw error;
  }
  if (modeOf(linkByIndex(route, ifindex)?.xdp, progId) !== undefined) {
    throw new TsbpfError(`the kernel reported success, and XDP program ${progId} is still attached`);
  }
  return true;
}

/**
 * Sets the program of an interface in place of the expected one, or of none: never over another one.
 *
 * Kernels before 5.7 do not know the flag for "in place of this one", and say EINVAL without a word. There it is done
 * without: the caller has seen the program in place, and nobody else may put another one there in that instant.
 */
function place(route: NetlinkSocket, set: SetXdp, expectedFd: number | undefined): void {
  if (expectedFd === undefined) {
    setXdp(route, { ...set, flags: set.flags | XDP_FLAGS_UPDATE_IF_NOEXIST });
    return;
  }
  try {
    setXdp(route, { ...set, expectedFd });
  } catch (error) {
    const old = error instanceof NetlinkError && error.code === "EINVAL" && error.extack === undefined;
    if (!old) throw error;
    setXdp(route, set);
  }
}

const MODE_FLAG = { native: XDP_FLAGS_DRV_MODE, generic: XDP_FLAGS_SKB_MODE } as const;

function modeOf(state: XdpState | undefined, progId: number): XdpMode | undefined {
  if (state?.nativeProgId === progId) return "native";
  if (state?.genericProgId === progId) return "generic";
  return undefined;
}

/** Asks for native mode first, since the kernel itself falls back without a word; gives the reason where it did. */
function setNativeElseGeneric(set: (mode: XdpMode) => void): string | undefined {
  try {
    set("native");
    return undefined;
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.code !== "EOPNOTSUPP") throw error;
    set("generic");
    return error.extack ?? error.code;
  }
}

/** What to do about a refusal. */
function attachHint(
  { code, extack }: { readonly code: string; readonly extack: string },
  { name, mtu, kind }: Link,
  oldMode?: XdpMode,
): string | undefined {
  if (extack.includes("does not match expected") && oldMode !== undefined) {
    return `The program to replace runs in ${oldMode} mode, and one in another mode cannot take its place in one step.`;
  }
  if (extack.includes("does not match expected") || extack.includes("already attached")) {
    return `Another XDP program is on ${name} (ip link show ${name}): detach it, or ask to replace it.`;
  }
  if (extack.includes("can't be active at the same time")) {
    return `The program on ${name} runs in the other mode: detach it first, or replace it in its own mode.`;
  }
  if (code === "EBUSY") {
    return `A bpf_link holds XDP of ${name} (bpftool link show): only its owner can replace or detach it.`;
  }
  if (extack.includes("rx queues")) {
    return `Give ${name} as many receive queues as its peer has transmit queues (ethtool -L ${name} rx N), or use generic mode.`;
  }
  if (code === "ERANGE" || extack.includes("MTU")) {
    const of = kind === "veth" ? `its peer's MTU` : `its MTU (${mtu})`;
    return `Packets may not fit one buffer: lower ${of}, or load the program with BPF_F_XDP_HAS_FRAGS.`;
  }
  if (extack.includes("LRO")) return `Turn large receive offload off: ethtool -K ${name} lro off`;
  if (code === "EOPNOTSUPP") {
    return extack === "" || extack.includes("does not support XDP")
      ? `The driver of ${name} has no native XDP: use generic mode.`
      : "Do what the driver asks for, or use generic mode, which works on any device.";
  }
  if (extack.includes("bound to different device")) {
    return `The program was loaded for another interface: load it with { device: "${name}" }.`;
  }
  if (extack.includes("device-bound programs in generic mode")) {
    return "A program that was loaded for an interface runs in native mode only.";
  }
  if (code === "EPERM") return "Attaching XDP takes CAP_NET_ADMIN in the namespace of the interface.";
  if (extack.includes("CPUMAP") || extack.includes("DEVMAP")) {
    return "A program with the attach type xdp_cpumap or xdp_devmap is for the entries of such a map.";
  }
  if (code === "EINVAL" && extack === "" && kernelBefore(5, 15)) {
    return "Before kernel 5.15 generic XDP takes no program with a CPU map: use native mode, on a veth with the peer's transmit checksum offload off (ethtool -K PEER tx off).";
  }
  return undefined;
}
