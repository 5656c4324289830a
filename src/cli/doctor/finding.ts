import { SyscallError } from "../../syscall/errno.ts";
import { NetlinkError } from "../../syscall/netlink.ts";
import { NetnsRestoreError } from "../../syscall/netns.ts";

/**
 * How good or bad a finding is: `ok`; `info`, worth knowing; `warn`, it works and may surprise; `fail`, it makes `up`
 * impossible.
 */
export type Level = "ok" | "info" | "warn" | "fail";

/** One thing that `doctor` looked at. */
export interface Finding {
  readonly level: Level;
  /** Which check it comes from; stable, for programs. */
  readonly check: string;
  /** What was found. */
  readonly what: string;
  /** What to do about it. */
  readonly fix?: string;
}

/** Something that was read, or the reason why it could not be. */
export type Reading<Value> = { readonly value: Value } | { readonly unknown: string };

/** Looks at something; a failure becomes the reason why it is not known. */
export function read<Value>(look: () => Value): Reading<Value> {
  try {
    return { value: look() };
  } catch (error) {
    refuseWrongNamespace(error);
    return { unknown: reasonOf(error) };
  }
}

/** The finding for something that could not be looked at. */
export function notKnown(check: string, what: string, reason: string): Finding {
  return { level: "info", check, what: `${what}: could not be looked at (${reason})` };
}

/** Runs a check; what it throws becomes a finding, so that one surprise does not hide the other checks. */
export function guard(check: string, examine: () => readonly Finding[]): readonly Finding[] {
  try {
    return examine();
  } catch (error) {
    refuseWrongNamespace(error);
    return [notKnown(check, check, reasonOf(error))];
  }
}

/** The one failure that is no finding: what would be looked at next would be in the wrong place. */
function refuseWrongNamespace(error: unknown): void {
  if (error instanceof NetnsRestoreError) throw error;
}

/** What went wrong in a few words: the details of a system call would say little here. */
function reasonOf(error: unknown): string {
  if (error instanceof SyscallError) return because(error.call, error.code);
  if (error instanceof NetlinkError) return because(error.request, error.code);
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}

function because(call: string, code: string): string {
  return code === "EPERM" || code === "EACCES"
    ? `it takes root: ${call} says ${code}`
    : `${call} says ${code}`;
}
