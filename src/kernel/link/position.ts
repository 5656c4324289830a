import { TsbpfError } from "../../base/error.ts";
import type { LinkPosition } from "../../syscall/bpf-link.ts";
import { BPF_F_AFTER, BPF_F_BEFORE, BPF_F_ID, BPF_F_LINK } from "../../uapi/bpf.ts";
import type { BpfProgram } from "../program.ts";
import type { Link } from "./link.ts";

/** A program that is in a list already: itself, its link, or either by its id or descriptor. */
export type Neighbour =
  | BpfProgram
  | Link
  | { readonly progId: number }
  | { readonly progFd: number }
  | { readonly linkId: number }
  | { readonly linkFd: number };

/**
 * Where a program goes in a list of several. Without any of it, behind all others.
 *
 * A program that was attached through a link is found by either; one that was attached without, by itself only.
 */
export interface Position {
  /** Before this one, or before all. */
  readonly before?: Neighbour | "all";
  /** Behind this one, or behind all. */
  readonly after?: Neighbour | "all";
  /** Do it only if the list is still the one that had this revision (`queryHook`): ESTALE otherwise. */
  readonly revision?: number | bigint;
}

/** The flags and the fields of `union bpf_attr` for a position. */
export function encodePosition({ before, after, revision }: Position): {
  readonly flags: number;
  readonly fields: LinkPosition;
} {
  if (typeof before === "object" && typeof after === "object") {
    throw new TsbpfError("a position has one neighbour: before or after, not both");
  }
  const side = (before === undefined ? 0 : BPF_F_BEFORE) | (after === undefined ? 0 : BPF_F_AFTER);
  const neighbour = typeof before === "object" ? before : typeof after === "object" ? after : undefined;
  const { flags, ...fields } = neighbour === undefined ? { flags: 0 } : encodeNeighbour(neighbour);
  return { flags: side | flags, fields: { ...fields, expected_revision: revision } };
}

/** What the errnos of lists mean. */
export const POSITION_HINTS: Readonly<Record<string, string>> = {
  ESTALE: "The list has changed since the revision that was asked for: look at it again (queryHook).",
  EEXIST: "The program is in the list already: update its link instead.",
  ENOENT:
    "The neighbour is not in the list. (One that was attached without a link is found by its program only.)",
  ERANGE: "The list has no such place: before and after contradict each other.",
  E2BIG: "The list is full: it takes 64 programs.",
};

function encodeNeighbour(neighbour: Neighbour): {
  readonly flags: number;
  readonly relative_fd?: number;
  readonly relative_id?: number;
} {
  if ("progId" in neighbour) return { flags: BPF_F_ID, relative_id: neighbour.progId };
  if ("progFd" in neighbour) return { flags: 0, relative_fd: neighbour.progFd };
  if ("linkId" in neighbour) return { flags: BPF_F_ID | BPF_F_LINK, relative_id: neighbour.linkId };
  if ("linkFd" in neighbour) return { flags: BPF_F_LINK, relative_fd: neighbour.linkFd };
  if (!("kind" in neighbour)) return { flags: 0, relative_fd: neighbour.fd };
  if (neighbour.id !== undefined) return { flags: BPF_F_ID | BPF_F_LINK, relative_id: neighbour.id };
  throw new TsbpfError(`a ${neighbour.kind} attachment without a bpf_link is no neighbour`, {
    hint: "Name its program instead.",
  });
}
