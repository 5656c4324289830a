import type { Program } from "../../asm/program.ts";
import { TsbpfError } from "../../base/error.ts";
import { formatCpuList, readCpus } from "../../kernel/cpus.ts";
import { BpfMap } from "../../kernel/map.ts";
import { createMetadata } from "../../kernel/metadata.ts";
import { BpfProgram } from "../../kernel/program.ts";
import { chooseTcBackend } from "../../kernel/tc/choose.ts";
import type { Device, TcAttachment, TcBackendName } from "../../kernel/tc/hook.ts";
import type { XdpAttachment, XdpMode } from "../../kernel/xdp.ts";
import { cpuMapDef } from "../../programs/cpu-map.ts";
import { tcEgress, tcIngress } from "../../programs/tc-log-cpu.ts";
import { xdpOnTargetCpu } from "../../programs/xdp-on-target-cpu.ts";
import { xdpSameCpu } from "../../programs/xdp-same-cpu.ts";
import { SyscallError } from "../../syscall/errno.ts";
import type { Link } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { hasClsact } from "../../syscall/tc-netlink.ts";
import { draftPins } from "./pins.ts";
import { type PlaceContext, placeTc, placeXdp, removeLeftovers } from "./place.ts";
import { encodeFacts, OWNER, type Session, xdpPrograms } from "./session.ts";
import { chooseXdpMode } from "./xdp-mode.ts";

/** What to put on an interface. */
export interface DeployOptions {
  readonly device: Link;
  /** CPUs that get an entry; ascending. */
  readonly cpus: readonly number[];
  /** Packets that the queue to each of them holds. */
  readonly qsize: number;
  readonly xdpMode: XdpMode | "auto";
  readonly tc: TcBackendName | "auto" | "off";
  /** Whether the programs print a line for each packet. */
  readonly trace: boolean;
  /** What becomes of a packet on a core without an entry. */
  readonly missing: "pass" | "drop";
  /** Whether a second XDP program runs on the target core. */
  readonly targetProgram: boolean;
  /** Interface that TC ingress sends every packet out of. */
  readonly redirectTo: Link | undefined;
  /** Whether somebody else's XDP program may be replaced. */
  readonly force: boolean;
  /** Where to pin; `undefined` pins nothing. */
  readonly pins: string | undefined;
}

/** What was put on an interface. */
export interface Deployed {
  readonly device: Device;
  readonly sessionId: number;
  readonly cpuMapId: number;
  readonly cpus: readonly number[];
  readonly qsize: number;
  readonly xdp: { readonly progId: number; readonly mode: XdpMode; readonly fallback: string | undefined };
  readonly tc: readonly TcAttachment[];
  /** How TC was attached, and why so; `undefined` where it is off. */
  readonly tcBackend: { readonly name: TcBackendName; readonly reason: string } | undefined;
  /** What was there before: our own session, or somebody else's program (by id). */
  readonly replaced: { readonly session?: number; readonly foreign?: number };
  readonly pins: string | undefined;
  /** What works, and will disappoint. */
  readonly warnings: readonly string[];
  /**
   * Publishes the pins and removes what is left of the previous session: the last that can fail, and taken back by the undo
   * stack like the rest. For when everything is attached, on this interface and on the others of the same `up`.
   */
  finish(): void;
}

/** What {@link deploy} works with. */
export interface DeployContext extends PlaceContext {
  /** Interfaces whose clsact qdisc is there because of us, in any session; those made now are added. */
  readonly madeClsact: Set<number>;
}

/**
 * Puts the sample on an interface: creates the CPU map and fills it, loads the programs, attaches TC and then XDP. What a
 * previous `up` attached is replaced in place, without a moment in which a packet meets neither.
 *
 * The caller holds the lock of the network namespace, and rolls `undo` back when this throws.
 *
 * @throws TsbpfError for every refusal, in the kernel's words.
 */
