import { LITTLE_ENDIAN } from "../../../base/host.ts";
import { BpfProgram } from "../../../kernel/program.ts";
import { linkGetFdById, linkGetNextId, objGetInfoByFd } from "../../../syscall/bpf-object.ts";
import { Fd } from "../../../syscall/fd.ts";
import type { Syscalls } from "../../../syscall/syscalls.ts";
import { BPF_LINK_TYPE_XDP } from "../../../uapi/bpf.ts";
import { bpf_link_info } from "../../../uapi/structs.ts";
import { findSessions } from "../../sample/session.ts";
import { type Finding, type Reading, read } from "../finding.ts";
import { command, type Target } from "../target.ts";

/** The XDP programs of an interface. */
export interface XdpSlotFacts extends Pick<Target, "enter"> {
  readonly name: string;
  readonly programs: readonly XdpProgramFacts[];
}

/** A program in an interface's XDP hook. */
export interface XdpProgramFacts {
  readonly id: number;
  readonly mode: "native" | "generic" | "hardware";
  /** What takes privileges to find out. */
  readonly details: Reading<{
    readonly name: string;
    /** Whether an `up` of ours put it there. */
    readonly ours: boolean;
    /** Id of the bpf_link that holds it; `undefined` where it was attached over netlink. */
    readonly linkId: number | undefined;
  }>;
}

/** Reads which programs are there. */
export function readXdpSlot({ sys, route, link, enter }: Target): XdpSlotFacts {
  const { nativeProgId, genericProgId, hardwareProgId } = link.xdp;
  const ids = [
    ["native", nativeProgId],
    ["generic", genericProgId],
    ["hardware", hardwareProgId],
  ] as const;
  const programs = ids.flatMap(([mode, id]) => {
    if (id === undefined) return [];
    const details = read(() => {
      using program = BpfProgram.fromId(id, { sys });
      const ours = findSessions(sys, route).some(({ xdp }) => xdp?.program.id === id);
      return { name: program?.name ?? "", ours, linkId: findXdpLink(sys, id) };
    });
    return [{ id, mode, details }];
  });
  return { name: link.name, programs, enter };
}

/** Judges them: only one program fits, so somebody else's is in the way. */
export function checkXdpSlot(facts: XdpSlotFacts): readonly Finding[] {
  const { name, programs } = facts;
  const check = "xdp";
  if (programs.length === 0) return [{ level: "ok", check, what: `no XDP program is attached to ${name}` }];
  return programs.map(({ id, mode, details }) => {
    if ("unknown" in details) {
      return {
        level: "warn",
        check,
        what: `an XDP program is attached to ${name} (id ${id}, ${mode}); whose it is could not be looked at (${details.unknown})`,
        fix: "Run doctor as root to find out. `up` replaces only its own.",
      };
    }
    const { name: program, ours, linkId } = details.value;
    const what = `'${program}' (id ${id}, ${mode})`;
    if (ours) return { level: "ok", check, what: `our own XDP program is attached to ${name}: ${what}` };
    if (linkId !== undefined) {
      return {
        level: "fail",
        check,
        what: `somebody else's XDP program holds ${name} through bpf_link ${linkId}: ${what}`,
        fix: `Only its owner can detach it: end the program that does, or its pin (bpftool link show id ${linkId}).`,
      };
    }
    const off = { native: "xdpdrv", generic: "xdpgeneric", hardware: "xdpoffload" }[mode];
    return {
      level: "fail",
      check,
      what: `somebody else's XDP program is attached to ${name}: ${what}`,
      fix: `Detach it (${command(facts, `ip link set dev ${name} ${off} off`)}), or replace it for good with up --force.`,
    };
  });
}

/** The bpf_link that attaches this program to XDP. */
function findXdpLink(sys: Syscalls, progId: number): number | undefined {
  for (let id = linkGetNextId(sys, 0); id !== undefined; id = linkGetNextId(sys, id)) {
    const number = linkGetFdById(sys, id);
    if (number === undefined) continue; // gone meanwhile
    using fd = Fd.own(sys, number, `link ${id}`);
    const info = new Uint8Array(bpf_link_info.size);
    objGetInfoByFd(sys, fd.number, info);
    const u32 = (offset: number): number => new DataView(info.buffer).getUint32(offset, LITTLE_ENDIAN);
    if (u32(bpf_link_info.type) === BPF_LINK_TYPE_XDP && u32(bpf_link_info.prog_id) === progId) return id;
  }
  return undefined;
}
