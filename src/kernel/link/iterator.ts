import { closeSync, openSync } from "node:fs";
import { TsbpfError } from "../../base/error.ts";
import { LITTLE_ENDIAN } from "../../base/host.ts";
import { iterCreate, linkCreate } from "../../syscall/bpf-link.ts";
import { check } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import {
  BPF_CGROUP_ITER_ANCESTORS_UP,
  BPF_CGROUP_ITER_DESCENDANTS_POST,
  BPF_CGROUP_ITER_DESCENDANTS_PRE,
  BPF_CGROUP_ITER_SELF_ONLY,
  BPF_TRACE_ITER,
} from "../../uapi/bpf.ts";
import type { KernelOptions } from "../map.ts";
import type { BpfProgram } from "../program.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";

/** What an iterator walks, where it can be told; which of them its kind takes, the program's target says. */
export interface IteratorTarget {
  /** `bpf_map_elem` and its kin: the map, which must stay open until then. */
  readonly map?: { readonly fd: number };
  /** `cgroup`: the directory to start from, and which way to go. */
  readonly cgroup?: { readonly path: string; readonly order: CgroupOrder };
  /** `task`, `task_file`, `task_vma`: only this thread, or the threads of this process (kernel 6.1). */
  readonly tid?: number;
  readonly pid?: number;
}

/** Which cgroups to walk: the one, it and those below (parents first or children first), or it and those above. */
export type CgroupOrder = "self" | "descendants_pre" | "descendants_post" | "ancestors_up";

/** An attached iterator: it runs when it is read. */
export interface IteratorLink extends Link {
  /**
   * Walks once, and gives all that the program wrote with `bpf_seq_write` and `bpf_seq_printf`.
   *
   * @throws SyscallError: E2BIG where the program writes more for one object than the kernel's buffer holds.
   */
  read(): Uint8Array;
}

/**
 * Attaches an iterator (kernel 5.8): a program of type `tracing` with the attach type `trace_iter`, loaded for what it walks
 * (`attachTo: "task"`). It runs once for every object when the link is read, and once more at the end with a null pointer.
 * Pinned, the link is a file that anybody with the right to may `cat`.
 *
 * @throws TsbpfError: EBADF or EINVAL where the iterator needs a map or a cgroup, or none.
 * @example
 * ```ts
 * using tasks = attachIterator(prog);
 * console.log(new TextDecoder().decode(tasks.read()));
 * ```
 */
export function attachIterator(
  program: BpfProgram,
  target: IteratorTarget = {},
  options: KernelOptions = {},
): IteratorLink {
  const { sys = linuxSyscalls() } = options;
  const cgroup = target.cgroup === undefined ? undefined : openSync(target.cgroup.path, "r");
  try {
    const info = encodeIteratorTarget(target, cgroup);
    return attempt(
      {
        what: `attach iterator '${program.name}'`,
        feature: { feature: "iterators", since: "5.8" },
        hints: {
          EBADF: "This iterator walks the elements of a map: give it one.",
          EINVAL: "It takes a program with the attach type trace_iter, and a target that fits what it walks.",
          ESRCH: "There is no such task.",
        },
      },
      () => {
        const a = { prog_fd: program.fd, attach_type: BPF_TRACE_ITER };
        const fd = linkCreate(sys, info === undefined ? a : { ...a, iter: { iter_info: info } });
        const link = BpfLink.own(sys, fd, `link of iterator '${program.name}'`);
        return Object.assign(link, { read: () => readIterator(sys, link.fd) });
      },
    );
  } finally {
    if (cgroup !== undefined) closeSync(cgroup);
  }
}

/** `union bpf_iter_link_info`; `undefined` for an iterator that walks everything. */
export function encodeIteratorTarget(
  { map, cgroup, tid, pid }: IteratorTarget,
  cgroupFd: number | undefined,
): Uint8Array | undefined {
  const given = [map, cgroup, tid, pid].filter((part) => part !== undefined);
  if (given.length > 1) throw new TsbpfError("an iterator takes one of map, cgroup, tid and pid");
  if (given.length === 0) return undefined;
  const words = new DataView(new ArrayBuffer(16));
  const set = (offset: number, value: number): void => words.setUint32(offset, value, LITTLE_ENDIAN);
  if (map !== undefined) set(0, map.fd); // struct { __u32 map_fd; }
  if (cgroup !== undefined) {
    set(0, CGROUP_ORDER[cgroup.order]); // struct { enum order; __u32 cgroup_fd; __u64 cgroup_id; }
    set(4, cgroupFd ?? 0);
  }
  if (tid !== undefined) set(0, tid); // struct { __u32 tid; __u32 pid; __u32 pid_fd; }
  if (pid !== undefined) set(4, pid);
  return new Uint8Array(words.buffer);
}

const CGROUP_ORDER: Readonly<Record<CgroupOrder, number>> = {
  self: BPF_CGROUP_ITER_SELF_ONLY,
  descendants_pre: BPF_CGROUP_ITER_DESCENDANTS_PRE,
  descendants_post: BPF_CGROUP_ITER_DESCENDANTS_POST,
  ancestors_up: BPF_CGROUP_ITER_ANCESTORS_UP,
};

function readIterator(sys: Syscalls, linkFd: number): Uint8Array {
  using fd = Fd.own(sys, iterCreate(sys, linkFd), "iterator");
  let bytes = new Uint8Array(0x1_0000);
  for (let length = 0; ; ) {
    const read = check(sys.read(fd.number, bytes.subarray(length)), "read(iterator)");
    if (read === 0) return bytes.slice(0, length);
    length += read;
    if (length < bytes.length) continue;
    const larger = new Uint8Array(bytes.length * 2);
    larger.set(bytes);
    bytes = larger;
  }
}