export function deploy(options: DeployOptions, context: DeployContext): Deployed {
  const { device, cpus, qsize } = options;
  const { sys, route, undo, previous } = context;
  const foreign = checkXdpSlot(sys, options, previous);
  const choice = chooseXdpMode(sys, route, device, options.xdpMode);

  const def = cpuMapDef(readCpus().possible.length);
  const { trace, missing, redirectTo } = options;
  using cpuMap = BpfMap.create(def, { sys });
  // Taking back what is attached needs the programs open, so the undo stack holds them.
  const load = (program: Program): BpfProgram => undo.keep(BpfProgram.load(program, { sys, maps: [cpuMap] }));
  const { xdp, frags } = withFragsElseWithout(choice.frags, (frags) =>
    load(xdpSameCpu(def, { trace, missing, frags })),
  );
  const target = options.targetProgram ? load(xdpOnTargetCpu({ frags })) : undefined;
  const ingress =
    options.tc === "off" ? undefined : load(tcIngress({ trace, redirectTo: redirectTo?.index }));
  const egress = options.tc === "off" ? undefined : load(tcEgress({ trace }));
  const programs = [xdp, target, ingress, egress].filter((program) => program !== undefined);

  const drafts =
    options.pins === undefined
      ? undefined
      : draftPins(options.pins, {
          cpu_map: cpuMap,
          ...Object.fromEntries(programs.map((program) => [program.name, program])),
        });
  if (drafts !== undefined) {
    undo.push("pins", () => drafts.discard());
    undo.last(() => drafts.settle());
  }
  const pinPath = drafts === undefined ? undefined : (name: string) => `${drafts.path}/${name}`;
  const chosen = options.tc === "off" ? undefined : chooseTcBackend(options.tc, { sys, route, pinPath });

  const facts = {
    interface: device.name,
    ifindex: device.index,
    tcBackend: chosen?.backend.name ?? "off",
    cpus: formatCpuList(cpus),
    qsize,
    madeClsact: chosen?.backend.name === "clsact" ? clsactToMake(options, context) : [],
  } as const;
  using metadata = createMetadata(sys, OWNER, encodeFacts(facts));
  for (const program of programs) metadata.bind(program);

  // The entries before the attachment: a packet for a core without an entry would take the other way.
  for (const cpu of cpus) cpuMap.set(cpu, { qsize, prog: target?.fd ?? 0 });

  const tc: TcAttachment[] = [];
  if (chosen !== undefined && ingress !== undefined && egress !== undefined) {
    tc.push(placeTc(context, chosen.backend, ingress, device, "ingress"));
    tc.push(placeTc(context, chosen.backend, egress, device, "egress"));
    if (redirectTo !== undefined && redirectTo.index !== device.index) {
      tc.push(placeTc(context, chosen.backend, egress, redirectTo, "egress"));
    }
  }
  const attached = placeXdp({ device, mode: choice.mode, foreign }, context, xdp);
  return {
    finish() {
      drafts?.publish();
      removeLeftovers(context, tc);
    },
    device: { ifindex: device.index, name: device.name },
    sessionId: metadata.id,
    cpuMapId: cpuMap.info().id,
    cpus,
    qsize,
    xdp: {
      progId: attached.progId,
      mode: attached.mode,
      fallback: choice.reason ?? fallbackReason(attached),
    },
    tc,
    tcBackend: chosen === undefined ? undefined : { name: chosen.backend.name, reason: chosen.reason },
    replaced: {
      ...(previous === undefined ? {} : { session: previous.id }),
      ...(foreign === undefined ? {} : { foreign }),
    },
    pins: options.pins,
    warnings: choice.warning === undefined ? [] : [choice.warning],
  };
}

/**
 * Looks whether XDP of the interface is free, or holds our own program.
 *
 * @returns the id of somebody else's program, where it may be replaced.
 * @throws TsbpfError where it may not.
 */
export function checkXdpSlot(
  sys: Syscalls,
  { device, force }: Pick<DeployOptions, "device" | "force">,
  previous: Session | undefined,
): number | undefined {
  const foreign = xdpPrograms(device).find(([, id]) => id !== previous?.xdp?.program.id);
  if (foreign === undefined) return undefined;
  const [mode, id] = foreign;
  if (force) return id;
  using program = BpfProgram.fromId(id, { sys });
  throw new TsbpfError(
    `${device.name} already has an XDP program that is not ours: '${program?.name ?? "?"}' (id ${id}, ${mode})`,
    {
      // `xdp off` alone means native where the driver has it, and does nothing to a generic program there.
      hint: `Detach it (ip link set dev ${device.name} ${mode === "native" ? "xdpdrv" : "xdpgeneric"} off), or replace it for good with --force.`,
    },
  );
}

/** The interfaces of this session that have, or will have, a clsact qdisc only because of us. */
function clsactToMake({ device, redirectTo }: DeployOptions, { route, madeClsact }: DeployContext): number[] {
  const indexes = new Set([device.index, redirectTo?.index ?? device.index]);
  const made = [...indexes].filter((index) => madeClsact.has(index) || !hasClsact(route, index));
  for (const index of made) madeClsact.add(index);
  return made;
}

/**
 * Loads the XDP program that takes packets of several buffers, or the one that does not: kernels before 5.18 do not know
 * them, and there the driver says whether the MTU is too large.
 */
function withFragsElseWithout(
  wanted: boolean,
  load: (frags: boolean) => BpfProgram,
): { readonly xdp: BpfProgram; readonly frags: boolean } {
  try {
    return { xdp: load(wanted), frags: wanted };
  } catch (error) {
    if (!wanted || !(error instanceof SyscallError) || error.code !== "EINVAL") throw error;
    return { xdp: load(false), frags: false };
  }
}

/** Why the kernel did not take native mode. */
function fallbackReason({ fallback }: XdpAttachment): string | undefined {
  return fallback === undefined ? undefined : `the kernel refused native mode: ${fallback}`;
}
