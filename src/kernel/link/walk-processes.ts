import { readdirSync, readlinkSync } from "node:fs";
import { type TaskFdQueryResult, taskFdQuery } from "../../syscall/bpf-object.ts";
import { SyscallError } from "../../syscall/errno.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import type { Attached } from "./attachments.ts";
import type { LinkInfo, PerfEventLinkInfo } from "./info.ts";

/** Finds the programs that processes have attached to perf events without a link, as before kernel 5.15. */
export function walkProcesses(
  sys: Syscalls,
  links: readonly LinkInfo[],
): Omit<Attached, "where" | "program">[] {
  const found: Omit<Attached, "where" | "program">[] = [];
  for (const [pid, fd] of perfEvents()) {
    const info = query(sys, pid, fd);
    // A link holds its event; who made it may hold the event, too.
    if (info === undefined || links.some((link) => isSame(link, info))) continue;
    found.push({ info, pid });
  }
  return found;
}

function* perfEvents(): Generator<readonly [pid: number, fd: number]> {
  for (const pid of list("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of list(`/proc/${pid}/fd`)) {
      if (linkTarget(`/proc/${pid}/fd/${fd}`) === "anon_inode:[perf_event]") yield [Number(pid), Number(fd)];
    }
  }
}

function query(sys: Syscalls, pid: number, fd: number): PerfEventLinkInfo | undefined {
  try {
    const result = taskFdQuery(sys, pid, fd);
    return { kind: "perf_event", id: undefined, progId: result.prog_id, event: eventOf(result) };
  } catch (error) {
    // ENOTSUPP and EOPNOTSUPP: a counter, or an event without a program. ENOENT, EBADF: gone meanwhile.
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

function eventOf({ fd_type, name, probe_addr, probe_offset }: TaskFdQueryResult): PerfEventLinkInfo["event"] {
  const type = FD_TYPES[fd_type];
  switch (type) {
    case "tracepoint":
      return { type, name, cookie: 0n };
    case "uprobe":
    case "uretprobe":
      return { type, path: name, offset: Number(probe_offset), cookie: 0n };
    case "kprobe":
    case "kretprobe":
      return {
        type,
        function: name,
        offset: Number(probe_offset),
        address: probe_addr,
        missed: 0n,
        cookie: 0n,
      };
    default:
      return undefined;
  }
}

/** `enum bpf_task_fd_type`, but for the first, which is no perf event. */
const FD_TYPES = [undefined, "tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe"] as const;

function isSame(link: LinkInfo, { progId, event }: PerfEventLinkInfo): boolean {
  return link.kind === "perf_event" && link.progId === progId && link.event?.type === event?.type;
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // the process has ended, or is not ours to look at
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
