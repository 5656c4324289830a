import { readdirSync, readFileSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { suggest } from "../base/suggest.ts";
import { findFilesystem } from "./filesystems.ts";

/**
 * What tracefs tells about a tracepoint: its number, or the layout of its record.
 *
 * @param tracepoint - group and name: `sched:sched_switch`.
 * @throws TsbpfError where there is no such tracepoint (with one that is like it), or no tracefs to look it up in.
 */
export function readTracepointFile(tracepoint: string, file: "id" | "format"): string {
  const [, group, name] = /^([\w-]+):([\w-]+)$/.exec(tracepoint) ?? [];
  if (group === undefined || name === undefined) {
    throw new TsbpfError(`'${tracepoint}' is not the name of a tracepoint`, {
      hint: "Write group and name, as in sched:sched_switch.",
    });
  }
  const tracefs = findFilesystem("tracefs");
  if (tracefs === undefined) {
    const knows = file === "id" ? "knows its number" : "describes its record";
    throw new TsbpfError(`tracepoint ${tracepoint}: tracefs, which ${knows}, is not mounted`, {
      hint: "Mount it: mount -t tracefs tracefs /sys/kernel/tracing. Raw tracepoints do without.",
    });
  }
  try {
    return readFileSync(`${tracefs}/events/${group}/${name}/${file}`, "utf8");
  } catch (cause) {
    throw new TsbpfError(`no tracepoint ${tracepoint}`, {
      hint:
        similarTracepoint(`${tracefs}/events`, group, name) ??
        "`bpftrace -l 'tracepoint:*'` or tracefs lists them.",
      cause,
    });
  }
}

function similarTracepoint(events: string, group: string, name: string): string | undefined {
  const groups = entries(events);
  const home = groups.find((candidate) => entries(`${events}/${candidate}`).includes(name));
  if (home !== undefined) return `Did you mean '${home}:${name}'?`;
  return groups.includes(group) ? suggest(name, entries(`${events}/${group}`)) : suggest(group, groups);
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
