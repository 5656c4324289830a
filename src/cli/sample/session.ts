import type { Metadata } from "../../kernel/metadata.ts";
import { readMetadata } from "../../kernel/metadata.ts";
import { BpfProgram } from "../../kernel/program.ts";
import type { TcAttachment, TcBackendName } from "../../kernel/tc/hook.ts";
import { listTc } from "../../kernel/tc/list.ts";
import type { XdpMode } from "../../kernel/xdp.ts";
import type { NetlinkSocket } from "../../syscall/netlink.ts";
import { type Link, listLinks } from "../../syscall/rtnetlink.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";

// One `up` of one interface is a session. Every program of it carries the same metadata map, whose id is the session's:
// the kernel itself is the record of what is ours, so it is found again from any process and any mount namespace, also
// when the pins are out of sight, and it cannot disagree with what is really attached.

/** Value of the metadata's `owner` that makes a program ours. */
export const OWNER = "tsbpf";

/** What one `up` of one interface left in the kernel. */
export interface Session {
  /** Id of the metadata map that its programs share. */
  readonly id: number;
  readonly facts: SessionFacts;
  /** Interface name and index now (it may have been renamed since); `undefined` where it has gone. */
  readonly device: Link | undefined;
  readonly xdp: AttachedXdp | undefined;
  readonly tc: readonly AttachedTc[];
}

/** What a session's programs tell about it. */
export interface SessionFacts {
  readonly interface: string;
  readonly ifindex: number;
  /** How the TC programs were attached. */
  readonly tcBackend: TcBackendName | "off";
  /** CPUs that got an entry in the CPU map, as `0-3,5`. */
  readonly cpus: string;
  readonly qsize: number;
  /** Interfaces whose clsact qdisc the session made. */
  readonly madeClsact: readonly number[];
}

/** An XDP program of ours on an interface. */
export interface AttachedXdp {
  readonly ifindex: number;
  readonly mode: XdpMode;
  readonly program: ProgramFacts;
}

/** A TC program of ours on an interface. */
export interface AttachedTc extends TcAttachment {
  readonly program: ProgramFacts;
}

/** What is worth knowing about a program. */
export interface ProgramFacts {
  readonly id: number;
  readonly name: string;
  readonly tag: string;
  readonly mapIds: readonly number[];
}

/** The facts as metadata, for {@link createMetadata}. */
export function encodeFacts(facts: SessionFacts): Metadata {
  return {
    owner: OWNER,
    interface: facts.interface,
    ifindex: facts.ifindex,
    tc_backend: facts.tcBackend,
    cpus: facts.cpus,
    qsize: facts.qsize,
    made_clsact: facts.madeClsact.join(","),
  };
}

/** Finds our sessions in the current network namespace, from what is attached to its interfaces. Takes root. */
export function findSessions(sys: Syscalls, route: NetlinkSocket): readonly Session[] {
  const links = listLinks(route);
  const sessions = new Map<number, { facts: SessionFacts; xdp: AttachedXdp | undefined; tc: AttachedTc[] }>();
  const programs = createProgramReader(sys);

  for (const link of links) {
    for (const [mode, id] of xdpPrograms(link)) {
      const session = sessionOf(id);
      if (session !== undefined)
        session.xdp = { ifindex: link.index, mode, program: programs.read(id).facts };
    }
    for (const attachment of listTc(sys, route, link.index)) {
      const session = sessionOf(attachment.progId);
      session?.tc.push({ ...attachment, program: programs.read(attachment.progId).facts });
    }
  }
  return [...sessions].map(([id, { facts, xdp, tc }]) => {
    const device = links.find((link) => link.index === facts.ifindex);
    return { id, facts, device, xdp, tc };
  });

  function sessionOf(progId: number) {
    const { session } = programs.read(progId);
    if (session === undefined) return undefined;
    let known = sessions.get(session.id);
    if (known === undefined) {
      known = { facts: session.facts, xdp: undefined, tc: [] };
      sessions.set(session.id, known);
    }
    return known;
  }
}

/**
 * What we have on an interface, as one session: an `up` that was killed half-way leaves parts of two.
 *
 * @returns `undefined` where there is nothing.
 */
export function sessionOn(sessions: readonly Session[], ifindex: number): Session | undefined {
  const here = sessions.filter(({ facts }) => facts.ifindex === ifindex);
  const main = here.find(({ xdp }) => xdp !== undefined) ?? here[0];
  if (main === undefined) return undefined;
  const madeClsact = [...new Set(here.flatMap(({ facts }) => facts.madeClsact))];
  return { ...main, facts: { ...main.facts, madeClsact }, tc: here.flatMap(({ tc }) => tc) };
}

/** The XDP programs of an interface with the mode that they run in. */
export function xdpPrograms({ xdp }: Link): readonly (readonly [XdpMode, number])[] {
  const programs: (readonly [XdpMode, number])[] = [];
  if (xdp.nativeProgId !== undefined) programs.push(["native", xdp.nativeProgId]);
  if (xdp.genericProgId !== undefined) programs.push(["generic", xdp.genericProgId]);
  return programs;
}

interface ReadProgram {
  readonly facts: ProgramFacts;
  /** The session that it belongs to; `undefined` where it is somebody else's. */
  readonly session: { readonly id: number; readonly facts: SessionFacts } | undefined;
}

/** Reads each program once. */
function createProgramReader(sys: Syscalls): { read(id: number): ReadProgram } {
  const known = new Map<number, ReadProgram>();
  return {
    read(id) {
      let program = known.get(id);
      if (program === undefined) {
        program = readProgram(sys, id);
        known.set(id, program);
      }
      return program;
    },
  };
}

function readProgram(sys: Syscalls, id: number): ReadProgram {
  using program = BpfProgram.fromId(id, { sys });
  if (program === undefined) return { facts: { id, name: "", tag: "", mapIds: [] }, session: undefined };
  const { name, tag, mapIds } = program.info();
  const facts = { id, name, tag, mapIds };
  for (const mapId of mapIds) {
    const metadata = readMetadata(sys, mapId);
    if (metadata?.["owner"] === OWNER) return { facts, session: { id: mapId, facts: decodeFacts(metadata) } };
  }
  return { facts, session: undefined };
}

function decodeFacts(metadata: Metadata): SessionFacts {
  return {
    interface: String(metadata["interface"] ?? ""),
    ifindex: Number(metadata["ifindex"] ?? 0),
    tcBackend: String(metadata["tc_backend"] ?? "off") as SessionFacts["tcBackend"],
    cpus: String(metadata["cpus"] ?? ""),
    qsize: Number(metadata["qsize"] ?? 0),
    madeClsact: String(metadata["made_clsact"] ?? "")
      .split(",")
      .filter(Boolean)
      .map(Number),
  };
}
