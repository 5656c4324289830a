import { progGetFdById } from "../../syscall/bpf-object.ts";
import { Fd } from "../../syscall/fd.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { bpf_prog_type } from "../../uapi/bpf.ts";
import { readProgramInfo } from "../object-info.ts";

/** A program in a listing. */
export interface ProgramSummary {
  readonly id: number;
  /** Empty where it has none, or is gone meanwhile. */
  readonly name: string;
  /** In the spelling of programs: `xdp`, `sched_cls`; empty where it is gone meanwhile. */
  readonly type: string;
}

/** Looks programs up by their id, each once. Needs CAP_SYS_ADMIN. */
export function createProgramNames(sys: Syscalls): (id: number) => ProgramSummary {
  const known = new Map<number, ProgramSummary>();
  return (id) => {
    const found = known.get(id) ?? read(sys, id);
    known.set(id, found);
    return found;
  };
}

function read(sys: Syscalls, id: number): ProgramSummary {
  const number = progGetFdById(sys, id);
  if (number === undefined) return { id, name: "", type: "" };
  using fd = Fd.own(sys, number, `program ${id}`);
  const { name, type } = readProgramInfo(sys, fd.number);
  return { id, name, type: progTypeName(type) };
}

function progTypeName(number: number): string {
  const found = Object.entries(bpf_prog_type).find(([, value]) => value === number);
  return found === undefined ? String(number) : found[0].slice("BPF_PROG_TYPE_".length).toLowerCase();
}
