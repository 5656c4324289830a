import { readdirSync, readFileSync } from "node:fs";
import type { AttachTypeName } from "../../asm/program.ts";
import { progQuery } from "../../syscall/bpf-prog.ts";
import { SyscallError } from "../../syscall/errno.ts";
import type { Fd } from "../../syscall/fd.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { bpf_attach_type } from "../../uapi/bpf.ts";
import type { Attached } from "./attachments.ts";
import { cgroupId, openCgroup } from "./cgroup.ts";
import type { CgroupLinkInfo, LinkInfo } from "./info.ts";
import { attachTypeNumber } from "./names.ts";

/** The directories of cgroups by their id. */
export type CgroupNames = Map<bigint, string>;

/** Finds the programs of every cgroup, with the link where there is one, and the directories by id. */
export function walkCgroups(
  sys: Syscalls,
  links: ReadonlyMap<number | undefined, LinkInfo>,
  names: CgroupNames,
): Omit<Attached, "where" | "program">[] {
  const byPlace = groupLinks(links.values());
  const found: Omit<Attached, "where" | "program">[] = [];
  // A function of its own, since esbuild, which tsx uses, throws the error of one round again in the next one, where a
  // `using` stands in the same function as the loop and the catch.
  const visit = (path: string): void => {
    using cgroup = openCgroup(sys, path);
    const id = cgroupId(cgroup);
    if (names.has(id)) return; // the same file system is often mounted twice
    names.set(id, path);
    for (const info of programsOf(sys, cgroup, id, byPlace)) found.push({ info, cgroup: path });
  };
  for (const path of directories()) {
    try {
      visit(path);
    } catch (error) {
      // The cgroup was removed meanwhile.
      if (!(error instanceof SyscallError) || (error.code !== "ENOENT" && error.code !== "ENODEV"))
        throw error;
    }
  }
  return found;
}

const ATTACH_TYPES = Object.keys(bpf_attach_type)
  .map((name) => name.slice("BPF_".length).toLowerCase() as AttachTypeName)
  .filter((name) => name.startsWith("cgroup_"));

function* programsOf(
  sys: Syscalls,
  cgroup: Fd,
  id: bigint,
  byPlace: Map<string, CgroupLinkInfo[]>,
): Generator<CgroupLinkInfo> {
  for (const attachType of ATTACH_TYPES) {
    for (const progId of query(sys, cgroup, attachType)) {
      // Two links of one program at one place are the same to the eye: each is taken once.
      const link = byPlace.get(`${id} ${attachType} ${progId}`)?.shift();
      yield link ?? { kind: "cgroup", id: undefined, progId, cgroupId: id, attachType };
    }
  }
}

function query(sys: Syscalls, cgroup: Fd, attachType: AttachTypeName): readonly number[] {
  try {
    const { progs } = progQuery(sys, {
      target_fd: cgroup.number,
      attach_type: attachTypeNumber(attachType),
    });
    return progs.map(({ prog_id }) => prog_id);
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EINVAL") return []; // this kernel does not know it
    throw error;
  }
}

function groupLinks(links: Iterable<LinkInfo>): Map<string, CgroupLinkInfo[]> {
  const byPlace = new Map<string, CgroupLinkInfo[]>();
  for (const info of links) {
    if (info.kind !== "cgroup" || info.cgroupId === undefined) continue;
    const key = `${info.cgroupId} ${info.attachType} ${info.progId}`;
    byPlace.set(key, [...(byPlace.get(key) ?? []), info]);
  }
  return byPlace;
}

/** Every directory below the mounts of cgroup version 2. */
function* directories(): Generator<string> {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  for (const mount of mounts) {
    const [, path, type] = mount.split(" ");
    if (type === "cgroup2" && path !== undefined) yield* below(unescapeMount(path));
  }
}

function* below(path: string): Generator<string> {
  yield path;
  let children: string[];
  try {
    children = readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return; // removed meanwhile
  }
  for (const name of children) yield* below(`${path}/${name}`);
}

/** /proc/mounts writes blanks and the like as octal numbers. */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
