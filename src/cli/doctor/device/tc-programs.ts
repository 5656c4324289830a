import { BpfProgram } from "../../../kernel/program.ts";
import type { TcAttachment } from "../../../kernel/tc/hook.ts";
import { listTc } from "../../../kernel/tc/list.ts";
import { findSessions } from "../../sample/session.ts";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";
import type { Target } from "../target.ts";

/** The programs on an interface's TC hooks, in the order they run. */
export interface TcFacts {
  readonly name: string;
  readonly programs: Reading<readonly TcProgramFacts[]>;
}

/** A program on a TC hook. */
export interface TcProgramFacts extends Pick<TcAttachment, "hook" | "list" | "progId" | "linkId"> {
  readonly name: string;
  /** Whether an `up` of ours put it there. */
  readonly ours: boolean;
}

/** Lists them. */
export function readTc({ sys, route, link }: Target): TcFacts {
  const programs = read(() => {
    const attached = listTc(sys, route, link.index);
    if (attached.length === 0) return [];
    const sessions = findSessions(sys, route);
    return attached.map(({ hook, list, progId, linkId }) => {
      using program = BpfProgram.fromId(progId, { sys });
      const ours = sessions.some(({ tc }) =>
        tc.some((one) => one.ifindex === link.index && one.progId === progId),
      );
      return { hook, list, progId, name: program?.name ?? "", ours, ...(linkId ? { linkId } : {}) };
    });
  });
  return { name: link.name, programs };
}

/** Tells who is there; many programs fit, so nobody is in the way. */
export function checkTc({ name, programs }: TcFacts): readonly Finding[] {
  const check = "tc";
  if ("unknown" in programs) return [notKnown(check, `the TC programs of ${name}`, programs.unknown)];
  if (programs.value.length === 0)
    return [{ level: "ok", check, what: `no TC program is attached to ${name}` }];
  return programs.value.map(({ hook, list, progId, linkId, name: program, ours }) => {
    const what = `'${program}' (id ${progId}, ${list}${linkId === undefined ? "" : `, bpf_link ${linkId}`})`;
    if (ours)
      return { level: "ok", check, what: `our own TC ${hook} program is attached to ${name}: ${what}` };
    return {
      level: "info",
      check,
      what: `somebody else's TC ${hook} program is attached to ${name}: ${what}`,
      fix: "Ours runs as well, unless one that runs before it decides the packet's fate. TCX runs before clsact.",
    };
  });
}
