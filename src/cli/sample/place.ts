import { BpfProgram } from "../../kernel/program.ts";
import { clsactBackend, deleteClsactIfEmpty } from "../../kernel/tc/clsact.ts";
import type { Device, TcAttachment, TcBackend, TcHook } from "../../kernel/tc/hook.ts";
import { detachTc, listTc } from "../../kernel/tc/list.ts";
import { tcxBackend } from "../../kernel/tc/tcx.ts";
import { attachXdp, detachXdp, type XdpAttachment, type XdpMode } from "../../kernel/xdp.ts";
import type { NetlinkSocket } from "../../syscall/netlink.ts";
import { type Link, linkByIndex } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { hasClsact } from "../../syscall/tc-netlink.ts";
import type { UndoStack } from "../undo.ts";
import { type AttachedTc, type Session, xdpPrograms } from "./session.ts";

// Every change here pushes its undo step before it is made, and the step looks at what is really attached: a call that the
// kernel obeyed and whose answer was lost is taken back, too.

/** What the functions here work with. */
export interface PlaceContext {
  readonly sys: Syscalls;
  readonly route: NetlinkSocket;
  /** What we have on the interface already, to be replaced. */
  readonly previous: Session | undefined;
  readonly undo: UndoStack;
}

/**
 * Attaches a TC program, in the place of the previous session's where that is on the same list.
 *
 * @throws TsbpfError with the kernel's reason.
 */
export function placeTc(
  context: PlaceContext,
  backend: TcBackend,
  program: BpfProgram,
  device: Link,
  hook: TcHook,
): TcAttachment {
  const { sys, route, previous, undo } = context;
  const what = `TC ${hook} of ${device.name}`;
  const list = backend.name === "clsact" ? "clsact" : "tcx";
  const found = previous?.tc.find(
    (one) => one.ifindex === device.index && one.hook === hook && one.list === list,
  );
  const old = found && attachmentOf(found);
  const progId = program.info().id;
  // Replaced, it would be gone: it must last until there is no way back to it.
  const before = old && keepOpen(undo, BpfProgram.fromId(old.progId, { sys }));
  const find = () =>
    listTc(sys, route, device.index).find((one) => one.hook === hook && one.progId === progId);

  if (old !== undefined && before !== undefined) {
    undo.push(what, () => {
      const placed = find();
      if (placed !== undefined) backend.replace(placed, before);
    });
    return backend.replace(old, program);
  }
  const newQdisc = list === "clsact" && !hasClsact(route, device.index);
  undo.push(what, () => {
    const placed = find();
    if (placed !== undefined) detachTc(sys, route, placed);
    if (newQdisc) deleteClsactIfEmpty(route, device.index);
  });
  return backend.attach(program, { ifindex: device.index, name: device.name }, hook);
}

/**
 * Detaches what the previous session had and the new one has not replaced in place.
 *
 * @param placed - what the new session has.
 */
export function removeLeftovers(context: PlaceContext, placed: readonly TcAttachment[]): void {
  const { sys, route, previous, undo } = context;
  if (previous === undefined) return;
  const keepsList = (ifindex: number, list: TcAttachment["list"], hook?: TcHook): boolean =>
    placed.some(
      (now) => now.ifindex === ifindex && now.list === list && (hook === undefined || now.hook === hook),
    );
  for (const old of previous.tc) {
    if (keepsList(old.ifindex, old.list, old.hook)) continue;
    const program = keepOpen(undo, BpfProgram.fromId(old.progId, { sys }));
    if (program === undefined) continue;
    undo.push(`TC ${old.hook} program ${old.progId}`, () => {
      const attached = listTc(sys, route, old.ifindex);
      if (attached.some((one) => one.hook === old.hook && one.progId === old.progId)) return;
      const device: Device = { ifindex: old.ifindex, name: linkByIndex(route, old.ifindex)?.name ?? "" };
      (old.list === "tcx" ? tcxBackend(sys) : clsactBackend(route)).attach(program, device, old.hook);
    });
    detachTc(sys, route, old);
  }
  for (const ifindex of previous.facts.madeClsact) {
    if (!keepsList(ifindex, "clsact")) deleteClsactIfEmpty(route, ifindex);
  }
}

/** Without what is known about its program, which is about to be another one. */
function attachmentOf({ program: _, ...attachment }: AttachedTc): TcAttachment {
  return attachment;
}

function keepOpen(undo: UndoStack, program: BpfProgram | undefined): BpfProgram | undefined {
  return program && undo.keep(program);
}

/** How to place an XDP program. */
export interface PlaceXdpOptions {
  readonly device: Link;
  readonly mode: XdpMode | "auto";
  /** Id of somebody else's program that may be replaced. */
  readonly foreign: number | undefined;
}

/**
 * Attaches the XDP program, in the place of ours or, with force, of somebody else's.
 *
 * @throws TsbpfError with the kernel's reason.
 */
export function placeXdp(
  { device, mode, foreign }: PlaceXdpOptions,
  { sys, route, previous, undo }: PlaceContext,
  program: BpfProgram,
): XdpAttachment {
  const progId = program.info().id;
  const oldId = foreign ?? previous?.xdp?.program.id;
  const [oldMode] = xdpPrograms(device).find(([, id]) => id === oldId) ?? [];
  const before = oldId === undefined ? undefined : keepOpen(undo, BpfProgram.fromId(oldId, { sys }));
  const old = before === undefined || oldMode === undefined ? undefined : { program: before, mode: oldMode };

  undo.push(`XDP of ${device.name}`, () => {
    const link = linkByIndex(route, device.index);
    if (link === undefined) return;
    const now = xdpPrograms(link);
    const [ours] = now.find(([, id]) => id === progId) ?? [];
    if (old !== undefined && ours === old.mode) {
      attachXdp(old.program, device.index, { sys, mode: old.mode, replace: program });
      return;
    }
    if (ours !== undefined) detachXdp(device.index, progId, { sys });
    const isBack = now.some(([, id]) => id === oldId);
    if (old !== undefined && !isBack) attachXdp(old.program, device.index, { sys, mode: old.mode });
  });
  if (old === undefined) return attachXdp(program, device.index, { sys, mode });
  const wanted = mode === "auto" ? old.mode : mode;
  if (wanted === old.mode) {
    return attachXdp(program, device.index, { sys, mode: wanted, replace: old.program });
  }
  // Native and generic cannot be swapped in one step: for a moment packets take the ordinary way.
  if (oldId !== undefined) detachXdp(device.index, oldId, { sys });
  return attachXdp(program, device.index, { sys, mode: wanted });
}
