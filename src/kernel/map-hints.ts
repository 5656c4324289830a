import type { MapDef, MapTypeName } from "../asm/map-def.ts";
import { SyscallError } from "../syscall/errno.ts";

/**
 * Runs an update of a map; where the kernel refuses it, throws the same error with the reason in plain words, as far as the
 * map's type gives its errno a meaning of its own.
 */
export function explainUpdate(def: MapDef, update: () => void): void {
  try {
    update();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const { call, errno, args, hint = updateHint(def, error) } = error;
    throw new SyscallError(call, errno, { map: def.name, ...args }, { hint, cause: error });
  }
}

/** An error of another access to an element: to ENOTSUPP and its kin it adds what the type cannot do. */
export function explainAccess(def: MapDef, access: "read" | "delete" | "take", error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  const hint = accessHint(def.type, access, error.code);
  if (hint === undefined) return error;
  const { call, errno, args } = error;
  return new SyscallError(call, errno, { map: def.name, ...args }, { hint, cause: error });
}

function accessHint(type: MapTypeName, access: "read" | "delete" | "take", code: string): string | undefined {
  if (access === "read" && code === "ENOSPC" && (type === "sockmap" || type === "sockhash")) {
    return "It gives the cookies of its sockets, which have 64 bits: give it values of type u64.";
  }
  if (!["ENOTSUPP", "EOPNOTSUPP", "EINVAL"].includes(code)) return undefined;
  switch (access) {
    case "read":
      return `User space cannot read a map of type ${type}.`;
    case "take":
      return "To read and remove in one step came with kernel 5.14, for hash maps.";
    case "delete":
      return type === "array" || type === "percpu_array"
        ? "The entries of an array cannot go: set them to zero."
        : `User space cannot delete from a map of type ${type}.`;
  }
}

function updateHint(def: MapDef, { code }: SyscallError): string | undefined {
  if (def.type === "cpumap") return cpuMapHint(def, code);
  const special = OBJECT_HINTS[def.type]?.[code];
  if (special !== undefined) return special;
  if (code === "E2BIG" && (def.type === "queue" || def.type === "stack")) {
    return `The ${def.type} is full: it holds ${def.maxEntries} values. With BPF_EXIST it drops its oldest one for the new.`;
  }
  if (code === "E2BIG") {
    return HASHES.includes(def.type)
      ? `The map is full: it holds ${def.maxEntries} entries.`
      : `Its keys go from 0 to ${def.maxEntries - 1}.`;
  }
  if (code === "EEXIST") {
    return HASHES.includes(def.type)
      ? "BPF_NOEXIST was asked for, and the map has the key."
      : "BPF_NOEXIST was asked for, and every key of such a map exists from the start.";
  }
  if (code === "ENOENT") return "BPF_EXIST was asked for, and the map does not have the key.";
  if (code === "EPERM") return "The map is frozen, or was made read-only for system calls.";
  return undefined;
}

const NO_MAP_LIKE_IT =
  "Its values are maps that look like the inner definition: type, sizes, flags, and, but for hash maps, entries.";
const NO_PROGRAM =
  "Its values are programs, all of one type, which agree in attach type and in what the first of them used (frags, JIT).";
const NO_SOCKET =
  "It takes TCP sockets that are connected or listening, UDP sockets, and connected Unix sockets, by their descriptors.";

/** What the refusals of maps that hold other objects mean (their `map_fd_get_ptr` and `map_update_elem`). */
const OBJECT_HINTS: Partial<Record<MapTypeName, Readonly<Record<string, string>>>> = {
  array_of_maps: { EINVAL: NO_MAP_LIKE_IT, EBADF: "Its values are maps that are open." },
  hash_of_maps: { EINVAL: NO_MAP_LIKE_IT, EBADF: "Its values are maps that are open." },
  prog_array: { EINVAL: NO_PROGRAM, EBADF: "Its values are programs that are open." },
  perf_event_array: {
    EBADF: "Its values are perf events, by their descriptors.",
    EINVAL:
      "Its values are perf events that programs can read: not of a task that inherits them to its children.",
  },
  cgroup_array: {
    EBADF:
      "Its values are descriptors of directories of a cgroup v2 hierarchy (usually under /sys/fs/cgroup).",
  },
  sockmap: { EOPNOTSUPP: NO_SOCKET, EINVAL: NO_SOCKET, ENOTSOCK: NO_SOCKET },
  sockhash: { EOPNOTSUPP: NO_SOCKET, EINVAL: NO_SOCKET, ENOTSOCK: NO_SOCKET },
  xskmap: { EOPNOTSUPP: "Its values are AF_XDP sockets.", ENOTSOCK: "Its values are AF_XDP sockets." },
  devmap: {
    EINVAL:
      "Its values begin with the index of an interface of this network namespace; `prog` is an XDP program or -1.",
  },
  devmap_hash: {
    EINVAL:
      "Its values begin with the index of an interface of this network namespace; `prog` is an XDP program or -1.",
  },
  sk_storage: {
    EBADF: "Its keys are descriptors of sockets.",
    ENOTSOCK: "Its keys are descriptors of sockets.",
  },
  inode_storage: { EBADF: "Its keys are descriptors of files." },
  task_storage: { EBADF: "Its keys are pidfds.", EINVAL: "Its keys are pidfds." },
  cgrp_storage: { EBADF: "Its keys are descriptors of directories of a cgroup v2 hierarchy." },
  stack_trace: { EINVAL: "Stacks are put into it by programs (bpf_get_stackid), not by user space." },
};

const HASHES: readonly MapTypeName[] = [
  "hash",
  "percpu_hash",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
  "devmap_hash",
  "sockhash",
  "hash_of_maps",
];

/** What `cpu_map_update_elem()` means by its answers (kernel/bpf/cpumap.c). */
function cpuMapHint(def: MapDef, code: string): string | undefined {
  switch (code) {
    case "EOVERFLOW":
      return "The queue to a CPU (qsize) holds at most 16384 packets.";
    case "E2BIG":
      return `The key is the number of a CPU below the map's max_entries, ${def.maxEntries}.`;
    case "ENODEV":
      return "This machine has no such CPU (/sys/devices/system/cpu/possible lists them).";
    case "EEXIST":
      return "A CPU map does not take BPF_NOEXIST, whether or not the CPU has an entry.";
    case "ENOMEM":
      return (
        "The kernel also says ENOMEM to a second program that it does not take: `prog` must be the fd of an XDP program " +
        "with attachType 'xdp_cpumap', and of this map's programs all or none have the flag BPF_F_XDP_HAS_FRAGS."
      );
    default:
      return undefined;
  }
}
