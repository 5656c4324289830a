import type { MapDef } from "../asm/map-def.ts";
import { TsbpfError } from "../base/error.ts";
import { SyscallError } from "../syscall/errno.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { createAttempts } from "./features/attempt.ts";
import { MAP_TYPES, type ProbedMapType, probeMapType } from "./features/map-types.ts";
import { UnsupportedError } from "./unsupported.ts";

/**
 * Runs the creation of a map. To a type that it does not know the kernel says EINVAL, as to a definition that does not fit:
 * which it was, making the smallest map of the type tells.
 *
 * @throws UnsupportedError where the kernel has no such type, else what the creation throws.
 */
export function explainCreate(sys: Syscalls, def: MapDef, create: () => number): number {
  try {
    return create();
  } catch (error) {
    if (!(error instanceof SyscallError) || error.call !== "bpf(BPF_MAP_CREATE)") throw error;
    if (def.type === "struct_ops") {
      throw new TsbpfError(`map '${def.name}' of type struct_ops is not made by itself`, {
        hint: "attachStructOps(struct, operations) makes it, from the kernel's own struct, and puts it to use.",
        cause: error,
      });
    }
    if (error.code !== "EINVAL" && error.code !== "EOPNOTSUPP") throw error;
    if (!isProbed(def.type) || probeMapType(createAttempts(sys), def.type).answer !== "no") throw error;
    throw new UnsupportedError(
      `cannot create map '${def.name}': this kernel has no maps of type ${def.type}`,
      {
        feature: `maps of type ${def.type}`,
        since: MAP_TYPES[def.type].since,
        cause: error,
      },
    );
  }
}

function isProbed(type: MapDef["type"]): type is ProbedMapType {
  return type in MAP_TYPES;
}
