import { linkCreate } from "../../syscall/bpf-link.ts";
import { progQuery } from "../../syscall/bpf-prog.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { Link as NetworkInterface } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_XDP } from "../../uapi/bpf.ts";
import { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE } from "../../uapi/netlink.ts";
import { findDeviceHere } from "../device.ts";
import type { KernelOptions } from "../map.ts";
import { kernelBefore } from "../privileges.ts";
import type { BpfProgram } from "../program.ts";
import { kernelHasTcx } from "../tc/tcx.ts";
import type { XdpMode } from "../xdp.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt, unknownToKernel } from "./explain.ts";
import type { Link } from "./link.ts";
import { attachTypeNumber } from "./names.ts";
import { encodePosition, POSITION_HINTS, type Position } from "./position.ts";

/** Options of {@link attachXdpLink}. */
export interface AttachXdpLinkOptions extends KernelOptions {
  /** `auto` (default) is native where the driver has it, else generic. */
  readonly mode?: XdpMode | "auto";
}

/** A program attached to XDP of an interface through a link. */
export interface XdpLink extends Link {
  /** The mode that it runs in. */
  readonly mode: XdpMode;
}

/**
 * Attaches a program to XDP of an interface through a link (kernel 5.9): nobody else can replace or detach it, and it goes
 * with the last descriptor or pin. `attachXdp` does it without a link: then it stays when the process ends, as what
 * `ip link set xdp` does.
 *
 * @param device - name or index in the current network namespace.
 * @throws TsbpfError: EBUSY where a program is there already, EOPNOTSUPP for native mode on a driver without XDP, and with
 * what to do about it; UnsupportedError before kernel 5.9.
 * @example
 * ```ts
 * using link = attachXdpLink(prog, "eth0");
 * link.pin("/sys/fs/bpf/eth0_xdp");
 * ```
 */
export function attachXdpLink(
  program: BpfProgram,
  device: string | number,
  options: AttachXdpLinkOptions = {},
): XdpLink {
  const { sys = linuxSyscalls(), mode = "auto" } = options;
  const { index, name, kind } = findDeviceHere(sys, device);
  const create = (mode: XdpMode): XdpLink => {
    const flags = mode === "native" ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    const a = { prog_fd: program.fd, target_ifindex: index, attach_type: BPF_XDP, flags };
    return Object.assign(BpfLink.own(sys, linkCreate(sys, a), `XDP link of ${name}`), { mode });
  };
  return attempt(
    {
      what: `attach '${program.name}' to XDP of ${name}`,
      feature: {
        feature: "links of XDP",
        since: "5.9",
        lacking: (code) => code === "EINVAL" && kernelBefore(5, 9),
        instead: "attachXdp attaches without a link, over netlink.",
      },
      hints: {
        EBUSY: `A program is on ${name} already (ip link show ${name}; bpftool link show): detach it first.`,
        EEXIST: `The program on ${name} runs in the other mode: detach it first.`,
        EOPNOTSUPP: `The driver of ${name} has no native XDP: use generic mode.`,
        ERANGE: `Packets may not fit one buffer: lower the MTU of ${kind === "veth" ? "its peer" : name}, or load the program with BPF_F_XDP_HAS_FRAGS.`,
        EINVAL: "A program with the attach type xdp_cpumap or xdp_devmap is for the entries of such a map.",
      },
    },
    () => (mode === "auto" ? nativeElseGeneric(create) : create(mode)),
  );
}

/** Options of {@link attachTcxLink}. */
export interface AttachTcxLinkOptions extends KernelOptions, Position {
  readonly hook: "ingress" | "egress";
}

/**
 * Attaches a TC program to an interface through a TCX link (kernel 6.6). The programs of a hook run in the order of their
 * list until one returns something else than `TCX_NEXT` (-1).
 *
 * @param device - name or index in the current network namespace.
 * @throws UnsupportedError before kernel 6.6; TsbpfError: ESTALE where the list has changed since `revision`, ENOENT where
 * the neighbour is not in it.
 * @example
 * ```ts
 * using first = attachTcxLink(count, "eth0", { hook: "ingress", before: "all" });
 * using second = attachTcxLink(filter, "eth0", { hook: "ingress", after: first });
 * ```
 */
export function attachTcxLink(
  program: BpfProgram,
  device: string | number,
  options: AttachTcxLinkOptions,
): Link {
  const { sys = linuxSyscalls(), hook } = options;
  const { index, name } = findDeviceHere(sys, device);
  const { flags, fields } = encodePosition(options);
  const attach_type = attachTypeNumber(`tcx_${hook}`);
  return attempt(
    {
      what: `attach '${program.name}' to TCX ${hook} of ${name}`,
      feature: {
        feature: "TCX",
        since: "6.6",
        lacking: (code) => code === "EINVAL" && !kernelHasTcx(sys),
        instead: "A clsact filter does the same on older kernels.",
      },
      hints: { ...POSITION_HINTS, EINVAL: "TCX takes programs of type sched_cls." },
    },
    () => {
      const a = { prog_fd: program.fd, target_ifindex: index, attach_type, flags, tcx: fields };
      return BpfLink.own(sys, linkCreate(sys, a), `TCX ${hook} link of ${name}`);
    },
  );
}

/** Options of {@link attachNetkit}. */
export interface AttachNetkitOptions extends KernelOptions, Position {
  /** Which end's traffic it sees; both are attached through the primary device. Default `primary`. */
  readonly end?: "primary" | "peer";
}

/**
 * Attaches a TC program to a netkit device through a link (kernel 6.7, CONFIG_NETKIT).
 *
 * @param device - the primary device, by name or index in the current network namespace.
 * @throws UnsupportedError where the kernel has no netkit; TsbpfError where the device is of another kind.
 */
export function attachNetkit(
  program: BpfProgram,
  device: string | number,
  options: AttachNetkitOptions = {},
): Link {
  const { sys = linuxSyscalls(), end = "primary" } = options;
  const target = findDeviceHere(sys, device);
  const { flags, fields } = encodePosition(options);
  const attach_type = attachTypeNumber(`netkit_${end}`);
  return attempt(
    {
      what: `attach '${program.name}' to netkit ${end} of ${target.name}`,
      feature: {
        feature: "netkit",
        since: "6.7",
        needs: "CONFIG_NETKIT=y",
        lacking: (code) => unknownToKernel(code) && !kernelHasNetkit(sys, target),
        instead: "On a veth, attach to TCX of its ends.",
      },
      hints: {
        ...POSITION_HINTS,
        ENXIO: `${target.name} is not a netkit device, but ${target.kind ?? "hardware or loopback"}.`,
        EACCES: `${target.name} is the peer: attach through the primary device.`,
      },
    },
    () => {
      const a = { prog_fd: program.fd, target_ifindex: target.index, attach_type, flags, netkit: fields };
      return BpfLink.own(sys, linkCreate(sys, a), `netkit ${end} link of ${target.name}`);
    },
  );
}

/** A kernel that knows netkit says of another device that it is none; one that does not, that it never heard of it. */
function kernelHasNetkit(sys: Syscalls, { index }: NetworkInterface): boolean {
  try {
    progQuery(sys, { target_ifindex: index, attach_type: attachTypeNumber("netkit_primary") });
    return true;
  } catch (error) {
    if (error instanceof SyscallError) return !unknownToKernel(error.code);
    throw error;
  }
}

function nativeElseGeneric<Result>(create: (mode: XdpMode) => Result): Result {
  try {
    return create("native");
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== "EOPNOTSUPP") throw error;
    return create("generic");
  }
}
