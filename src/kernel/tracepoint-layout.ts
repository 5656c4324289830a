import { LITTLE_ENDIAN } from "../base/host.ts";
import { suggest } from "../base/suggest.ts";
import { type DataLocLayout, relativeDataLoc } from "../btf/layout/data-loc.ts";
import { LayoutError } from "../btf/layout/error.ts";
import { checkRecord } from "../btf/layout/field.ts";
import type { Layout } from "../btf/layout/layout.ts";
import { isBitField, type Members, memberLayout } from "../btf/layout/member.ts";
import type { Placed } from "../btf/layout/place.ts";
import { type StructLayout, structAt } from "../btf/layout/struct.ts";
import { readTracepointFile } from "./tracepoint-files.ts";

/**
 * The record of a tracepoint of the running kernel, as its `format` in tracefs describes it: for `tracepoint` of `tsbpf/lang`.
 * With the fields that you name, each where this kernel has it. What they are is declared, and compared. Texts of no fixed
 * length (`__data_loc`) are declared as `dataLoc`; the arguments of system calls, which have 64 bits each, as what they are.
 *
 * @param tracepoint - group and name: `sched:sched_process_exec`.
 * @throws TsbpfError where there is no such tracepoint, or no tracefs to look it up in; LayoutError for a field that the record
 * does not have, or has as something else.
 * @example
 * ```ts
 * const Exec = tracepointLayout("sched:sched_process_exec", { filename: dataLoc, old_pid: s32 });
 * const Open = tracepointLayout("syscalls:sys_enter_openat", { dfd: s32, filename: u64, flags: u32 });
 * ```
 */
export function tracepointLayout<M extends Members>(tracepoint: string, members: M): StructLayout<string, M> {
  return layoutOfFormat(tracepoint, readTracepointFile(tracepoint, "format"), members);
}

/** A field of a tracepoint's record, as its `format` says. */
export interface FormatField {
  readonly name: string;
  /** The declaration, without the name: `char[16]`, `__data_loc char[]`. */
  readonly type: string;
  /** Bytes. */
  readonly offset: number;
  readonly size: number;
}

/** The fields of a `format` file of tracefs. */
export function parseFormat(text: string): readonly FormatField[] {
  const lines = text.matchAll(/^\s*field:(.*?);\s*offset:(\d+);\s*size:(\d+);/gm);
  return [...lines].map(([, declaration = "", offset, size]) => {
    const [, before = "", name = "", length = ""] = /^(.*?)(\w+)((?:\[[^\]]*\])*)$/.exec(declaration) ?? [];
    return { name, type: `${before.trim()}${length}`, offset: Number(offset), size: Number(size) };
  });
}

/** {@link tracepointLayout} of a `format` file's text. */
export function layoutOfFormat<M extends Members>(
  tracepoint: string,
  format: string,
  members: M,
): StructLayout<string, M> {
  const name = tracepoint.replace(/^.*:/, "");
  const known = parseFormat(format);
  const placed = checkRecord("struct", name, members, {}).map(([memberName, member]): Placed => {
    const field = known.find((candidate) => candidate.name === memberName);
    if (field === undefined) {
      const own = known.filter((one) => !one.name.startsWith("common_")).map((one) => one.name);
      throw new LayoutError(name, `it has no field '${memberName}'`, {
        hint: suggest(memberName, own) ?? `It has ${own.join(", ")}.`,
      });
    }
    if (isBitField(member)) {
      throw new LayoutError(`${name}.${memberName}`, "fields of tracepoints are no bit fields");
    }
    const layout = placedLayout(`${name}.${memberName}`, memberLayout(member), field);
    const isShort = !LITTLE_ENDIAN && !HAS_LENGTH.has(layout.kind);
    const offset = field.offset + (isShort ? field.size - layout.size : 0);
    return { name: memberName, member: layout, bitOffset: offset * 8, bitSize: layout.size * 8 };
  });
  const size = Math.max(...known.map((field) => field.offset + field.size));
  const declared = Object.fromEntries(placed.map(({ name, member }) => [name, member])) as unknown as M;
  return structAt(name, declared, { size: Math.ceil(size / 8) * 8, align: 8, placed });
}

/** Layouts that may be shorter than what they are a part of, which begins with them. */
const HAS_LENGTH: ReadonlySet<string> = new Set(["array", "bytes", "text"]);

function placedLayout(path: string, layout: Layout, { type, size }: FormatField): Layout {
  const located = /^__(data|rel)_loc\b/.exec(type);
  if (located !== null) {
    if (layout.kind !== "data_loc") {
      throw new LayoutError(path, `it is ${type}, which says where the data is`, {
        hint: "Declare it as dataLoc.",
      });
    }
    return located[1] === "rel" ? relativeDataLoc : (layout as DataLocLayout);
  }
  // An argument of a system call takes 8 bytes, whatever its type.
  const fits = HAS_LENGTH.has(layout.kind) || size === 8 ? layout.size <= size : layout.size === size;
  if (layout.kind === "data_loc" || !fits) {
    throw new LayoutError(
      path,
      `it is ${type} of ${size} bytes, and is declared as ${layout.cName} of ${layout.size}`,
    );
  }
  return layout;
}
