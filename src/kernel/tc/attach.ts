import { linuxSyscalls } from "../../syscall/ffi.ts";
import { NetlinkSocket } from "../../syscall/netlink.ts";
import { hasClsact } from "../../syscall/tc-netlink.ts";
import { AttachError, type Attachment, NOT_ATTACHED, openAttached, stayInNetns } from "../attachment.ts";
import { findDevice } from "../device.ts";
import type { KernelOptions } from "../map.ts";
import type { BpfProgram } from "../program.ts";
import { type BackendNeeds, chooseTcBackend } from "./choose.ts";
import { clsactBackend, deleteClsactIfEmpty, detachClsact } from "./clsact.ts";
import type { TcAttachment, TcBackendName, TcHook } from "./hook.ts";
import { tcInfo } from "./info.ts";
import { listTc } from "./list.ts";
import { detachTcx, replaceTcx } from "./tcx.ts";

/** Options of {@link attachTc}. */
export interface AttachTcOptions extends KernelOptions {
  /** Default `auto`: bpftool where it can, else the system call, else clsact. */
  readonly backend?: TcBackendName | "auto";
  /** Where a program of this name is pinned; bpftool attaches nothing else. */
  readonly pinPath?: BackendNeeds["pinPath"];
}

/** A program attached to a TC hook of an interface. */
export interface AttachedTc extends Attachment {
  readonly hook: TcHook;
  /** How it was attached, and why so. */
  readonly backend: { readonly name: TcBackendName; readonly reason: string };
  /** Its place in the kernel's list, as {@link listTc} shows it. */
  readonly entry: TcAttachment;
}

/**
 * Attaches a program to a TC hook of an interface, behind those that are there.
 *
 * @param device - name or index in the current network namespace.
 * @throws AttachError with the kernel's explanation; TsbpfError where the backend that was asked for does not work here.
 * @example
 * ```ts
 * using ingress = attachTc(prog, "eth0", "ingress", { backend: "tcx" });
 * ```
 */
export function attachTc(
  program: BpfProgram,
  device: string | number,
  hook: TcHook,
  options: AttachTcOptions = {},
): AttachedTc {
  const { sys = linuxSyscalls(), backend: wanted = "auto", pinPath } = options;
  const checkNetns = stayInNetns(`the TC ${hook} program`);
  using route = NetlinkSocket.route(sys);
  const { index: ifindex, name } = findDevice(route, device);
  const { backend, reason } = chooseTcBackend(wanted, { sys, route, pinPath });
  const hadClsact = backend.name === "clsact" && hasClsact(route, ifindex);
  let entry = backend.attach(program, { ifindex, name }, hook);
  let current = program;
  return {
    ifindex,
    name,
    hook,
    backend: { name: backend.name, reason },
    get entry() {
      return entry;
    },
    get progId() {
      return entry.progId;
    },
    update(next) {
      checkNetns();
      using old = openAttached(sys, { program: current, id: entry.progId });
      if (old === undefined)
        throw new AttachError(`update TC ${hook} of ${name}`, name, NOT_ATTACHED, undefined);
      if (entry.list === "tcx") {
        entry = replaceTcx(sys, entry, next, old);
      } else {
        using route = NetlinkSocket.route(sys);
        entry = clsactBackend(route).replace(entry, next);
      }
      current = next;
    },
    detach() {
      checkNetns();
      if (entry.list === "tcx") {
        using old = openAttached(sys, { program: current, id: entry.progId });
        return old !== undefined && detachTcx(sys, entry, old);
      }
      using route = NetlinkSocket.route(sys);
      const detached = detachClsact(route, entry);
      if (!hadClsact) deleteClsactIfEmpty(route, ifindex);
      return detached;
    },
    info() {
      checkNetns();
      using route = NetlinkSocket.route(sys);
      const there = listTc(sys, route, ifindex).find((one) => isSame(one, entry));
      return there && tcInfo(there);
    },
    [Symbol.dispose]() {
      this.detach();
    },
  };
}

function isSame(one: TcAttachment, other: TcAttachment): boolean {
  return (
    (["list", "hook", "progId"] as const).every((key) => one[key] === other[key]) &&
    one.filter?.handle === other.filter?.handle &&
    one.filter?.priority === other.filter?.priority
  );
}
